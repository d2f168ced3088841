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
from itertools import repeat
from math import isfinite
from typing import Any
from typing import NamedTuple
from typing import TypeAlias

from ._chunks import blocks


#: The most items of a block.
MOST = 32


class Encoder(NamedTuple):
    """A function that encodes one value, and its further arguments.

    They stand apart so that :func:`map` can pass them, which costs nearly nothing.
    """

    function: Callable[..., bytes]
    more: tuple[object, ...] = ()


#: A function that encodes a block of items.
Layout: TypeAlias = Callable[[Encoder, list[Any]], bytes]


def elements(encoder: Encoder, items: list[Any]) -> bytes:
    """Encode items as the inside of an array."""
    return encoder.function(items, *encoder.more).strip()[1:-1]


def lines(encoder: Encoder, items: list[Any]) -> bytes:
    """Encode items as lines."""
    encoded = map(encoder.function, items, *map(repeat, encoder.more))
    return b"\n".join(encoded) + b"\n"


def encoded(layout: Layout, encoders: Sequence[Encoder], items: list[Any]) -> bytes:
    """Encode a block of items.

    :param encoders: the fast one first; where it refuses a value that JSON can
        hold, such as a very large integer, the next one takes the block.
    """
    for each in encoders[:-1]:
        try:
            return layout(each, items)
        except TypeError:
            continue
    return layout(encoders[-1], items)


def careful_encoder(default: Callable[[Any], Any]) -> Encoder:
    """Return an encoder of the standard library, without spaces.

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

    return Encoder(dumps)


def without_nan(value: Any) -> Any:
    """Return a value with None in the place of numbers that are not finite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(each) for each in value]
    return value


def array_parts(items: Iterable[Any], encoders: Sequence[Encoder]) -> Iterator[bytes]:
    """Encode items as an array, which is closed only where all of them came."""
    separator = b"["
    for block in blocks(items, partial(encoded, elements, encoders), MOST):
        yield separator + block
        separator = b","
    yield b"[]" if separator == b"[" else b"]"


def line_parts(items: Iterable[Any], encoders: Sequence[Encoder]) -> Iterator[bytes]:
    """Encode items, each on a line of its own."""
    return blocks(items, partial(encoded, lines, encoders), MOST)


def document_parts(document: Any, encoders: Sequence[Encoder]) -> Iterator[bytes]:
    """Encode an iterable as an array, or a mapping whose values may be iterables."""
    if not isinstance(document, Mapping):
        yield from array_parts(document, encoders)
        return
    separator = b"{"
    for key, value in document.items():
        if not isinstance(key, str):
            raise TypeError(f"The key {key!r} is not a string: JSON has no other keys")
        yield separator + encoded(elements, encoders[-1:], [key]) + b":"
        if is_streamed(value):
            yield from array_parts(value, encoders)
        else:
            yield encoded(elements, encoders, [value])
        separator = b","
    yield b"{}" if separator == b"{" else b"}"


def is_streamed(value: object) -> bool:
    """Return whether a value of a document is an array, written item by item.

    Other iterables, such as models, are left to the function that encodes values.
    """
    return isinstance(value, (Iterator, Sequence, Set, ValuesView)) and not isinstance(
        value, (str, bytes, bytearray, memoryview)
    )
