# ruff: noqa: S101 - assertions are what a contract is made of
"""Parts of the contract of all providers: see ``testing.py``."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage

from ._accept import Incoming
from ._attributes import Attributes
from ._attributes import SaveOptions
from .exceptions import DigestError
from .exceptions import InvalidAttributeError
from .exceptions import NotFoundError
from .exceptions import RefusedError
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


def upload(data: bytes, filename: str = "a.txt") -> FileStorage:
    """Return an upload as a form sends it."""
    return FileStorage(io.BytesIO(data), filename)


def read(file: FileWrapper) -> bytes:
    """Return what a stored file holds."""
    with file.open() as stream:
        return stream.read()


class OneWay:
    """A stream that cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._chunks: Iterator[bytes] = iter([data[:4], data[4:]])

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - a stream's
        """Return the next chunk."""
        return next(self._chunks, b"")


def entries(provider: BaseStore, limit: int, **options: Any) -> list[str]:
    """Return the files and folders of all pages, sorted."""
    found: list[str] = []
    after = None
    for _ in range(20):
        page = provider.page(limit=limit, after=after, **options)
        assert len(page.files) + len(page.folders) <= limit
        found += [*map(str, page.files), *page.folders]
        if page.next is None:
            return sorted(found)
        after = page.next
    raise AssertionError(f"the pages never end: {found}")


class Contract:
    """A part of the contract.

    :cvar simultaneous: how many threads save one name at once.
    """

    simultaneous = 16
    keeps_attributes = True

    def need_attributes(self) -> None:
        """Skip a test where a file carries nothing."""
        if not self.keeps_attributes:
            pytest.skip("the provider keeps no attributes")

    def settle(self, provider: BaseStore) -> None:
        """Wait until what was saved can be read; for providers that answer before."""

    def save(
        self, provider: BaseStore, data: bytes, name: str | None = None
    ) -> FileWrapper:
        """Save and settle."""
        file = provider.save(upload(data), name)
        self.settle(provider)
        return file

    @pytest.fixture
    def file(self, provider: BaseStore) -> FileWrapper:
        """A stored file."""
        return self.save(provider, b"content")


class AttributesContract(Contract):
    """The promises about what a file carries, and who accepts it."""

    def test_attributes(self, provider: BaseStore) -> None:
        """A file carries what was said of it, in any script, and says it again."""
        self.need_attributes()
        given: SaveOptions = {
            "content_type": "image/png",
            "download_name": "Счёт №1; 'a', 100 %.png",
            "disposition": "attachment",
            "cache_control": "private, max-age=60",
            "metadata": {"owner": "42", "title": "50 % für Ärger, 日本"},
            "sha256": True,
        }
        file = provider.save(upload(b"content"), "carried.bin", **given)
        self.settle(provider)
        found = provider.attributes(str(file))
        wanted = {**given, "sha256": hashlib.sha256(b"content").hexdigest()}
        assert asdict(found) == wanted
        assert provider.file(str(file)).attributes == found
        copy = file.copy("copy.dat")
        self.settle(provider)
        assert provider.attributes(str(copy)) == found

    def test_plain_attributes(self, provider: BaseStore) -> None:
        """A file of which nothing was said carries what its name implies."""
        file = provider.save(upload(b"", "a.html"))
        self.settle(provider)
        record = {"download_name": "a.html"}
        assert file.attributes == Attributes.of(str(file), record)
        assert file.content_type == "text/html"
        assert file.attributes.disposition == "attachment"
        assert file.attributes.metadata == {}

    def test_client_name(self, provider: BaseStore) -> None:
        """A download has the client's name, whatever the file is called here."""
        self.need_attributes()
        files = [
            provider.save(upload(b"content", "Фото.png"), name)
            for name in (None, None, "folder/1.png", "folder/2.txt")
        ]
        self.settle(provider)
        names = [provider.file(str(file)).download_name for file in files]
        assert names == ["Фото.png"] * 3 + ["Фото.txt"]

    def test_refused(self, provider: BaseStore) -> None:
        """A hook sees the whole file, and one that it refuses is not stored."""

        def refuse(incoming: Incoming) -> None:
            assert (incoming.name, incoming.size) == ("folder/a.txt", 7)
            assert (incoming.filename, incoming.head(3)) == ("a.txt", b"con")
            assert incoming.stream.read() == b"content"
            raise RefusedError("Not that.")

        for stream in (upload(b"content"), FileStorage(OneWay(b"content"), "a.txt")):  # type: ignore[arg-type]
            with pytest.raises(RefusedError, match="Not that"):
                provider.save(stream, "folder/a.txt", accept=refuse)
        self.settle(provider)
        assert list(provider.list()) == []

    def test_found_type(self, provider: BaseStore) -> None:
        """The type that a hook finds counts, and what it could run is downloaded."""
        self.need_attributes()
        found = ["text/html", None]
        files = [
            provider.save(upload(b"<p>", "a.png"), accept=lambda _, it=it: it)  # type: ignore[misc]
            for it in found
        ]
        self.settle(provider)
        read = [provider.attributes(str(file)) for file in files]
        assert [it.content_type for it in read] == ["text/html", "image/png"]
        assert [it.disposition for it in read] == ["attachment", "inline"]

    def test_content_digest(self, provider: BaseStore) -> None:
        """Only the bytes that the client announced are stored."""
        digest = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
        field = f"sha-256=:{digest}:"
        file = provider.save(upload(b"content"), content_digest=field)
        self.settle(provider)
        assert read(file) == b"content"
        with pytest.raises(DigestError, match="sha256 of the body"):
            provider.save(upload(b"cut"), "cut.txt", content_digest=field)
        self.settle(provider)
        assert not provider.exists("cut.txt")

    def test_impossible_attributes(self, provider: BaseStore) -> None:
        """An attribute that no file can have is refused, and nothing is stored."""
        with pytest.raises(InvalidAttributeError, match="metadata is"):
            provider.save(upload(b""), metadata={"a\r\nSet-Cookie": "1"})
        with pytest.raises(InvalidAttributeError, match="could run in a browser"):
            provider.save(upload(b"", "a.html"), disposition="inline")
        self.settle(provider)
        assert list(provider.list()) == []


