"""The body of a request that brings bytes of an upload."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator

from flask import request

from .upload import RefusedRequest


BLOCK = 65536
#: An upload whose length is not known yet may bring this many bytes.
UNLIMITED = 1 << 62


class Body(Iterator[bytes]):
    """The body of the current request, block by block, and whether it came whole.

    :param missing: the most bytes that may come.
    :param update: is called with each block.
    """

    def __init__(
        self, missing: int, update: Callable[[bytes], object] | None = None
    ) -> None:
        announced = request.content_length
        if announced is None and not request.environ.get("wsgi.input_terminated"):
            if has_open_end():
                # A server that does not know chunked bodies shows an empty one.
                raise RefusedRequest(411, "Content-Length: this server needs it")
            announced = 0
        if announced is not None and announced > missing:
            raise too_large(missing)
        self._announced = announced
        self._missing = missing
        self._update = update
        self._received = 0
        self._cut = False
        # Not request.stream, which copies each block, and has the limit of forms.
        self._stream = request.environ["wsgi.input"]

    def __next__(self) -> bytes:
        wanted = BLOCK
        if self._announced is not None:
            wanted = min(BLOCK, self._announced - self._received)
        try:
            block: bytes = self._stream.read(wanted) if wanted else b""
        except OSError:
            self._cut = True
            raise StopIteration from None
        if not block:
            raise StopIteration
        self._received += len(block)
        if self._received > self._missing:
            raise too_large(self._missing)
        if self._update is not None:
            self._update(block)
        return block

    def check_whole(self) -> None:
        """Refuse a body that ended early. Servers end it as they end a whole one."""
        if self._cut or (
            self._announced is not None and self._received < self._announced
        ):
            raise RefusedRequest(409, "the body ended early")


def has_open_end() -> bool:
    """Return whether there is a body whose length only its end will tell."""
    return request.content_length is None and "Transfer-Encoding" in request.headers


def too_large(missing: int) -> RefusedRequest:
    """Return what refuses a body that is larger than what is missing."""
    return RefusedRequest(413, f"the body is too large: {missing} bytes are missing")
