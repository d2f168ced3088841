"""Files as a zip archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from flask_streaming._archive import Source
from flask_streaming._archive import member_of
from flask_streaming._archive import stored_size
from flask_streaming._archive import zip_parts


def parts_of(
    members: Iterable[tuple[str, Source]], *, compress: bool = False
) -> Iterator[bytes]:
    """Write an archive."""
    return zip_parts(starmap(member_of, members), compress=compress)


def opened(
    members: Iterable[tuple[str, Source]], *, compress: bool = False
) -> zipfile.ZipFile:
    """Open the archive that the parts make."""
    body = io.BytesIO(b"".join(parts_of(members, compress=compress)))
    archive = zipfile.ZipFile(body)
    assert archive.testzip() is None
    return archive


@pytest.mark.parametrize("compress", [False, True], ids=["stored", "deflated"])
def test_members(tmp_path: Path, compress: bool) -> None:
    """Files and iterables become members, with their dates and rights."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 200_000)
    path.chmod(0o600)
    members: list[tuple[str, Source]] = [
        ("path.bin", path),
        ("again.bin", path),
        ("ä/made.txt", (b"x" for _ in range(3))),
        ("empty", []),
    ]
    archive = opened(members, compress=compress)
    assert archive.namelist() == [name for name, _ in members]
    assert archive.read("path.bin") == archive.read("again.bin") == b"a" * 200_000
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
    with pytest.raises(ValueError, match="not the relative path"):
        list(parts_of([(name, [b"x"])]))


def test_folder(tmp_path: Path) -> None:
    """A folder is not a file."""
    with pytest.raises(IsADirectoryError, match="'name' is a folder"):
        list(parts_of([("name", tmp_path)]))


def test_bytes() -> None:
    """Bytes alone would be taken apart to numbers."""
    members: Any = [("name", b"content")]
    with pytest.raises(TypeError, match=r"^'name' is b'content': pass an iterable"):
        list(parts_of(members))


def test_text_is_no_path() -> None:
    """Text of a visitor's never opens a file."""
    members: Any = [("note.txt", "/etc/passwd")]
    with pytest.raises(TypeError, match=r"^'note.txt' is given as text: pass"):
        list(parts_of(members))


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([], id="none"),
        pytest.param([("a", []), ("ä/ö", [b"x", b"yz"])], id="lists"),
        pytest.param([(f"{n}", [b"x"]) for n in range(66_000)], id="many"),
        pytest.param([("a", [bytes(1 << 20)] * 2040), ("b", [b"x"])], id="near-2-GiB"),
        pytest.param([("a", [bytes(1 << 20)] * 2050), ("b", [b"x"])], id="above-2-GiB"),
    ],
)
def test_stored_size(members: list[tuple[str, Source]]) -> None:
    """The announced size is that of the archive, also where its fields grow."""
    made = list(starmap(member_of, members))
    assert stored_size(made) == sum(map(len, zip_parts(made)))


def test_size_of_files(tmp_path: Path) -> None:
    """Files have a size that is known; an iterator has none."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file, unknown = member_of("a", path), member_of("b", iter([b"x"]))
    assert stored_size([file]) == len(b"".join(zip_parts([file])))
    assert stored_size([file, unknown]) is None


@pytest.mark.parametrize("change", [b"ab", b"abcd"], ids=["shorter", "longer"])
def test_file_that_changes(tmp_path: Path, change: bytes) -> None:
    """A file that no longer has the announced size breaks the archive."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    member = member_of("a.txt", path)
    path.write_bytes(change)
    with pytest.raises(
        OSError, match=r"^the size of 'a.txt' changed while it was sent"
    ):
        list(zip_parts([member]))


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
    stream = parts_of([("a", [b"x"]), ("b", source())])
    with pytest.raises(OSError, match="gone"):
        parts.extend(stream)
    with pytest.raises(zipfile.BadZipFile, match="not a zip file"):
        zipfile.ZipFile(io.BytesIO(b"".join(parts)))
    assert closed == [True]


def test_parts_are_small() -> None:
    """Nothing is kept back."""
    parts = list(parts_of([("a", (b"x" * 1000 for _ in range(100)))]))
    assert max(map(len, parts)) < 2000
    assert len(parts) > 100
