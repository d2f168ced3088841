"""Files in the making, which become visible whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import io
import os
import sys
import time
import uuid
from collections.abc import Iterator
from io import DEFAULT_BUFFER_SIZE
from pathlib import Path
from typing import TYPE_CHECKING

from ._offload import off_the_hub
from ._offload import patched
from .exceptions import BackendError
from .exceptions import NotFoundError


if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: What goes to a disk at once under gevent, in bytes: others have their turn between,
#: and going to another thread takes little of the time in which so much is received.
LARGE_BUFFER = 256 * 1024
#: How often a lock that somebody else holds is tried.
POLL_SECONDS = 0.005
#: What files in the making are called where they need a name.
HIDDEN_PREFIX = ".spool-"
#: What stands for a file that is not there, or a folder in its place.
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
#: What is wrong with the folder, not with the file.
UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
UNSUPPORTED = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
#: A file system without hard links, or a file that has too many.
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
#: Of Linux: relative to the current folder, and fail where the name is taken.
AT_FDCWD = -100
RENAME_NOREPLACE = 1


class Spool(io.BufferedRandom):
    """A file without a name, in the file system where it is to get one.

    When the process dies the kernel frees it. Where the file system has no unnamed
    files, it has a hidden name and a lock that tell the living from the dead.

    :param folder: a folder of that file system.
    :param label: what errors call the file.
    """

    def __init__(self, folder: str, label: str) -> None:
        self._hidden: str | None = None
        self.hidden: bool = False
        self.linked: bool = False
        descriptor = self._open_unnamed(folder)
        if descriptor is None:
            self._hidden = str(Path(folder, HIDDEN_PREFIX + uuid.uuid4().hex))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            descriptor = os.open(self._hidden, flags, 0o666)
            lock(descriptor)
            self.hidden = True
        super().__init__(
            Raw(descriptor, label), LARGE_BUFFER if patched() else DEFAULT_BUFFER_SIZE
        )

    @staticmethod
    def _open_unnamed(folder: str) -> int | None:
        # Linux only, and not on every file system.
        unnamed = getattr(os, "O_TMPFILE", None)
        if unnamed is None:
            return None
        try:
            return os.open(folder, unnamed | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in UNSUPPORTED and Path(folder).is_dir():
                return None
            raise

    def write(self, data: Buffer, /) -> int:
        """Write, unless the file has its name."""
        self._check_own()
        return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file, unless it has its name."""
        self._check_own()
        return super().truncate(size)

    def _check_own(self) -> None:
        if self.linked:
            raise io.UnsupportedOperation("the file is the store's now")

    def settle(self, *, durable: bool) -> None:
        """Hand everything to the system, and with ``durable`` to the disk."""
        self.flush()
        if durable:
            off_the_hub(os.fsync, self.fileno())

    def link(self, path: str) -> bool:
        """Give the file its name; return whether the name was free.

        The kernel decides, so no file is ever overwritten, by whatever process.
        """
        try:
            if self._hidden:
                os.link(self._hidden, path)
            else:
                # Only with a folder's descriptor does Python call linkat(2), which can
                # follow the link in /proc; that path is absolute, so none is used.
                source = f"/proc/self/fd/{self.fileno()}"
                os.link(source, path, src_dir_fd=0, follow_symlinks=True)
        except FileExistsError:
            return False
        except OSError as error:
            if not self._hidden or error.errno not in NO_LINKS:
                raise
            if not self._rename(path):
                return False
        self.linked = True
        self._forget()
        return True

    def _rename(self, path: str) -> bool:
        """Give the file its name where there are no hard links."""
        if self._hidden is None or not rename_unless_taken(self._hidden, path):
            return False
        self._hidden = None
        return True

    def _forget(self) -> None:
        if self._hidden:
            Path(self._hidden).unlink(missing_ok=True)
            self._hidden = None

    def close(self) -> None:
        """Close the file; what has got no name is gone."""
        if self.closed:
            return
        descriptor = self.fileno()
        try:
            # What could not be written has been told of where it mattered.
            with contextlib.suppress(BackendError):
                super().close()
        finally:
            os.close(descriptor)
            self._forget()


def rename_unless_taken(source: str, path: str) -> bool:
    """Rename a file; return whether the name was free.

    Where the system cannot do both at once, an empty file holds the name: for a moment
    it can be seen, and a kill in between leaves it.
    """
    done = _rename_exclusively(source, path)
    if done is not None:
        return done
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    try:
        os.replace(source, path)  # noqa: PTH105 - as all here
    except BaseException:
        os.unlink(path)  # noqa: PTH108
        raise
    return True


def _rename_exclusively(source: str, path: str) -> bool | None:
    """Call renameat2(2); return None where the system or the disk has none."""
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        return None
    here = ctypes.c_int(AT_FDCWD)
    flags = ctypes.c_uint(RENAME_NOREPLACE)
    if not call(here, os.fsencode(source), here, os.fsencode(path), flags):
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}:
        return None
    raise OSError(number, os.strerror(number), path)


@functools.cache
def _libc() -> object:
    if sys.platform != "linux":  # pragma: no cover
        return None
    return ctypes.CDLL(None, use_errno=True)


class Raw(io.FileIO):
    """A file that reports a full disk by our error, wherever its buffer is flushed."""

    def __init__(self, descriptor: int, label: str) -> None:
        # Left open for Spool to close, as FileIO warns when a request drops it.
        super().__init__(descriptor, "r+b", closefd=False)
        self._label = label

    def write(self, data: Buffer) -> int:
        """Write, or raise :class:`BackendError`."""
        try:
            return off_the_hub(io.FileIO.write, self, data)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise BackendError("save", self._label, reason) from error


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Take the lock that ends with the process; return whether it was free.

    :param descriptor: one that can write, which NFS asks for.
    :param wait: wait until it is free.
    """
    if sys.platform == "win32":  # pragma: no cover
        return True
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
        else:
            return True
        # Not in the kernel: who holds it may be a greenlet of this thread.
        time.sleep(POLL_SECONDS)


def leftovers(root: Path) -> Iterator[Path]:
    """Yield the hidden files whose process is gone."""
    for path in root.rglob(f"{HIDDEN_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            if lock(file.fileno()):
                yield path


def make_folder(path: Path, *, durable: bool) -> None:
    """Make a folder and those above it; with ``durable`` a power cut keeps them."""
    if path.is_dir():
        return
    make_folder(path.parent, durable=durable)
    path.mkdir(exist_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Hand a folder's names to the disk, where the system can."""
    flag = getattr(os, "O_DIRECTORY", None)
    if flag is None:  # pragma: no cover - Windows
        return
    descriptor = os.open(path, os.O_RDONLY | flag)
    try:
        off_the_hub(os.fsync, descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def system_failing_as(
    action: str, name: str, key: str = "STORE_PATH"
) -> Iterator[None]:
    """Turn the system's errors into ours, without the path that they show.

    :param key: the configuration key of the folder.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ABSENT) and action != "save":
            raise NotFoundError(name) from error
        reason = os.strerror(error.errno or 0)
        if action == "save" and error.errno in UNWRITABLE:
            reason += f"; the folder in {key} must be one that the app can write"
        raise BackendError(action, name, reason) from error
