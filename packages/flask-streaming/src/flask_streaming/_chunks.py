"""One policy for the size of chunks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any
from typing import AnyStr

from ._iteration import iterated


#: The size of the first chunk: small, so that the first byte leaves early.
FIRST_SIZE = 1024
#: After how many seconds what has come leaves with the next part.
DELAY = 0.5
#: The goal for the size of a block: more gains nothing.
BLOCK_SIZE = 16384


def close(*objects: object) -> None:
    """Close what can be closed, in order, each once, even when one fails."""
    unique = {id(each): each for each in objects}
    with contextlib.ExitStack() as stack:
        for each in reversed(unique.values()):
            callback = getattr(each, "close", None)
            if callback is not None:
                stack.callback(callback)


class Chunks:
    """An iterator that closes what its chunks are made of.

    :param chunks: an iterator.
    :param sources: closed after it. A generator cannot do this: one that was never
        started does not run its ``finally``.
    :param prime: make the first chunk now. What fails before it fails here, where
        the caller can still answer with an error page.
    """

    def __init__(
        self, chunks: Iterator[Any], *sources: object, prime: bool = False
    ) -> None:
        self._chunks = chunks
        self._sources = sources
        try:
            self._first = list(islice(chunks, int(prime)))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._first.pop() if self._first else next(self._chunks)

    def close(self) -> None:
        """Close the chunks and the sources."""
        close(self._chunks, *self._sources)


def blocks(
    items: Iterable[Any], encode: Callable[[list[Any]], AnyStr], most: int
) -> Iterator[AnyStr]:
    """Encode items in blocks whose number of items follows from their size.

    :param most: the largest number of items: many fresh objects at once are work for
        the garbage collector.
    """
    iterator, count, ended = iter(items), 8, False
    while not ended:
        batch: list[Any] = []
        deadline = monotonic() + DELAY
        for item in islice(iterator, count):
            batch.append(item)
            if monotonic() >= deadline:
                break
        else:
            ended = len(batch) < count
        if batch:
            block = encode(batch)
            yield block
            fitting = BLOCK_SIZE * len(batch) // max(1, len(block))
            count = max(1, min(2 * len(batch), fitting, most))


def buffered(
    iterable: Iterable[AnyStr] | AsyncIterable[AnyStr],
    size: int = 65536,
    delay: float = DELAY,
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
    iterable = iterated("iterable", iterable)
    return Chunks(_joined(iterable, size, delay), iterable)


def _joined(iterable: Iterable[Any], size: int, delay: float) -> Iterator[Any]:
    parts: list[Any] = []
    length, goal, deadline = 0, min(FIRST_SIZE, size), monotonic() + delay
    for part in iterable:
        parts.append(part)
        length += len(part)
        if length >= goal or monotonic() >= deadline:
            yield _whole(parts)
            parts.clear()
            length, goal, deadline = 0, min(2 * goal, size), monotonic() + delay
    if length:
        yield _whole(parts)


def _whole(parts: list[Any]) -> Any:
    """Join parts, which are all text or all bytes."""
    if not isinstance(parts[0], (str, bytes, bytearray)):
        raise TypeError(f"A part is {repr(parts[0])[:40]}: pass text or bytes")
    return parts[0][:0].join(parts)
