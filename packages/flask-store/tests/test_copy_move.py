"""Copies, moves and deletions on a local disk."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flask_store import FileWrapper
from flask_store import InvalidNameError
from flask_store import NotFoundError
from flask_store.config import Config
from flask_store.stores.local import LocalStore


@pytest.fixture
def provider(tmp_path: Path) -> LocalStore:
    """A store in a temporary folder."""
    return LocalStore(config=Config(path=str(tmp_path)))


def test_move_is_a_rename(provider: LocalStore, tmp_path: Path) -> None:
    """A move copies no byte: the file stays the same one on the disk."""
    file = provider.save(io.BytesIO(b"content"), "a.png", metadata={"owner": "1"})
    inode = (tmp_path / "a.png").stat().st_ino
    moved = file.move("folder/b")
    assert (tmp_path / "folder/b").stat().st_ino == inode
    assert moved.content_type == "image/png"
    assert moved.attributes.metadata == {"owner": "1"}
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_move_without_links(
    provider: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """If files cannot be linked, they are copied and then deleted."""
    file = provider.save(io.BytesIO(b"content"), "a.png", metadata={"owner": "1"})
    link = os.link

    def refuse(source: str, *given: str, **more: object) -> None:
        if source.endswith("a.png"):
            raise OSError(code, "refused")
        link(source, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("os.link", refuse)
    moved = file.move("b.png")
    assert moved.attributes.metadata == {"owner": "1"}
    assert [str(it) for it in provider.list()] == ["b.png"]


def test_moves_at_once(provider: LocalStore) -> None:
    """Of several moves of one file one wins, and the others find it missing."""

    def move(number: int) -> FileWrapper | None:
        with contextlib.suppress(NotFoundError):
            return provider.move("a.bin", f"{number}.bin")
        return None

    for _ in range(10):
        provider.save(io.BytesIO(b"content"), "a.bin")
        with ThreadPoolExecutor(8) as pool:
            moved = [it for it in pool.map(move, range(8)) if it]
        assert [str(it) for it in provider.list()] == [str(it) for it in moved]
        assert len(moved) == 1
        moved[0].delete()


@pytest.mark.parametrize("target", ["../b.txt", "/b.txt", "", ".hidden"])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_outside(provider: LocalStore, verb: str, target: str) -> None:
    """Neither leads out of the store."""
    provider.save(io.BytesIO(b"content"), "a.txt")
    with pytest.raises(InvalidNameError, match="is not the name of a file"):
        getattr(provider, verb)("a.txt", target)
    assert [str(it) for it in provider.list()] == ["a.txt"]


def test_link_is_not_moved(provider: LocalStore, tmp_path: Path) -> None:
    """A symbolic link is not a file of the store."""
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    for verb in ("copy", "move"):
        with pytest.raises(NotFoundError, match=r"link\.txt"):
            getattr(provider, verb)("link.txt", "b.txt")
    assert list(provider.list()) == []


def test_folders_go(provider: LocalStore, tmp_path: Path) -> None:
    """Folders that a deletion has emptied go with their files, and no others."""
    for name in ("a/b/1.txt", "a/b/c/2.txt", "a/d.txt", "ab/3.txt"):
        provider.save(io.BytesIO(b"x"), name)
    (tmp_path / "a/b/.kept").write_text("")
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret.txt").write_text("")
    (tmp_path / "a/link").symlink_to(outside)
    assert provider.delete_prefix("a/b/") == 2
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "b", "d.txt", "link",
    ]  # fmt: skip
    assert (outside / "secret.txt").exists()
    assert [str(file) for file in provider.list()] == ["a/d.txt", "ab/3.txt"]


def test_saves_while_folders_go(provider: LocalStore) -> None:
    """A save wins over a deletion that removes its folder at the same time."""

    def save(number: int) -> str:
        return str(provider.save(io.BytesIO(b"x"), f"a/b/{number}.txt"))

    def empty(_: int) -> None:
        provider.delete_prefix("a/b/0")

    with ThreadPoolExecutor(8) as pool:
        emptied = pool.map(empty, range(100))
        saved = list(pool.map(save, range(1, 50)))
        list(emptied)
    assert sorted(saved) == [str(file) for file in provider.list()]


def test_page_of_folders(provider: LocalStore, tmp_path: Path) -> None:
    """A folder without files is none, as S3 has it."""
    provider.save(io.BytesIO(b"x"), "full/deep/1.txt")
    (tmp_path / "empty/deeper").mkdir(parents=True)
    assert provider.page().folders == ["full/"]
    page = provider.page("full/deep/")
    assert [str(file) for file in page.files] == ["full/deep/1.txt"]
    assert provider.page(delimiter="deep").folders == ["full/deep"]
    with pytest.raises(InvalidNameError, match="is not the name of a file"):
        provider.page("../")
