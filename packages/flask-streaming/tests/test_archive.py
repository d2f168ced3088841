"""Files as a zip archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_streaming._archive import zip_parts


def opened(*args: Any, **kwargs: Any) -> zipfile.ZipFile:
    """Open the archive that the parts make."""
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zip_parts(*args, **kwargs))))
    assert archive.testzip() is None
    return archive


@pytest.mark.parametrize("compress", [False, True], ids=["stored", "deflated"])
def test_members(tmp_path: Path, compress: bool) -> None:
    """Files and iterables become members, with their dates and rights."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 200_000)
    path.chmod(0o600)
    members = [
        ("path.bin", path),
        ("text.bin", str(path)),
        ("ä/made.txt", (b"x" for _ in range(3))),
        ("empty", []),
    ]
    archive = opened(members, compress=compress)
    assert archive.namelist() == [name for name, _ in members]
    assert archive.read("path.bin") == archive.read("text.bin") == b"a" * 200_000
    assert archive.read("ä/made.txt") == b"xxx"
    assert archive.read("empty") == b""
    assert archive.getinfo("path.bin").external_attr >> 16 & 0o777 == 0o600
    assert archive.getinfo("empty").external_attr >> 16 == 0o644
    assert (archive.getinfo("path.bin").compress_size < 200_000) == compress


@pytest.mark.parametrize(
    "name",
    ["", ".", "/etc/passwd", "../up", "a/../../up", "..\\up", "C:\\x", "C:x", "a\0b"],
)
def test_zip_slip(name: str) -> None:
    """A name that would leave the folder is refused."""
    with pytest.raises(ValueError, match="no relative path"):
        list(zip_parts([(name, [b"x"])]))


def test_folder(tmp_path: Path) -> None:
    """A folder is no file."""
    with pytest.raises(IsADirectoryError, match="'name' is a folder"):
        list(zip_parts([("name", tmp_path)]))


def test_bytes() -> None:
    """Bytes alone would be taken apart to numbers."""
    members: Any = [("name", b"content")]
    with pytest.raises(TypeError, match="'name' is given as bytes: pass a list"):
        list(zip_parts(members))


def test_failure_leaves_no_whole_archive() -> None:
    """A source that fails is closed, and no directory of the archive is sent."""
    closed = []

    def source() -> Iterator[bytes]:
        try:
            yield b"x" * 100_000
            raise OSError("gone")
        finally:
            closed.append(True)

    parts: list[bytes] = []
    stream = zip_parts([("a", [b"x"]), ("b", source())])
    with pytest.raises(OSError, match="gone"):
        parts.extend(stream)
    with pytest.raises(zipfile.BadZipFile, match="not a zip file"):
        zipfile.ZipFile(io.BytesIO(b"".join(parts)))
    assert closed == [True]


def test_parts_are_small() -> None:
    """Nothing is kept back."""
    parts = list(zip_parts([("a", (b"x" * 1000 for _ in range(100)))]))
    assert max(map(len, parts)) < 2000
    assert len(parts) > 100
