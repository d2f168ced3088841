"""Listings that S3 itself finds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from .. import _names
from .._bucket import Bucket
from .._listing import LARGEST_PAGE
from .._listing import Page
from .._listing import check_limit
from .._s3_errors import failing_as
from ..file_wrapper import FileWrapper
from .base import BaseStore


class Listings(BaseStore):
    """The part of a provider that lists its bucket."""

    bucket: Bucket

    def key(self, full: str) -> str:
        """Return the key of a name as the root of the store sees it."""
        raise NotImplementedError

    def delete_prefix(self, prefix: str = "") -> int:
        """Delete all files whose names start with a prefix, a thousand at a time."""
        self._check_bounded(prefix)
        files, count = self.list(prefix), 0
        while batch := [*itertools.islice(files, LARGEST_PAGE)]:
            with failing_as("delete", prefix):
                self.bucket.delete([self.key(file.name) for file in batch])
            count += len(batch)
        return count

    def page(
        self,
        prefix: str = "",
        *,
        delimiter: str | None = "/",
        limit: int = LARGEST_PAGE,
        after: str | None = None,
    ) -> Page:
        """Return a page of a listing; S3 itself finds it."""
        check_limit(limit)
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        below = self.key(f"{self.destination}/" if self.destination else "")
        with failing_as("list", prefix):
            found = self.bucket.list_page(self.key(start), delimiter, limit, after)
        folders = [it["Prefix"] for it in found.get("CommonPrefixes", ())]
        return Page(
            list(self._files(found.get("Contents", ()))),
            [it.removeprefix(below) for it in folders if not _is_hidden(it, below)],
            found.get("NextContinuationToken"),
        )

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        with failing_as("list", prefix):
            yield from self._files(self.bucket.list(self.key(start)))

    def _files(self, entries: Iterable[Mapping[str, Any]]) -> Iterator[FileWrapper]:
        above, root = self.key(""), self.within(None)
        for entry in entries:
            if not _is_hidden(entry["Key"], above):
                name = entry["Key"].removeprefix(above)
                if _names.is_valid(name):
                    yield FileWrapper(root, name, entry["Size"], entry["LastModified"])


def _is_hidden(key: str, above: str) -> bool:
    """Return whether no file can have the name that a key stands for."""
    parts = key.removeprefix(above).removesuffix("/").split("/")
    return any(part[:1] in {"", "."} for part in parts)
