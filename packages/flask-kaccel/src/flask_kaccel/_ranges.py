"""The conditions and ranges of a request, answered as nginx answers them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from werkzeug.datastructures import Headers
from werkzeug.http import parse_date
from werkzeug.http import parse_etags


CHUNK_BYTES = 64 * 1024
#: The largest number that nginx's own parser takes; the zeros before it do not count.
MAX_OFFSET = 2**63 - 1
RANGE = re.compile(
    r" *(?:0*(?P<first>[0-9]{1,19}) *- *(?:0*(?P<last>[0-9]{1,19}))?"
    r"|-0*(?P<suffix>[0-9]{1,19})) *"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the spans of the file that a 206 carries."""

    status: int
    spans: tuple[range, ...] = ()


def answer(headers: Headers, etag: str, modified: int, size: int) -> Answer:
    """Evaluate a GET or HEAD request in the order of RFC 9110, 13.2.2.

    :param etag: the file's strong validator, in its quotes.
    :param modified: seconds since the epoch.
    """
    bare = etag.strip('"')
    if (if_match := headers.get("If-Match")) is not None:
        if not parse_etags(if_match).contains(bare):
            return Answer(412)
    elif _before(headers.get("If-Unmodified-Since"), modified):
        return Answer(412)
    if (if_none_match := headers.get("If-None-Match")) is not None:
        if parse_etags(if_none_match).contains_weak(bare):
            return Answer(304)
    elif _before(headers.get("If-Modified-Since"), modified) is False:
        return Answer(304)
    if "Range" in headers and _range_applies(headers.get("If-Range"), etag, modified):
        spans = parse_ranges(headers["Range"], size)
        if spans is not None:
            return Answer(206, spans) if spans else Answer(416)
    return Answer(200)


def epoch(date: str | None) -> int | None:
    """Return an HTTP date as seconds since the epoch; ``None`` if it is none."""
    try:
        parsed = parse_date(date)
    except OverflowError:  # which parse_date lets through
        return None
    return None if parsed is None else int(parsed.timestamp())


def _before(date: str | None, modified: int) -> bool | None:
    """Return whether a date is before the change; ``None`` if there is no date."""
    seconds = epoch(date)
    return None if seconds is None else seconds < modified


def _range_applies(if_range: str | None, etag: str, modified: int) -> bool:
    """Compare exactly: only a strong validator may guard a range (RFC 9110, 13.1.5)."""
    return if_range is None or if_range == etag or epoch(if_range) == modified


def parse_ranges(value: str, size: int) -> tuple[range, ...] | None:
    """Return the satisfiable spans of a ``Range``, or ``None`` to send the whole file.

    Spans that add up to more than the file, as an attack would ask for, are not worth
    an answer of their own (RFC 9110, 14.2).
    """
    unit, _, specs = value.partition("=")
    if unit.lower() != "bytes" or not specs:
        return None
    spans = []
    for spec in specs.split(","):
        match = RANGE.fullmatch(spec)
        if match is None or any(int(it or 0) > MAX_OFFSET for it in match.groups()):
            return ()
        first, last, suffix = match.groups()
        if suffix:
            span = range(max(size - int(suffix), 0), size)
        else:
            span = range(int(first), min(int(last) + 1 if last else size, size))
        if span:
            spans.append(span)
        elif span.start == 0:
            return None
    return None if sum(map(len, spans)) > size else tuple(spans)


def multipart(
    spans: Sequence[range], size: int, content_type: str, boundary: str
) -> list[bytes | range]:
    """Return the body of ``multipart/byteranges`` (RFC 9110, 14.6)."""
    parts: list[bytes | range] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {content_range(span, size)}\r\n\r\n"
        )
        parts += [head.encode("latin-1"), span]
    return [*parts, f"\r\n--{boundary}--\r\n".encode()]


def content_range(span: range, size: int) -> str:
    """Return the ``Content-Range`` of a span."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


class Spans:
    """A response body of bytes and spans of a file, which it closes."""

    def __init__(self, file: BinaryIO, parts: Sequence[bytes | range]) -> None:
        self.file = file
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from self._read(part)

    def _read(self, span: range) -> Iterator[bytes]:
        self.file.seek(span.start)
        left = len(span)
        while left and (chunk := self.file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file; the server calls it however the response ends."""
        self.file.close()
