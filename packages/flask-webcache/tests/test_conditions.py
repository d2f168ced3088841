"""Preconditions and ranges by RFC 9110."""

from __future__ import annotations

import pytest

from flask_webcache._rules.conditions import MAX_RANGES
from flask_webcache._rules.conditions import Span
from flask_webcache._rules.conditions import cut
from flask_webcache._rules.conditions import precondition
from flask_webcache._rules.conditions import spans
from flask_webcache._rules.conditions import wanted_range


OLD = "Wed, 01 Jan 2020 00:00:00 GMT"
NEW = "Thu, 02 Jan 2020 00:00:00 GMT"
NEWER = "Fri, 03 Jan 2020 00:00:00 GMT"


@pytest.mark.parametrize(
    ("method", "conditions", "expected"),
    [
        ("GET", {}, None),
        ("GET", {"IF_NONE_MATCH": '"a"'}, 304),
        ("HEAD", {"IF_NONE_MATCH": '"a"'}, 304),
        ("PUT", {"IF_NONE_MATCH": '"a"'}, 412),
        ("PUT", {"IF_NONE_MATCH": "*"}, 412),
        ("GET", {"IF_NONE_MATCH": 'W/"a"'}, 304),
        ("GET", {"IF_NONE_MATCH": '"x", "a,b", "a"'}, 304),
        ("GET", {"IF_NONE_MATCH": '"x"'}, None),
        ("GET", {"IF_NONE_MATCH": '"x"', "IF_MODIFIED_SINCE": NEWER}, None),
        ("GET", {"IF_MODIFIED_SINCE": NEW}, 304),
        ("GET", {"IF_MODIFIED_SINCE": NEWER}, 304),
        ("GET", {"IF_MODIFIED_SINCE": OLD}, None),
        ("PUT", {"IF_MODIFIED_SINCE": NEWER}, None),
        ("GET", {"IF_MODIFIED_SINCE": "yesterday"}, None),
        ("PUT", {"IF_MATCH": '"a"'}, None),
        ("PUT", {"IF_MATCH": "*"}, None),
        ("PUT", {"IF_MATCH": '"x"'}, 412),
        ("PUT", {"IF_MATCH": 'W/"a"'}, 412),
        ("PUT", {"IF_UNMODIFIED_SINCE": OLD}, 412),
        ("PUT", {"IF_UNMODIFIED_SINCE": NEW}, None),
        ("PUT", {"IF_UNMODIFIED_SINCE": OLD, "IF_MATCH": '"a"'}, None),
    ],
)
def test_precondition(
    method: str, conditions: dict[str, str], expected: int | None
) -> None:
    """The order and the comparisons are those of section 13."""
    environ = {f"HTTP_{name}": value for name, value in conditions.items()}
    assert precondition(environ, method, '"a"', NEW) == expected


@pytest.mark.parametrize("condition", ["IF_MATCH", "IF_NONE_MATCH"])
def test_precondition_without_tag(condition: str) -> None:
    """If-Match fails if there is no tag."""
    expected = 412 if condition == "IF_MATCH" else None
    assert precondition({f"HTTP_{condition}": '"a"'}, "GET", None, None) == expected


@pytest.mark.parametrize(
    ("if_range", "etag", "applies"),
    [
        (None, '"a"', True),
        ('"a"', '"a"', True),
        ('"x"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('"a"', None, False),
        (NEW, '"a"', True),
        (OLD, '"a"', False),
        ("yesterday", '"a"', False),
    ],
)
def test_if_range(if_range: str | None, etag: str | None, applies: bool) -> None:
    """A range applies to the very representation that the client has a part of."""
    environ = {"HTTP_RANGE": "bytes=0-1"}
    if if_range:
        environ["HTTP_IF_RANGE"] = if_range
    assert wanted_range(environ, etag, NEW) == ("bytes=0-1" if applies else None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-1", [(0, 1)]),
        ("bytes=1-", [(1, 9)]),
        ("bytes=-3", [(7, 9)]),
        ("bytes=-99", [(0, 9)]),
        ("bytes=8-99", [(8, 9)]),
        ("BYTES = 0-1", [(0, 1)]),
        ("bytes=0-1, 4-5", [(0, 1), (4, 5)]),
        ("bytes=4-5,0-1", [(4, 5), (0, 1)]),
        ("bytes=0-5,4-7", [(0, 7)]),
        ("bytes=0-,0-,0-", [(0, 9)]),
        ("bytes=10-", []),
        ("bytes=-0", []),
        ("bytes=10-,0-0", [(0, 0)]),
        ("bytes=-", None),
        ("bytes=2-1", None),
        ("bytes=a-b", None),
        ("bytes=", None),
        ("bytes", None),
        ("lines=0-1", None),
        ("bytes=0-1;2-3", None),
        ("bytes=--1", None),
        ("bytes=٠-1", None),
        ("bytes=" + "0" * 99 + "-", None),
        ("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), None),
    ],
)
def test_spans(value: str, expected: list[Span] | None) -> None:
    """Ranges are parsed strictly, joined where they overlap, and few."""
    assert spans(value, 10) == expected


def test_spans_of_nothing() -> None:
    """No range of an empty body can be met."""
    assert spans("bytes=-1", 0) == []


def test_cut_multiple() -> None:
    """Several ranges are parts of multipart/byteranges."""
    part = cut(b"0123456789", [(0, 1), (8, 9)], "text/plain")
    assert part.content_range is None
    assert part.content_type is not None
    boundary = part.content_type.removeprefix("multipart/byteranges; boundary=")
    lines = part.body.decode().split("\r\n")
    assert lines == [
        f"--{boundary}",
        "Content-Type: text/plain",
        "Content-Range: bytes 0-1/10",
        "",
        "01",
        f"--{boundary}",
        "Content-Type: text/plain",
        "Content-Range: bytes 8-9/10",
        "",
        "89",
        f"--{boundary}--",
        "",
    ]
