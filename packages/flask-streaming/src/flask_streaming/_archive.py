"""Files as a zip archive that is never whole anywhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import IO
from typing import TypeAlias
from typing import cast
from zipfile import ZIP_DEFLATED
from zipfile import ZIP_STORED
from zipfile import ZipFile
from zipfile import ZipInfo

from flask_streaming._chunks import close


Source: TypeAlias = str | os.PathLike[str] | Iterable[bytes]

BLOCK_SIZE = 65536


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


def zip_parts(
    members: Iterable[tuple[str, Source]], *, compress: bool = False
) -> Iterator[bytes]:
    """Write a zip archive.

    :param members: names, each with a file's path or an iterable of bytes.
    :param compress: deflate the members. Pictures and films gain nothing by it.
    :raises ValueError: for a name that would leave the folder it is unpacked in.
    """
    sink = Sink()
    archive = ZipFile(
        cast(IO[bytes], sink), "w", ZIP_DEFLATED if compress else ZIP_STORED
    )
    for name, source in members:
        info, blocks = opened(name, source)
        info.compress_type = archive.compression
        try:
            # What has no size in advance may turn out larger than 4 GiB.
            with archive.open(info, "w", force_zip64=not info.file_size) as member:
                for block in blocks:
                    member.write(block)
                    yield sink.take()
        finally:
            close(blocks)
    archive.close()
    yield sink.take()


def opened(name: str, source: Source) -> tuple[ZipInfo, Iterable[bytes]]:
    """Return a member's head and its blocks."""
    check_name(name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name!r} is given as bytes: pass a list of them, or a path")
    if isinstance(source, (str, os.PathLike)):
        info = ZipInfo.from_file(source, name, strict_timestamps=False)
        if info.is_dir():
            raise IsADirectoryError(f"{name!r} is a folder: pass the files in it")
        return info, file_blocks(source)
    info = ZipInfo(name, time.localtime()[:6])
    info.external_attr = 0o644 << 16
    return info, source


def file_blocks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Read a file in blocks."""
    with open(path, "rb") as file:  # noqa: PTH123 - any path-like object
        while block := file.read(BLOCK_SIZE):
            yield block


def check_name(name: str) -> None:
    r"""Refuse ``/etc/passwd``, ``../x``, ``C:\x`` and their kin ("zip slip")."""
    path = PureWindowsPath(name)
    if not path.name or path.anchor or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no relative path of a file in an archive")
