"""One policy for the size of chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any
from typing import AnyStr


#: The size of the first chunk: small, so that the first byte leaves early.
FIRST_SIZE = 1024


def close(*objects: object) -> None:
    """Close the objects that can be closed, in order, even when one fails."""
    with contextlib.ExitStack() as stack:
        for each in reversed(objects):
            callback = getattr(each, "close", None)
            if callback is not None:
                stack.callback(callback)


def buffered(
    iterable: Iterable[AnyStr], size: int = 65536, delay: float = 0.5
) -> Iterator[AnyStr]:
    """Join many small parts to few chunks.

    The first chunk leaves with 1 KiB; each next one may be twice as large, up to
    `size`. The clock is read when a part arrives, so a source that is silent after
    a burst keeps the burst's tail back until its next part.

    :param iterable: text or bytes, one kind throughout.
    :param size: the largest goal, in characters or bytes.
    :param delay: seconds after which a part leaves however small the chunk is.
    """
    if size < 1:
        raise ValueError(f"size is {size!r}: set at least 1")
    return _joined(iterable, size, delay)


def _joined(iterable: Iterable[Any], size: int, delay: float) -> Iterator[Any]:
    parts: list[Any] = []
    length, goal, deadline = 0, min(FIRST_SIZE, size), monotonic() + delay
    iterator = iter(iterable)
    try:
        for part in iterator:
            parts.append(part)
            length += len(part)
            if length >= goal or monotonic() >= deadline:
                yield part[:0].join(parts)
                parts.clear()
                length, goal, deadline = 0, min(2 * goal, size), monotonic() + delay
        if length:
            yield parts[0][:0].join(parts)
    finally:
        close(iterator)


class Primed:
    """Chunks of which the first is already made.

    What fails before the first chunk fails here, where the caller can still answer
    with an error page, and not after the status has been sent.

    :param chunks: an iterator.
    :param sources: what else to close at the end: a generator that was never
        started does not close what it would have read.
    :param prime: False makes no chunk, for a response that will have no body.
    """

    def __init__(
        self, chunks: Iterator[bytes], *sources: object, prime: bool = True
    ) -> None:
        self._chunks = chunks
        self._sources = sources
        try:
            self._first = list(islice(chunks, int(prime)))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else next(self._chunks)

    def close(self) -> None:
        """Close the chunks and the sources."""
        close(self._chunks, *self._sources)
