"""Unfinished uploads on a disk: one file of bytes and one record for each.

The folder lies in the file system where the finished file is to be, under a name that
stores neither list nor serve, so that finishing links the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path

from .._offload import off_the_hub
from .._spool import Raw
from .._spool import Spool
from .._spool import lock
from .._spool import make_folder
from .._spool import sync_folder
from ..exceptions import NotFoundError
from .part_files import PartFiles
from .part_files import copy
from .part_files import write
from .place import Part
from .upload import MovedError
from .upload import Upload


#: The folder in a store's root.
FOLDER = ".tus"
RECORD = ".json"


class FolderPlace:
    """Keep unfinished uploads in a folder.

    :param path: the folder, which is made when the first upload is.
    :param root: the folder of finished files, if they are linked there.
    :param durable: hand bytes to the disk before they count.
    """

    def __init__(self, path: Path, root: Path | None, *, durable: bool) -> None:
        self._path = path
        self._root = root
        self._durable = durable
        self._parts = PartFiles(path, durable=durable)

    def create(self, upload: Upload) -> None:
        """Begin an upload."""
        make_folder(self._path, durable=self._durable)
        self._bytes(upload.id).touch(exist_ok=False)
        self.keep(upload)

    def keep(self, upload: Upload) -> None:
        """Replace the record of an upload."""
        make_folder(self._path, durable=self._durable)
        path = self._path / (upload.id + RECORD)
        draft = path.with_suffix(f".{os.urandom(8).hex()}.draft")
        with draft.open("x") as file:
            json.dump(asdict(upload), file)
            file.flush()
            if self._durable:
                off_the_hub(os.fsync, file.fileno())
        draft.replace(path)
        if self._durable:
            sync_folder(self._path)

    def attempt(self, upload: Upload, path: str) -> None:
        """Remember the path that the file is to get next."""
        if self._root is not None:
            name = Path(path).relative_to(self._root).as_posix()
            self.keep(replace(upload, attempt=name))

    def find(self, upload_id: str) -> Upload:
        """Return an upload.

        :raises NotFoundError: there is none.
        """
        try:
            text = (self._path / (upload_id + RECORD)).read_text()
        except FileNotFoundError:
            raise NotFoundError(upload_id) from None
        return Upload(**json.loads(text))

    def offset(self, upload: Upload) -> int:
        """Return how many bytes there are, and will be after a power cut."""
        if upload.file is not None:
            return upload.length or 0
        if upload.in_parts and upload.length is None:
            return sum(part.size for part in self.parts(upload))
        with self._open(upload) as file:
            # Measured first: what comes meanwhile may not be on the disk yet.
            size = os.fstat(file.fileno()).st_size
            if self._durable:
                off_the_hub(os.fsync, file.fileno())
        return size

    def touched(self, upload: Upload) -> float:
        """Return when the last byte came, in seconds since the epoch."""
        try:
            return self._bytes(upload.id).stat().st_mtime
        except FileNotFoundError:
            return (self._path / (upload.id + RECORD)).stat().st_mtime

    def append(self, upload: Upload, offset: int, blocks: Iterable[bytes]) -> int:
        """Append bytes and return where the upload ends now.

        :param offset: where they begin.
        :raises MovedError: it does not end there, or somebody else appends.
        """
        with self._open(upload) as file:
            try:
                for block in blocks:
                    with _locked(file):
                        self._check_end(file, offset)
                        offset += off_the_hub(write, file.fileno(), block, offset)
            finally:
                if self._durable:
                    off_the_hub(os.fsync, file.fileno())
            with _locked(file):
                self._check_end(file, offset)
        return offset

    def append_checked(
        self,
        upload: Upload,
        offset: int,
        blocks: Iterable[bytes],
        check: Callable[[], None],
    ) -> int:
        """Append bytes all at once, if they pass a check when all have come."""
        with Spool(str(self._path), upload.id) as draft:
            for block in blocks:
                draft.write(block)
            draft.flush()
            check()
            with self._open(upload) as file, _locked(file):
                self._check_end(file, offset)
                offset += off_the_hub(copy, draft.fileno(), file.fileno(), offset)
                if self._durable:
                    off_the_hub(os.fsync, file.fileno())
        return offset

    def concatenate(self, upload: Upload, parts: Iterable[Upload]) -> None:
        """Begin an upload with the bytes of others."""
        self.create(upload)
        offset = 0
        with self._open(upload) as target:
            for part in parts:
                with self._open(part) as source:
                    offset += off_the_hub(
                        copy, source.fileno(), target.fileno(), offset
                    )
            if self._durable:
                off_the_hub(os.fsync, target.fileno())

    def finish(
        self,
        upload: Upload,
        save: Callable[[Spool], str],
        announce: Callable[[str], None],
    ) -> None:
        """Make a file of a complete upload, unless somebody else does so now.

        :param save: saves a stream and returns the file's name.
        :param announce: is called with the name, at least once for each upload.
        """
        with contextlib.suppress(NotFoundError), self._open(upload) as file:
            if not lock(file.fileno()):
                return
            upload = self.find(upload.id)
            if upload.file is None:
                name = self._named(file, upload)
                if name is None:
                    with _Part(self, self._bytes(upload.id), upload) as part:
                        name = save(part)
                announce(name)
                self.keep(replace(upload, file=name))
            self._parts.drop(upload.id)
            self._bytes(upload.id).unlink(missing_ok=True)

    def _named(self, file: io.FileIO, upload: Upload) -> str | None:
        """Return the name of the file, if an earlier attempt got as far as that."""
        if upload.attempt is None or self._root is None:
            return None
        with contextlib.suppress(OSError):
            found = (self._root / upload.attempt).stat()
            if os.path.samestat(found, os.fstat(file.fileno())):
                return upload.attempt
        return None

    def delete(self, upload: Upload) -> None:
        """Drop an upload; a file that it became stays."""
        self._parts.drop(upload.id)
        self._bytes(upload.id).unlink(missing_ok=True)
        (self._path / (upload.id + RECORD)).unlink(missing_ok=True)

    def uploads(self) -> Iterator[Upload]:
        """Yield all uploads."""
        for path in sorted(self._path.glob(f"*{RECORD}")):
            with contextlib.suppress(NotFoundError):
                yield self.find(path.name.removesuffix(RECORD))

    def part_url(self, *_: object) -> None:
        """Return None: clients send parts to the app."""

    def receive_part(
        self, upload: Upload, number: int, blocks: Iterable[bytes]
    ) -> Part:
        """Keep a part that was sent to the app."""
        part = self._parts.receive(upload.id, number, blocks)
        # What came last tells when the upload expires.
        os.utime(self._bytes(upload.id))
        return part

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts that are there, by number."""
        return self._parts.list(upload.id)

    def join(self, upload: Upload, parts: Iterable[Part]) -> None:
        """Make one of the parts, which are all that there are."""
        with self._open(upload) as file, _locked(file):
            file.truncate()
            offset = 0
            for part in parts:
                with self._parts.open(upload.id, part) as source:
                    offset += off_the_hub(copy, source.fileno(), file.fileno(), offset)
            if self._durable:
                off_the_hub(os.fsync, file.fileno())

    def _bytes(self, upload_id: str) -> Path:
        return self._path / upload_id

    def _open(self, upload: Upload) -> io.FileIO:
        try:
            # For writing also where it is only read: NFS locks no other.
            return open(self._bytes(upload.id), "r+b", buffering=0)  # noqa: PTH123
        except FileNotFoundError:
            raise NotFoundError(upload.id) from None

    @staticmethod
    def _check_end(file: io.FileIO, offset: int) -> None:
        found = os.fstat(file.fileno())
        if found.st_size != offset or not found.st_nlink:
            raise MovedError


class _Part(Spool):
    """The bytes of a complete upload, as a file that a store can name.

    Before the file gets a name the record says which, so that after a crash the file
    is found under it.
    """

    def __init__(self, place: FolderPlace, path: Path, upload: Upload) -> None:
        self._place = place
        self._upload = upload
        self._hidden = str(path)
        self.hidden = True
        self.linked = False
        self.filename = upload.filename
        descriptor = os.open(path, os.O_RDWR)
        io.BufferedRandom.__init__(self, Raw(descriptor, upload.filename))

    def link(self, path: str) -> bool:
        """Give the file a name; return whether the name was free."""
        self._place.attempt(self._upload, path)
        return super().link(path)

    def _rename(self, path: str) -> bool:
        """Have the bytes copied: until the record names the file they stay."""
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)

    def _forget(self) -> None:
        """Keep the bytes: they are dropped when the record names the file."""


@contextlib.contextmanager
def _locked(file: io.FileIO) -> Iterator[None]:
    """Keep others from appending; the kernel lets go when the process dies."""
    lock(file.fileno(), wait=True)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
