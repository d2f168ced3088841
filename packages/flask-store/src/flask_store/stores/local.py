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
from datetime import datetime
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import ClassVar
from typing import Unpack

from .. import _names
from .._attributes import Attributes
from .._attributes import SaveOptions
from .._attributes import dump
from .._records import Record
from .._records import forget
from .._records import orphans
from .._records import read
from .._records import write
from .._spool import HIDDEN_PREFIX
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
from ._disk import OtherFileSystemError
from ._disk import link as link_to
from ._disk import obstacle
from ._disk import size_of
from ._disk import time_of
from ._disk import walk
from .base import BaseStore


if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

    from .._tus.place import Place


#: How often a folder that was removed meanwhile is made again.
ATTEMPTS = 3


class LocalStore(BaseStore):
    """Save files in a folder, ``STORE_PATH``; the app serves them."""

    register_route = True
    can_spool = True
    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = ("STORE_PATH",)

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        path = self.config.path
        if path is None or not Path(path).is_absolute():
            raise ConfigError("STORE_PATH", path, "set the absolute path of a folder")
        self.root: Path = Path(path)

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
            upload = upload.accepted(received, size_of(received))
            with contextlib.suppress(OtherFileSystemError):
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
            return self.saved(full, size_of(spool))

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
                    raise OtherFileSystemError from error
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
        """Return whether a file is there."""
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
                raise OtherFileSystemError
            return self._in_folder(
                functools.partial(link_to, source), self._target(full)
            )

        with system_failing_as("move", name):
            try:
                full = self.place(target, link)
            except OtherFileSystemError:
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
        return time_of(self._stat(name))

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries."""
        found = self._stat(name)
        return Attributes.of(name, read(self.join(name), found.st_size))

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        above, start = self._start(prefix)
        root = self.within(None)
        for name, found in walk(self._top(above), above, start):
            yield FileWrapper(root, name, found.st_size, time_of(found))

    def _start(self, prefix: str) -> tuple[str, str]:
        """Return what all names of a listing begin with: their folder, and more."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        folder, slash, _ = start.rpartition("/")
        if folder:
            _names.check(folder)
        return folder + slash, start

    def _top(self, above: str) -> Path | None:
        """Return the folder of a listing, unless a link leads out of the store."""
        return None if obstacle(self.root, above) else self.root / above

    def _entries(
        self, start: str, delimiter: str | None, after: str
    ) -> Iterator[FileWrapper | str]:
        if delimiter not in {"/", None}:
            yield from super()._entries(start, delimiter, after)
            return
        root = self.within(None)
        above, start = root._start(start)
        for name, found in walk(
            root._top(above), above, start, after, shallow=delimiter is not None
        ):
            if found is None:
                yield name
            else:
                yield FileWrapper(root, name, found.st_size, time_of(found))

    def join(self, *parts: str) -> str:
        """Return a file's absolute path on disk."""
        return str(self._path("/".join(parts)))

    def servable(self, name: str) -> str:
        """Return the path of a file that is there."""
        if not self.exists(name):
            raise NotFoundError(name)
        return self.join(name)

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Try to save a file, and find what killed processes left."""
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
                f"{self.root}: files can be saved; unfinished files are {how}, "
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
        if part := obstacle(self.root, full):
            reason = f"{part!r} already exists and is not a folder"
            raise InvalidNameError(full, reason)
        # A save is short, and a Path takes as long to build as the kernel to link.
        return f"{self.root}/{full}"

    def _found(self, name: str) -> Path:
        """Return the path of a file that may be there.

        :raises NotFoundError: where a folder on the way is none of the store.
        """
        full = self.full_name(name)
        if obstacle(self.root, full):
            raise NotFoundError(name)
        return self.root / full

    def _path(self, name: str) -> Path:
        return self.root / self.full_name(name)
