"""Files as a zip archive that is never whole anywhere."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import IO
from typing import TypeAlias
from typing import cast
from zipfile import ZIP_DEFLATED
from zipfile import ZIP_STORED
from zipfile import ZipFile
from zipfile import ZipInfo

from ._chunks import close
from ._iteration import iterated


#: The content of a member: a file's path, or parts of it.
Source: TypeAlias = os.PathLike[str] | Iterable[bytes] | AsyncIterable[bytes]

BLOCK_SIZE = 65536
#: The largest size that takes 32 bits, as zipfile counts it.
ZIP64_LIMIT = (1 << 31) - 1


class Sink:
    """A file that can be written to, and emptied, and nothing else."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep the data."""
        # Copied: the archive reuses no buffer, but a source may.
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is kept is taken, not flushed."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    :param size: its size in bytes, or None where only its end will tell.
    """

    info: ZipInfo
    source: os.PathLike[str] | Iterable[bytes]
    size: int | None

    def blocks(self) -> Iterable[bytes]:
        """Return what the member holds."""
        if isinstance(self.source, os.PathLike):
            return file_blocks(self.source)
        return self.source


def zip_parts(members: Iterable[Member], *, compress: bool = False) -> Iterator[bytes]:
    """Write a zip archive.

    :param compress: deflate the members. Pictures and films gain nothing by it.
    :raises OSError: for a file whose size changed after it was announced.
    """
    sink = Sink()
    archive = ZipFile(
        cast(IO[bytes], sink), "w", ZIP_DEFLATED if compress else ZIP_STORED
    )
    for member in members:
        info, blocks = member.info, member.blocks()
        info.compress_type = archive.compression
        info.file_size = member.size or 0
        try:
            # What has no size in advance may turn out larger than 4 GiB.
            with archive.open(info, "w", force_zip64=member.size is None) as entry:
                for block in blocks:
                    entry.write(block)
                    yield sink.take()
        finally:
            close(blocks)
        if member.size not in {None, info.file_size}:
            raise OSError(f"the size of {info.filename!r} changed while it was sent")
    archive.close()
    yield sink.take()


def member_of(name: str, source: Source) -> Member:
    r"""Return a member of an archive.

    :raises ValueError: for a name that would leave the folder it is unpacked in.
    :raises TypeError: for text, which may be a path or the content.
    """
    check_name(name)
    if isinstance(source, str):
        raise TypeError(
            f"{name!r} is given as text: pass a pathlib.Path for a file, or "
            "[text.encode()] for its content"
        )
    if isinstance(source, os.PathLike):
        info = ZipInfo.from_file(source, name, strict_timestamps=False)
        if info.is_dir():
            raise IsADirectoryError(f"{name!r} is a folder: pass the files in it")
        return Member(info, source, info.file_size)
    info = ZipInfo(name, time.localtime()[:6])
    info.external_attr = 0o644 << 16
    size = sum(map(len, source)) if isinstance(source, (list, tuple)) else None
    return Member(info, iterated(repr(name), source), size)


def stored_size(members: Iterable[Member]) -> int | None:
    """Return the size in bytes of an archive that is not compressed.

    It follows from names and sizes, by the layout that :mod:`zipfile` writes to what
    cannot seek (APPNOTE 6.3, sections 4.3 and 4.5.3).

    :return: None where a member's size is not known.
    """
    offset = directory = count = 0
    for member in members:
        if member.size is None:
            return None
        name = len(member.info.filename.encode())
        large = member.size * 1.05 > ZIP64_LIMIT
        fields = 2 * (member.size > ZIP64_LIMIT) + (offset > ZIP64_LIMIT)
        directory += 46 + name + (4 + 8 * fields if fields else 0)
        # The local header, the content, and its sizes and checksum after it.
        offset += 30 + name + 20 * large + member.size + (24 if large else 16)
        count += 1
    end = 22
    if count > 0xFFFF or offset > ZIP64_LIMIT or directory > ZIP64_LIMIT:
        end += 56 + 20
    return offset + directory + end


def file_blocks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Read a file in blocks."""
    with open(path, "rb") as file:  # noqa: PTH123 - any path-like object
        while block := file.read(BLOCK_SIZE):
            yield block


def check_name(name: str) -> None:
    r"""Refuse ``/etc/passwd``, ``../x``, ``C:\x`` and their kin ("zip slip")."""
    path = PureWindowsPath(name)
    if not path.name or path.anchor or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is not the relative path of a file in an archive")
