"""Parts of a form, received where the store keeps them.

A large part is a :class:`Spool`, an unnamed file in the store's file system, so that
saving it is a link. Each takes a descriptor, and a form may have a thousand parts, so a
part starts in memory and becomes a file when it has grown.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO
from typing import TYPE_CHECKING
from typing import Any

from . import _names


if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .stores.base import BaseStore

#: Bodies up to this size are left to Werkzeug, which keeps them in memory.
IN_MEMORY = 500 * 1024
#: From this size on, a part is a file. Flask takes 1,000 parts at most.
LARGEST_IN_MEMORY = 64 * 1024


class Part:
    """A part in the making, in memory first.

    :param make_file: opens the file for one that has grown.
    :param most: the most bytes in memory.
    """

    def __init__(
        self, make_file: Callable[[], IO[bytes]], most: int = LARGEST_IN_MEMORY
    ) -> None:
        self._make_file = make_file
        self._most = most
        #: What holds the bytes now.
        self.current: IO[bytes] = io.BytesIO()
        self._grown = False

    def write(self, data: Buffer, /) -> int:
        """Write, to a file from a certain size on."""
        size = memoryview(data).nbytes
        if not self._grown and self.current.tell() + size > self._most:
            file = self._make_file()
            position = self.current.tell()
            self.current.seek(0)
            file.write(self.current.read())
            file.seek(position)
            self.current, self._grown = file, True
        return self.current.write(data)

    def __iter__(self) -> Any:
        return iter(self.current)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.current.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


class SpoolingMixin:
    """Let a request receive large files where the store keeps them."""

    #: The store's own provider, set by the extension.
    flask_store: BaseStore

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if total_content_length is None or total_content_length > IN_MEMORY:
            made: Any = Part(lambda: self.flask_store.spool(_names.clean(filename)))
            part: IO[bytes] = made
            return part
        parent: Any = super()
        stream: IO[bytes] = parent._get_file_stream(
            total_content_length, content_type, filename, content_length
        )
        return stream
