# ruff: noqa: S101 - assertions are what a contract is made of
"""A contract that every provider keeps: run it over your own.

Subclass :class:`ProviderContract` in a test module, with a fixture ``provider``::

    class TestMyStore(ProviderContract):
        @pytest.fixture
        def provider(self, tmp_path):
            return MyStore(config=Config(path=str(tmp_path)))
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import Any

import pytest

from ._contract import AttributesContract
from ._contract import CopyContract
from ._contract import OneWay
from ._contract import read
from ._contract import upload
from .exceptions import InvalidNameError
from .exceptions import NoFileError
from .exceptions import NotFoundError
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


OUTSIDE: tuple[str, ...] = (
    "../a.txt",
    "a/../b.txt",
    "/etc/passwd",
    "",
    ".hidden",
    "a//b",
    "a\0b",
)
LARGE = 7 * 1024 * 1024


class ProviderContract(CopyContract, AttributesContract):
    """The promises of a provider, each one a test.

    :cvar simultaneous: how many threads save one name at once.
    :cvar keeps_attributes: whether a file carries more than its name implies; without,
        the tests of that are skipped.
    """

    def test_save(self, file: FileWrapper) -> None:
        """A saved file can be read, and holds the same bytes."""
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
        """An error names the file that is missing."""
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

    def test_urls(self, provider: BaseStore) -> None:
        """Characters that a URL cannot hold are quoted."""
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
