"""The step between receiving a file and accepting it.

When all bytes have arrived and before the file has a name, hooks see it. The order, on
every store and for a save in the background too:

1. the bytes are complete, in a file without a name or in memory;
2. their checksums are made and compared with what the client said;
3. the store's hook, ``STORE_ACCEPT``, is called, then that of the save, ``accept=``;
4. the file is made durable and gets its name, with its attributes.

A hook refuses by raising, best :exc:`~flask_store.RefusedError`, which answers 422.
Whatever it raises, nothing is stored. It may return the type that it found in the
bytes, which then counts instead of the extension's; None leaves that as it is. A hook
can only read, and its stream ends with it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import TypeAlias


if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Enough for sniffers to tell Office's files from other archives.
HEAD = 8192


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that was received whole and has no name yet.

    :param name: the name that was asked for; the stored one may get a unique part.
    :param filename: what the client calls it, made safe, or None.
    :param size: bytes.
    :param content_type: the app's, or what the name implies.
    :param metadata: the app's own.
    :param stream: the bytes, from the start; it can seek, and is closed afterwards.
    """

    name: str
    filename: str | None
    size: int
    content_type: str
    metadata: Mapping[str, str]
    stream: BinaryIO = field(repr=False)

    def head(self, size: int = HEAD) -> bytes:
        """Return the first bytes; the stream stays where it is.

        :param size: how many, at most.
        """
        position = self.stream.tell()
        self.stream.seek(0)
        data = self.stream.read(size)
        self.stream.seek(position)
        return data


#: Sees a file before it has a name: returns the type that it found, None, or raises.
Accept: TypeAlias = Callable[[Incoming], str | None]


class ReadOnly(io.RawIOBase):
    """A stream that can only be read, and whose end is not the end of its source."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the source."""
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        """Return the source's position."""
        return self._source.tell()

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self._source.read(len(view))
        view[: len(data)] = data
        return len(data)
