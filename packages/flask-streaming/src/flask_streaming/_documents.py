"""Items as JSON, encoded many at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from collections.abc import ValuesView
from functools import partial
from math import isfinite
from time import monotonic
from typing import Any
from typing import TypeAlias

from ._chunks import DELAY


#: A function that encodes one value.
Dumps: TypeAlias = Callable[[Any], bytes]
#: A function that encodes a block of items with such a function.
Layout: TypeAlias = Callable[[Dumps, list[Any]], bytes]

#: The goal for the bytes of a block, and its most items: more gain nothing, and
#: many fresh objects at once are work for the garbage collector.
BLOCK_SIZE, BLOCK_ITEMS = 16384, 32


def elements(dumps: Dumps, items: list[Any]) -> bytes:
    """Encode items as the inside of an array."""
    return dumps(items).strip()[1:-1]


def lines(dumps: Dumps, items: list[Any]) -> bytes:
    """Encode items as lines."""
    return b"\n".join(map(dumps, items)) + b"\n"


def blocks(
    items: Iterable[Any], layout: Layout, encoders: Sequence[Dumps]
) -> Iterator[bytes]:
    """Encode items in blocks whose number of items follows from their size.

    :param encoders: the fast one first; where it refuses a value that JSON can
        hold, such as a very large integer, the next one takes the block.
    """
    batch: list[Any] = []
    count, deadline = 8, monotonic() + DELAY
    for item in items:
        batch.append(item)
        if len(batch) >= count or monotonic() >= deadline:
            block = encoded(batch, layout, encoders)
            yield block
            fitting = BLOCK_SIZE * len(batch) // len(block)
            count = max(1, min(2 * len(batch), fitting, BLOCK_ITEMS))
            batch, deadline = [], monotonic() + DELAY
    if batch:
        yield encoded(batch, layout, encoders)


def encoded(batch: list[Any], layout: Layout, encoders: Sequence[Dumps]) -> bytes:
    """Encode a block with the first encoder that can."""
    for dumps in encoders[:-1]:
        try:
            return layout(dumps, batch)
        except TypeError:
            continue
    return layout(encoders[-1], batch)


def encoder(default: Callable[[Any], Any]) -> Dumps:
    """Return a function that encodes with the standard library, without spaces.

    NaN and the infinities, which JSON lacks, are null, as with orjson.

    :param default: makes something that JSON knows of what it does not.
    """
    encode = partial(json.JSONEncoder, separators=(",", ":"), allow_nan=False)
    quick = encode(default=default).encode
    careful = encode(default=lambda value: without_nan(default(value))).encode

    def dumps(value: Any) -> bytes:
        try:
            return quick(value).encode()
        except ValueError:
            return careful(without_nan(value)).encode()

    return dumps


def without_nan(value: Any) -> Any:
    """Return a value with None in the place of numbers that are not finite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(each) for each in value]
    return value


def array_parts(items: Iterable[Any], encoders: Sequence[Dumps]) -> Iterator[bytes]:
    """Encode items as an array, which is closed only where all of them came."""
    separator = b"["
    for block in blocks(items, elements, encoders):
        yield separator + block
        separator = b","
    yield b"[]" if separator == b"[" else b"]"


def document_parts(document: Any, encoders: Sequence[Dumps]) -> Iterator[bytes]:
    """Encode an iterable as an array, or a mapping whose values may be iterables."""
    if not isinstance(document, Mapping):
        yield from array_parts(document, encoders)
        return
    separator = b"{"
    for key, value in document.items():
        if not isinstance(key, str):
            raise TypeError(f"The key {key!r} is no string: JSON has no other keys")
        yield separator + encoders[-1](key) + b":"
        if is_streamed(value):
            yield from array_parts(value, encoders)
        else:
            yield encoded([value], elements, encoders)
        separator = b","
    yield b"{}" if separator == b"{" else b"}"


def is_streamed(value: object) -> bool:
    """Return whether a value of a document is an array, written item by item.

    Other iterables, such as models, are left to the function that encodes values.
    """
    return isinstance(value, (Iterator, Sequence, Set, ValuesView)) and not isinstance(
        value, (str, bytes, bytearray, memoryview)
    )