class CopyContract(Contract):
    """The promises about copies, moves, deletions and listings of many files."""

    def test_copy_of_nothing(self, provider: BaseStore) -> None:
        """An empty file is copied too, and one that is not there is missing."""
        file = self.save(provider, b"", "empty.bin")
        copy = file.copy("copies/empty.bin")
        self.settle(provider)
        assert read(copy) == b""
        for verb in ("copy", "move"):
            with pytest.raises(NotFoundError, match=r"'no\.txt' is not in the store"):
                getattr(provider, verb)("no.txt", "b.txt")

    def test_move(self, provider: BaseStore) -> None:
        """A moved file is what it was, and takes nobody's name."""
        self.need_attributes()
        other = self.save(provider, b"other", "there/b.bin")
        file = provider.save(
            upload(b"content", "a.png"), sha256=True, metadata={"owner": "1"}
        )
        self.settle(provider)
        before = file.attributes
        moved = file.move("there/b.bin")
        self.settle(provider)
        assert not file.exists()
        assert str(moved) != str(other)
        assert str(moved).startswith("there/b")
        assert (read(moved), read(other)) == (b"content", b"other")
        assert moved.attributes.content_type == before.content_type == "image/png"
        assert moved.attributes.sha256 == before.sha256
        assert moved.attributes.metadata == {"owner": "1"}

    def test_copies_at_once(self, provider: BaseStore) -> None:
        """Copies that ask for one name at once get as many."""
        file = self.save(provider, b"content", "one.bin")
        with ThreadPoolExecutor(8) as pool:
            copies = list(pool.map(lambda _: file.copy("two.bin"), range(8)))
        self.settle(provider)
        assert len({str(copy) for copy in copies}) == 8
        assert {read(copy) for copy in copies} == {b"content"}

    def test_copy_skips_the_hook(self, provider: BaseStore) -> None:
        """A copy is not shown to the hook again."""
        file = self.save(provider, b"content", "one.bin")

        def refuse(_: Incoming) -> None:
            raise RefusedError("No.")

        provider.config = replace(provider.config, accept=refuse)
        copied = provider.copy(str(file), "2.bin")
        self.settle(provider)
        assert read(copied) == b"content"
        with pytest.raises(RefusedError, match="No"):
            provider.save(upload(b"content"))

    def test_delete_prefix(self, provider: BaseStore) -> None:
        """All files of a folder are deleted, and no others."""
        names = ["a/1.bin", "a/b/2.bin", "a2.bin", "ab/1.bin"]
        files = {name: str(self.save(provider, b"x", name)) for name in names}
        with pytest.raises(ValueError, match="name the files to delete"):
            provider.delete_prefix("")
        assert provider.delete_prefix("none/") == 0
        assert provider.within("a").delete_prefix() == 2
        left = [str(file) for file in provider.list()]
        assert left == [files["a2.bin"], files["ab/1.bin"]]
        assert provider.delete_prefix("a") == 2
        assert list(provider.list()) == []
        self.save(provider, b"x", "a/b/2.bin")

    @pytest.mark.parametrize("limit", [1, 2, 3, 1000])
    def test_page(self, provider: BaseStore, limit: int) -> None:
        """Pages give each file and each folder once, and in order."""
        names = ["a-b.bin", "a/1.bin", "a/2.bin", "a/c/3.bin", "b.bin", "é/4.bin"]
        saved = [str(self.save(provider, b"x", name)) for name in names]
        top = sorted([saved[0], "a/", saved[4], "é/"])
        assert entries(provider, limit) == top
        assert entries(provider, limit, delimiter=None) == saved
        assert entries(provider, limit, prefix="a/") == sorted([*saved[1:3], "a/c/"])
        assert entries(provider.within("a"), limit) == sorted([*saved[1:3], "c/"])
        assert entries(provider.within("a"), limit, prefix="c/") == [saved[3]]
        assert entries(provider, limit, prefix="none/") == []

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_page_limit(self, provider: BaseStore, limit: int) -> None:
        """A page that no store can give is refused."""
        with pytest.raises(ValueError, match=f"limit is {limit}: use 1 to 1000"):
            provider.page(limit=limit)
