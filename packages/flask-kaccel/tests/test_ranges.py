"""Conditions and ranges, evaluated without a server."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from flask_kaccel._ranges import Answer
from flask_kaccel._ranges import Spans
from flask_kaccel._ranges import answer
from flask_kaccel._ranges import multipart
from flask_kaccel._ranges import parse_ranges


ETAG = '"1-64"'
EPOCH = "Thu, 01 Jan 1970 00:01:40 GMT"
BEFORE = "Thu, 01 Jan 1970 00:01:39 GMT"
AFTER = "Thu, 01 Jan 1970 00:01:41 GMT"
NO_YEAR = "Thu, 01 Jan 99999999999999999999 00:01:41 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": EPOCH}, 200),
        ({"If-Unmodified-Since": "nonsense"}, 200),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": EPOCH}, 200),
        ({"If-Modified-Since": EPOCH}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Match": '"other"', "If-None-Match": ETAG}, 412),
        ({"Range": "bytes=0-1", "If-None-Match": ETAG}, 304),
        ({"Range": "bytes=0-1"}, 206),
        ({"Range": "bytes=0-1", "If-Range": ETAG}, 206),
        ({"Range": "bytes=0-1", "If-Range": f"W/{ETAG}"}, 200),
        ({"Range": "bytes=0-1", "If-Range": EPOCH}, 206),
        ({"Range": "bytes=0-1", "If-Range": AFTER}, 200),
        ({"Range": "bytes=0-1", "If-Range": "nonsense"}, 200),
        ({"Range": "bytes=0-1", "If-Range": NO_YEAR}, 200),
        ({"If-Modified-Since": NO_YEAR}, 200),
        ({"If-Unmodified-Since": NO_YEAR}, 200),
        ({"If-Modified-Since": f"{EPOCH[:-3]}+99999999999999999999"}, 200),
        ({"Range": "bytes=100-"}, 416),
    ],
    ids=str,
)
def test_status(headers: dict[str, str], status: int) -> None:
    """Conditions are evaluated in the order of RFC 9110, 13.2.2."""
    assert answer(Headers(headers), ETAG, 100, 100).status == status


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-4", [range(5)]),
        ("bytes=95-", [range(95, 100)]),
        ("bytes=-5", [range(95, 100)]),
        ("bytes=-500", [range(100)]),
        ("bytes=90-500", [range(90, 100)]),
        ("bytes=0-0,-1", [range(1), range(99, 100)]),
        ("bytes=0-1,200-300", [range(2)]),
        ("bytes=0-9,0-9", [range(10), range(10)]),
        ("bytes=0-,0-", None),
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=5-4", []),
        ("bytes=-", []),
        ("bytes=,", []),
        ("bytes=x-1", []),
        ("bytes=1-x", []),
        ("bytes=--1", []),
        ("bytes=٣-٤", []),
        ("bytes=" + "9" * 5000 + "-", []),
        ("lines=0-4", None),
        ("bytes", None),
        ("", None),
    ],
)
def test_parse_ranges(value: str, spans: list[range] | None) -> None:
    """A range is satisfiable, unsatisfiable, or not worth an answer of its own."""
    found = parse_ranges(value, 100)
    assert found == (None if spans is None else tuple(spans))


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-5", "bytes=-5"])
def test_empty_file(value: str) -> None:
    """An empty file is sent whole for a range at its beginning or end."""
    assert parse_ranges(value, 0) is None
    assert parse_ranges("bytes=1-", 0) == ()


@given(st.text("0123456789-, =bytes", max_size=40), st.integers(0, 50))
def test_any_range_stays_within_the_file(value: str, size: int) -> None:
    """For any request, only bytes of the file are sent, and no more."""
    spans = parse_ranges(f"bytes={value}", size) or ()
    assert all(0 <= span.start < span.stop <= size for span in spans)
    assert sum(map(len, spans)) <= size


def test_answer_is_a_value() -> None:
    """Equal answers compare equal."""
    assert answer(Headers(), ETAG, 0, 0) == Answer(200)


def test_spans_of_a_file_that_shrinks() -> None:
    """A file that was cut short meanwhile ends the body, and is closed."""
    file = io.BytesIO(b"0123")
    body = Spans(file, [b"head", range(2, 100), b"tail"])
    assert list(body) == [b"head", b"23", b"tail"]
    body.close()
    assert file.closed


def test_large_spans_come_in_chunks() -> None:
    """A span is never held in memory as a whole."""
    chunks = list(Spans(io.BytesIO(bytes(200_000)), [range(10, 190_000)]))
    assert [len(chunk) for chunk in chunks] == [65536, 65536, 58918]


def test_multipart() -> None:
    """Each part has its type and its place in the file."""
    parts = multipart([range(2), range(5, 9)], 10, "text/plain", "B")
    assert b"".join(it if isinstance(it, bytes) else b"*" for it in parts) == (
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n*"
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/10\r\n\r\n*"
        b"\r\n--B--\r\n"
    )
