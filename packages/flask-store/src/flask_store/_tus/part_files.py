"""Parts of uploads on a disk: a file each, until they are joined.

A part's name has its number and its tag, so that a part which is sent again does not
mix with the one before: it is whole under its name or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

from .._spool import Spool
from .._spool import sync_folder
from ..exceptions import NotFoundError
from .place import Part


BLOCK = 1 << 20


class PartFiles:
    """The parts of the uploads in a folder.

    :param durable: hand parts to the disk before they count.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._durable = durable

    def receive(self, upload_id: str, number: int, blocks: Iterable[bytes]) -> Part:
        """Keep a part, in place of one of its number."""
        digest, size = hashlib.blake2b(digest_size=16), 0
        with Spool(str(self._path), upload_id) as draft:
            for block in blocks:
                draft.write(block)
                digest.update(block)
                size += len(block)
            draft.settle(durable=self._durable)
            part = Part(number, size, digest.hexdigest())
            path = self._of(upload_id, part)
            # The same bytes may be there already.
            draft.link(str(path))
        for other in self._path.glob(f"{upload_id}.part-{number:05}-*"):
            if other != path:
                other.unlink(missing_ok=True)
        if self._durable:
            sync_folder(self._path)
        return part

    def list(self, upload_id: str) -> list[Part]:
        """Return the parts of an upload, by number."""
        found = []
        for path in sorted(self._path.glob(f"{upload_id}.part-*")):
            with contextlib.suppress(FileNotFoundError):
                number, etag = path.name.split("-")[1:]
                found.append(Part(int(number), path.stat().st_size, etag))
        return found

    def open(self, upload_id: str, part: Part) -> io.FileIO:
        """Open a part for reading.

        :raises NotFoundError: where it is not there any more.
        """
        try:
            return io.FileIO(self._of(upload_id, part))
        except FileNotFoundError:
            raise NotFoundError(upload_id) from None

    def drop(self, upload_id: str) -> None:
        """Delete the parts of an upload."""
        for path in self._path.glob(f"{upload_id}.part-*"):
            path.unlink(missing_ok=True)

    def _of(self, upload_id: str, part: Part) -> Path:
        return self._path / f"{upload_id}.part-{part.number:05}-{part.etag}"


def write(descriptor: int, block: bytes, offset: int) -> int:
    """Write all of a block at an offset; return its size."""
    view = memoryview(block)
    written = 0
    while written < len(view):
        written += os.pwrite(descriptor, view[written:], offset + written)
    return written


def copy(source: int, target: int, offset: int) -> int:
    """Copy a file to an offset of another; share its blocks where that is possible."""
    size, copied = os.fstat(source).st_size, 0
    while copied < size:
        try:
            done = os.copy_file_range(
                source, target, size - copied, copied, offset + copied
            )
        except OSError:
            block = os.pread(source, BLOCK, copied)
            done = write(target, block, offset + copied)
        if not done:
            break
        copied += done
    return copied
