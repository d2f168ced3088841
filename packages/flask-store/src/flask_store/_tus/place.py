"""The interface of a place: where the bytes of unfinished uploads wait."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NamedTuple
from typing import Protocol

from .._spool import lock
from .upload import Upload


if TYPE_CHECKING:
    from .._spool import Spool


@contextlib.contextmanager
def host_lock(upload_id: str, *, wait: bool = True) -> Iterator[bool]:
    """Keep this host's other requests for an upload out; yield whether it did.

    :param wait: wait for those that are there.
    """
    # A few files for all uploads, as one that is in use cannot be removed.
    name = f"flask-store-{os.getuid()}-{upload_id[:2]}.lock"
    with Path(tempfile.gettempdir(), name).open("ab") as file:
        yield lock(file.fileno(), wait=wait)


class Part(NamedTuple):
    """A part of an upload that is sent in parts.

    :param size: bytes.
    :param etag: tells it from others of its number, without quotes.
    """

    number: int
    size: int
    etag: str


class Place(Protocol):
    """The place where the bytes of unfinished uploads wait."""

    def create(self, upload: Upload) -> None:
        """Begin an upload."""
        ...

    def keep(self, upload: Upload) -> None:
        """Replace the record of an upload."""
        ...

    def find(self, upload_id: str) -> Upload:
        """Return an upload, or raise NotFoundError."""
        ...

    def offset(self, upload: Upload) -> int:
        """Return how many bytes there are for certain."""
        ...

    def touched(self, upload: Upload) -> float:
        """Return when the last byte came, in seconds since the epoch."""
        ...

    def append(self, upload: Upload, offset: int, blocks: Iterable[bytes]) -> int:
        """Append bytes and return where the upload ends, or raise MovedError."""
        ...

    def append_checked(
        self,
        upload: Upload,
        offset: int,
        blocks: Iterable[bytes],
        check: Callable[[], None],
    ) -> int:
        """Append bytes all at once, if they pass a check when all have come."""
        ...

    def concatenate(self, upload: Upload, parts: Iterable[Upload]) -> None:
        """Begin an upload with the bytes of others."""
        ...

    def finish(
        self,
        upload: Upload,
        save: Callable[[Spool], str],
        announce: Callable[[str], None],
    ) -> None:
        """Make a file of a complete upload, unless somebody else does so now."""
        ...

    def delete(self, upload: Upload) -> None:
        """Drop an upload; a file that it became stays."""
        ...

    def uploads(self) -> Iterator[Upload]:
        """Yield all uploads."""
        ...

    def part_url(self, upload: Upload, number: int, expires: int, /) -> str | None:
        """Return where a client sends a part itself, or None if the app takes it.

        :param expires: the seconds for which it may.
        """
        ...

    def receive_part(
        self, upload: Upload, number: int, blocks: Iterable[bytes], /
    ) -> Part:
        """Keep a part that was sent to the app."""
        ...

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts that are there, by number."""
        ...

    def join(self, upload: Upload, parts: Iterable[Part]) -> None:
        """Make one of the parts, which are all that there are."""
        ...
