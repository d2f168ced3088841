# ruff: noqa: S101 - assertions are what a contract is made of
"""A contract that every provider keeps: run it over your own.

Subclass :class:`ProviderContract` in a test module, with a fixture ``provider``::

    class TestMyStore(ProviderContract):
        @pytest.fixture
        def provider(self, tmp_path):
            return MyStore(config=Config(path=str(tmp_path)))
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from dataclasses import replace
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage

from ._accept import Incoming
from ._attributes import Attributes
from ._attributes import SaveOptions
from .exceptions import DigestError
from .exceptions import InvalidAttributeError
from .exceptions import InvalidNameError
from .exceptions import NoFileError
from .exceptions import NotFoundError
from .exceptions import RefusedError
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


OUTSIDE = ("../a.txt", "a/../b.txt", "/etc/passwd", "", ".hidden", "a//b", "a\0b")
LARGE = 7 * 1024 * 1024


def upload(data: bytes, filename: str = "a.txt") -> FileStorage:
    """Return an upload as a form sends it."""
    return FileStorage(io.BytesIO(data), filename)


def read(file: FileWrapper) -> bytes:
    """Return what a stored file holds."""
    with file.open() as stream:
        return stream.read()


class ProviderContract:
    """What a provider promises, each promise a test.

    :cvar simultaneous: how many threads save one name at once.
    :cvar keeps_attributes: whether a file carries more than its name implies; without,
        the tests of that are skipped.
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

    def test_save(self, file: FileWrapper) -> None:
        """What is saved can be read, and is what it was."""
        assert file.exists()
        assert read(file) == b"content"
        assert file.size == 7
        assert file.provider.size(str(file)) == 7
        assert file.filename.startswith("a")
        assert file.filename.endswith(".txt")
        assert str(file) == file.relative_path() == file.filename
        assert file.absolute_path().endswith(str(file))

    def test_modified(self, file: FileWrapper) -> None:
        """The time of a file has a zone and is about now."""
        assert abs(datetime.now(UTC) - file.modified) < timedelta(minutes=2)

    @pytest.mark.parametrize("size", [0, 1, LARGE], ids=["empty", "byte", "large"])
    def test_sizes(self, provider: BaseStore, size: int) -> None:
        """Files of any size are stored whole."""
        data = bytes(range(256)) * (size // 256) if size > 1 else b"x" * size
        file = self.save(provider, data)
        assert file.size == len(data)
        assert read(file) == data

    def test_never_overwrites(self, provider: BaseStore) -> None:
        """Two files that ask for one name get two, in the same folder."""
        one = self.save(provider, b"one", "folder/a.txt")
        two = self.save(provider, b"two", "folder/a.txt")
        assert str(one) != str(two)
        assert all(str(file).startswith("folder/a") for file in (one, two))
        assert (read(one), read(two)) == (b"one", b"two")

    def test_simultaneous_saves(self, provider: BaseStore) -> None:
        """As many files as saves, and each shows what was saved in it."""
        contents = [f"{number}".encode() for number in range(self.simultaneous)]
        with ThreadPoolExecutor(self.simultaneous) as pool:
            files = list(pool.map(lambda data: provider.save(upload(data)), contents))
        self.settle(provider)
        assert len({str(file) for file in files}) == len(contents)
        assert [read(file) for file in files] == contents

    def test_partly_read_stream(self, provider: BaseStore) -> None:
        """A stream is saved whole, whatever was read of it before, and twice."""
        stream = io.BytesIO(b"content")
        stream.read(4)
        files = [provider.save(stream, "a.txt") for _ in range(2)]
        self.settle(provider)
        assert [read(file) for file in files] == [b"content", b"content"]

    def test_raw_stream(self, provider: BaseStore) -> None:
        """A stream that cannot go back, such as a request's body, is saved too."""
        stream: Any = OneWay(b"content")
        file = provider.save(stream, "raw.txt")
        self.settle(provider)
        assert (file.size, read(file)) == (7, b"content")

    def test_no_file(self, provider: BaseStore) -> None:
        """A form without a file is refused."""
        for file in (None, upload(b"", "")):
            with pytest.raises(NoFileError, match="No file"):
                provider.save(file)

    def test_seek(self, file: FileWrapper) -> None:
        """An open file can be read from anywhere."""
        with file.open() as stream:
            assert stream.seek(-4, io.SEEK_END) == 3
            assert stream.read() == b"tent"
            assert stream.seek(0) == 0
            assert stream.read(3) == b"con"
            assert stream.seek(1, io.SEEK_CUR) == 4
            assert stream.read() == b"ent"
            assert stream.read() == b""

    def test_delete(self, provider: BaseStore, file: FileWrapper) -> None:
        """A deleted file is gone, its namesakes stay, and twice is no error."""
        other = self.save(provider, b"other", f"{file}.bak")
        file.delete()
        file.delete()
        assert not file.exists()
        assert other.exists()

    @pytest.mark.parametrize("verb", ["open", "size", "modified"])
    def test_missing_file(self, provider: BaseStore, verb: str) -> None:
        """What is not there is said to be missing, by name."""
        with pytest.raises(NotFoundError, match=r"'no\.txt' is not in the store"):
            getattr(provider, verb)("no.txt")
        assert not provider.exists("no.txt")

    @pytest.mark.parametrize("name", OUTSIDE)
    def test_outside(self, provider: BaseStore, name: str) -> None:
        """No name leads out of the store."""
        for verb in ("open", "exists", "delete", "size", "url", "file", "within"):
            if name or verb != "within":
                with pytest.raises(InvalidNameError, match="is not the name of a file"):
                    getattr(provider, verb)(name)

    def test_list(self, provider: BaseStore) -> None:
        """Files are listed by prefix, in one order everywhere, with size and time."""
        wanted = ["a-b/1.txt", "a/1.txt", "a/c/2.txt", "a2.txt", "é.txt"]
        saved = {
            name: str(self.save(provider, name.encode(), name))
            for name in reversed(wanted)
        }
        assert [str(file) for file in provider.list()] == [saved[it] for it in wanted]
        assert [str(file) for file in provider.list("a/")] == [
            saved["a/1.txt"],
            saved["a/c/2.txt"],
        ]
        assert [str(file) for file in provider.list("a2")] == [saved["a2.txt"]]
        assert list(provider.list("none/")) == []
        for file in provider.list():
            assert file.size == len(read(file))
            # Some servers list a time that is finer than what they answer for one.
            elapsed = file.modified - provider.modified(str(file))
            assert abs(elapsed) < timedelta(seconds=1)

    def test_destination(self, provider: BaseStore) -> None:
        """A provider of a folder saves there, and sees only that."""
        inner = provider.within("in/ner")
        self.save(provider, b"outer")
        file = inner.save(upload(b"inner"))
        self.settle(inner)
        assert str(file) == f"in/ner/{file.filename}"
        assert read(file) == b"inner"
        assert inner.exists(file.filename)
        assert [str(found) for found in inner.list()] == [str(file)]
        assert inner.destination == "in/ner"
        assert provider.destination == ""

    def test_copy(self, provider: BaseStore, file: FileWrapper) -> None:
        """A copy is a file of its own and takes nobody's name."""
        copies = [file.copy("copies/b.txt") for _ in range(2)]
        self.settle(provider)
        file.delete()
        assert [read(copy) for copy in copies] == [b"content", b"content"]
        assert len({str(copy) for copy in copies}) == 2

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
        """What a hook refuses is not stored, and the hook has seen it whole."""

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
        with pytest.raises(DigestError, match="sha256 of the bytes"):
            provider.save(upload(b"cut"), "cut.txt", content_digest=field)
        self.settle(provider)
        assert not provider.exists("cut.txt")

    def test_impossible_attributes(self, provider: BaseStore) -> None:
        """What no file can carry is refused, and nothing is stored."""
        with pytest.raises(InvalidAttributeError, match="metadata is"):
            provider.save(upload(b""), metadata={"a\r\nSet-Cookie": "1"})
        with pytest.raises(InvalidAttributeError, match="could run in a browser"):
            provider.save(upload(b"", "a.html"), disposition="inline")
        self.settle(provider)
        assert list(provider.list()) == []

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
        self.save(provider, b"other", "there/b.bin")
        file = provider.save(
            upload(b"content", "a.png"), sha256=True, metadata={"owner": "1"}
        )
        self.settle(provider)
        before = file.attributes
        moved = file.move("there/b.bin")
        self.settle(provider)
        assert not file.exists()
        assert str(moved) != "there/b.bin"
        assert str(moved).startswith("there/b")
        assert read(moved) == b"content"
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
        """What was accepted once is copied as it is."""
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

    def test_urls(self, provider: BaseStore) -> None:
        """What a URL cannot hold is quoted."""
        file = self.save(provider, b"", "ä #?%41&+.txt")
        assert "%C3%A4%20%23_%2541%26%2B" in file.absolute_url()
        assert file.absolute_url().endswith(file.relative_url())
        assert file.relative_url().startswith("/")
        assert file.url() == file.absolute_url()

    def test_signed_url(self, file: FileWrapper) -> None:
        """A signed URL differs from the plain one by its signature."""
        signed = file.url(expires=60)
        assert file.filename in signed
        assert "sig" in signed.partition("?")[2].lower()

    def test_safe_filename(self, provider: BaseStore, file: FileWrapper) -> None:
        """A name that is taken is proposed with a short unique part."""
        assert provider.safe_filename("../new.txt") == "new.txt"
        proposed = provider.safe_filename(file.filename)
        assert proposed != file.filename
        assert proposed.endswith(".txt")


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


class OneWay:
    """A stream that cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._chunks: Iterator[bytes] = iter([data[:4], data[4:]])

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - a stream's
        """Return the next chunk."""
        return next(self._chunks, b"")
