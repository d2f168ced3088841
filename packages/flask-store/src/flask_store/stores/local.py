"""Files on a local disk."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import uuid
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import Unpack
from typing import overload

from .. import _names
from .._attributes import Attributes
from .._attributes import SaveOptions
from .._attributes import dump
from .._records import Record
from .._records import forget
from .._records import orphans
from .._records import read
from .._records import write
from .._spool import ABSENT
from .._spool import HIDDEN_PREFIX
from .._spool import NO_LINKS
from .._spool import Spool
from .._spool import leftovers
from .._spool import make_folder
from .._spool import sync_folder
from .._spool import system_failing_as
from .._upload import Upload
from ..config import Config
from ..exceptions import ConfigError
from ..exceptions import InvalidNameError
from ..exceptions import NotFoundError
from ..file_wrapper import FileWrapper
from .base import BaseStore


if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

    from .._tus.endpoint import Place


#: How often a folder that was removed meanwhile is made again.
ATTEMPTS = 3


class LocalStore(BaseStore):
    """Save files in a folder, ``STORE_PATH``; the app serves them."""

    register_route = True
    can_spool = True
    REQUIRED_CONFIGURATION = ("STORE_PATH",)

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        path = self.config.path
        if path is None or not Path(path).is_absolute():
            raise ConfigError("STORE_PATH", path, "set the absolute path of a folder")
        self.root = Path(path)

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Save in the folder ``uploads`` of the app's instance folder."""
        path = Path(app.instance_path, "uploads")
        app.config.setdefault("STORE_PATH", str(path))

    def territory(self) -> tuple[str, str]:
        """Return the folder."""
        return "disk", os.path.realpath(self.root)

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Save a file: when this returns, a power cut does not lose it.

        Nobody ever sees a part of it, and a process that dies leaves nothing.
        """
        upload = self.receive(file, name, options)
        received = upload.stream
        if isinstance(received, Spool) and not received.linked:
            upload = upload.accepted(received, _size(received))
            with contextlib.suppress(_OtherFileSystemError):
                return self._name(received, upload)
        with system_failing_as("save", upload.name):
            folder = self._target(self.full_name(upload.name)).rpartition("/")[0]
            spool = self._open_spool(folder, upload.name)
        with spool:
            with system_failing_as("save", upload.name):
                size = upload.copy_to(spool)
            return self._name(spool, upload.accepted(spool, size))

    def spool(self, label: str) -> Spool:
        """Return a file in the making, in the store's root.

        :param label: what errors call it.
        """
        with system_failing_as("save", label):
            return self._open_spool(str(self.root), label)

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait: a hidden folder."""
        from .._tus.folder import FOLDER
        from .._tus.folder import FolderPlace

        return FolderPlace(self.root / FOLDER, self.root, durable=self.config.fsync)

    def _open_spool(self, folder: str, label: str) -> Spool:
        try:
            return Spool(folder, label)
        except FileNotFoundError:
            make_folder(Path(folder), durable=self.config.fsync)
            return Spool(folder, label)

    def _name(self, spool: Spool, upload: Upload) -> FileWrapper:
        record = Record(spool, durable=self.config.fsync)

        def link(full: str) -> bool:
            record.settle(upload.kept(full))
            return self._in_folder(record.link, self._target(full))

        with system_failing_as("save", upload.name):
            full = self.place(upload.name, link)
            self._sync(full)
            return self.saved(full, _size(spool))

    def _in_folder(self, link: Callable[[str], bool], path: str) -> bool:
        """Give a file its name, in a folder that is made where it is not there."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return link(path)
            except FileNotFoundError:
                # Somebody may remove the folder again, as it is empty.
                if not left:
                    raise
                with contextlib.suppress(FileNotFoundError):
                    make_folder(Path(path).parent, durable=self.config.fsync)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise _OtherFileSystemError from error
                raise
        raise AssertionError  # pragma: no cover

    def _sync(self, full: str) -> None:
        if self.config.fsync:
            sync_folder((self.root / full).parent)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        self._stat(name)
        with system_failing_as("open", name):
            return self._found(name).open("rb")

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
        try:
            self._stat(name)
        except NotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a file; it is no error when there is none."""
        with contextlib.suppress(NotFoundError), system_failing_as("delete", name):
            path = self._found(name)
            forget(str(path))
            path.unlink()

    def delete_prefix(self, prefix: str = "") -> int:
        """Delete all files whose names start with a prefix, and their folders."""
        count = super().delete_prefix(prefix)
        above, start = self._start(prefix)
        for folder, _, _ in os.walk(self._top(above) or "", topdown=False):
            inside = f"{Path(folder).relative_to(self.root).as_posix()}/"
            # Those that hold anything, a file in the making too, stay.
            with contextlib.suppress(OSError):
                if inside != above and inside.startswith(start):
                    Path(folder).rmdir()
        return count

    def move(self, name: str, to: str) -> FileWrapper:
        """Give a file another name; of two moves at once one wins."""
        attributes = self.attributes(name)
        source, known = self.join(name), self.full_name(name)
        target = _names.clean_path(to)
        kept = read(source, self.size(name))

        def link(full: str) -> bool:
            # What it has is kept: until it has the new name, the old one counts.
            record = kept | attributes.moved(known, full).record(full)
            if record != kept and not write(source, dump(record)):
                raise _OtherFileSystemError
            return self._in_folder(functools.partial(_link, source), self._target(full))

        with system_failing_as("move", name):
            try:
                full = self.place(target, link)
            except _OtherFileSystemError:
                return super().move(name, to)
            self._sync(full)
            try:
                os.unlink(source)  # noqa: PTH108
            except FileNotFoundError:
                # Somebody else has moved or deleted it.
                os.unlink(self._target(full))  # noqa: PTH108
                raise
            self._sync(known)
        return FileWrapper(self.within(None), full)

    def size(self, name: str) -> int:
        """Return the number of bytes."""
        return self._stat(name).st_size

    def modified(self, name: str) -> datetime:
        """Return when a file was written."""
        return _time(self._stat(name))

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries."""
        found = self._stat(name)
        return Attributes.of(name, read(self.join(name), found.st_size))

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        above, start = self._start(prefix)
        root = self.within(None)
        for name, found in _walk(self._top(above), above, start):
            yield FileWrapper(root, name, found.st_size, _time(found))

    def _start(self, prefix: str) -> tuple[str, str]:
        """Return what all names of a listing begin with: their folder, and more."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        folder, slash, _ = start.rpartition("/")
        if folder:
            _names.check(folder)
        return folder + slash, start

    def _top(self, above: str) -> Path | None:
        """Return the folder of a listing, unless a link leads out of the store."""
        return None if self._obstacle(above) else self.root / above

    def _entries(
        self, start: str, delimiter: str | None, after: str
    ) -> Iterator[FileWrapper | str]:
        if delimiter not in {"/", None}:
            yield from super()._entries(start, delimiter, after)
            return
        root = self.within(None)
        above, start = root._start(start)
        for name, found in _walk(
            root._top(above), above, start, after, shallow=delimiter is not None
        ):
            if found is None:
                yield name
            else:
                yield FileWrapper(root, name, found.st_size, _time(found))

    def join(self, *parts: str) -> str:
        """Return a file's absolute path on disk."""
        return str(self._path("/".join(parts)))

    def servable(self, name: str) -> str:
        """Return the path of a file that is there."""
        if not self.exists(name):
            raise NotFoundError(name)
        return self.join(name)

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Tell whether files can be saved, and what killed processes left."""
        with system_failing_as("save", "a file in STORE_PATH"):
            with self._open_spool(str(self.root), "a file in STORE_PATH") as spool:
                probe = self.root / f"{HIDDEN_PREFIX}{uuid.uuid4().hex}"
                record = Record(spool, durable=False)
                record.settle(b'{"metadata":{"flask":"store"}}')
                record.link(str(probe))
                forget(str(probe))
                probe.unlink()
            how = "named" if spool.hidden else "unnamed"
            where = "beside them" if record.beside else "with them"
            yield (
                f"{self.root}: files can be saved; those in the making are {how}, "
                f"attributes are kept {where}"
            )
            left = [*leftovers(self.root), *orphans(self.root)]
            for path in left if clean else ():
                path.unlink(missing_ok=True)
        yield f"{len(left)} files of killed processes {'removed' if clean else 'left'}"

    def _stat(self, name: str) -> os.stat_result:
        with system_failing_as("read", name):
            # A symbolic link is no file of the store: it may lead anywhere.
            found = self._found(name).lstat()
        if not stat.S_ISREG(found.st_mode):
            raise NotFoundError(name)
        return found

    def _target(self, full: str) -> str:
        """Return the path of a file that is to be.

        :raises InvalidNameError: where what should be a folder is something else.
        """
        if obstacle := self._obstacle(full):
            reason = f"{obstacle!r} is there already, and is no folder"
            raise InvalidNameError(full, reason)
        # A save is short, and a Path takes as long to build as the kernel to link.
        return f"{self.root}/{full}"

    def _found(self, name: str) -> Path:
        """Return the path of a file that may be there.

        :raises NotFoundError: where a folder on the way is none of the store.
        """
        full = self.full_name(name)
        if self._obstacle(full):
            raise NotFoundError(name)
        return self.root / full

    def _obstacle(self, full: str) -> str | None:
        """Return the first part on the way to a file that is there and no folder.

        A symbolic link to a folder is none: it may lead anywhere.
        """
        end = full.find("/")
        while end >= 0:
            folder = full[:end]
            try:
                found = os.lstat(f"{self.root}/{folder}")
            except OSError:
                # What comes of it tells more than this.
                return None
            if not stat.S_ISDIR(found.st_mode):
                return folder
            end = full.find("/", end + 1)
        return None

    def _path(self, name: str) -> Path:
        return self.root / self.full_name(name)


class _OtherFileSystemError(Exception):
    """The spool is not where the file is to be."""


@overload
def _walk(
    folder: Path | None, above: str, start: str
) -> Iterator[tuple[str, os.stat_result]]: ...
@overload
def _walk(
    folder: Path | None, above: str, start: str, after: str, *, shallow: bool
) -> Iterator[tuple[str, os.stat_result | None]]: ...
def _walk(
    folder: Path | None,
    above: str,
    start: str,
    after: str = "",
    *,
    shallow: bool = False,
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield files in the order of their whole names, as S3 does.

    :param folder: the folder, or None for nothing.
    :param above: the folder's name in the store, with its slash.
    :param start: what names begin with.
    :param after: yield only what comes after this entry.
    :param shallow: yield a folder that holds files, instead of these.
    """
    for name, entry in _sorted_entries(folder) if folder else ():
        full = above + name
        inside = name.endswith("/") and not shallow and after.startswith(full)
        if full <= after and not inside:
            continue
        if not name.endswith("/"):
            if full.startswith(start) and entry.is_file(follow_symlinks=False):
                # Somebody may have deleted it since.
                with contextlib.suppress(FileNotFoundError):
                    yield full, entry.stat()
        elif shallow and full.startswith(start):
            if any(True for _ in _walk(Path(entry.path), full, full)):
                yield full, None
        elif full.startswith(start) or start.startswith(full):
            yield from _walk(Path(entry.path), full, start, after, shallow=shallow)


def _sorted_entries(folder: Path) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.name + "/" * entry.is_dir(follow_symlinks=False), entry)
                for entry in entries
                if not entry.name.startswith(".")
            ]
    except ABSENT:
        return []
    return sorted(found, key=lambda pair: pair[0])


def _link(source: str, path: str) -> bool:
    """Give a file a second name; return whether the name was free."""
    try:
        os.link(source, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in NO_LINKS:
            raise _OtherFileSystemError from error
        raise
    return True


def _size(spool: Spool) -> int:
    spool.flush()
    return os.fstat(spool.fileno()).st_size


def _time(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)
