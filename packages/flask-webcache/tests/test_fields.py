"""The syntax of fields, as strict as the RFCs want it."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime

import pytest
from werkzeug.datastructures import Headers

from flask_webcache import _answers
from flask_webcache._rules import fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", {}),
        ("max-age=60, Public", {"max-age": "60", "public": None}),
        ('max-age="60"', {"max-age": "60"}),
        ("max-age='60'", {"max-age": "'60'"}),
        (
            'x="max-age=9, private", max-age=1',
            {"x": "max-age=9, private", "max-age": "1"},
        ),
        ("max-age=1, max-age=9", {"max-age": "1"}),
        ("max-age =9", {"max-age ": "9"}),
        (" , ,no-store,", {"no-store": None}),
        (r'x="a\"b"', {"x": 'a"b'}),
        ('x="open', {"x": '"open'}),
        ('"', {'"': None}),
    ],
)
def test_directives(value: str, expected: dict[str, str | None]) -> None:
    """Cache-Control is split outside of quotes; the first of duplicates counts."""
    assert fields.directives(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", {"max-age": "60"}),
        ("foobar, max-age=60", {"foobar": None, "max-age": "60"}),
        ("max-age=60;a=1, private;b", {"max-age": "60", "private": None}),
        (
            'private="a", x=(1 2;a "b"), y=:aGk=:, z=1.5',
            {"private": None, "x": None, "y": None, "z": None},
        ),
        ("no-store=?0, private=?1", {"private": None}),
        ("max-age=1, max-age=9", {"max-age": "9"}),
        ('max-age="60"', {}),
        ("", None),
        ("max-age=60,", None),
        ("max-age=60, &&&&&", None),
        ("max-age =60", None),
        ("max-age= 60", None),
        ("MaX-aGe=60", None),
        ("a b", None),
    ],
)
def test_targeted(value: str, expected: dict[str, str | None] | None) -> None:
    """A targeted field is a structured dictionary, or it is ignored (RFC 9213)."""
    assert fields.targeted(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("003600", 3600),
        ("0" * 5000 + "7", 7),
        ("9" * 5000, fields.FOREVER),
        ("2147483649", fields.FOREVER),
        ("-1", None),
        ("1.0", None),
        ("a1", None),
        ("1a", None),
        ("", None),
        (None, None),
        ("²", None),
        ("١", None),
    ],
)
def test_seconds(value: str | None, expected: int | None) -> None:
    """Delta-seconds are digits and nothing else."""
    assert fields.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7200", 7200),
        ("7200,0", 7200),
        ("0, 7200", 0),
        ("abc", 0),
        ("-7200", 0),
        ("7200.0", 0),
        ("7200;foo=bar", 0),
        ("2147483648", 2**31),
        ("99999999999", 2**31),
    ],
)
def test_age(value: str, expected: int) -> None:
    """The first member of Age counts; an invalid one is ignored (RFC 9111, 5.1)."""
    assert fields.age(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Thu, 18 Aug 2050 02:01:18 GMT", datetime(2050, 8, 18, 2, 1, 18, tzinfo=UTC)),
        ("THU, 18 AUG 2050 02:01:18 gMT", datetime(2050, 8, 18, 2, 1, 18, tzinfo=UTC)),
        (
            "Thursday, 18-Aug-50 02:01:18 GMT",
            datetime(2050, 8, 18, 2, 1, 18, tzinfo=UTC),
        ),
        (
            "Sunday, 06-Nov-94 08:49:37 GMT",
            datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC),
        ),
        ("Thu Aug  8 02:01:18 2050", datetime(2050, 8, 8, 2, 1, 18, tzinfo=UTC)),
        (
            "Sun, 21 Nov 2286 04:46:39 GMT",
            datetime(2286, 11, 21, 4, 46, 39, tzinfo=UTC),
        ),
        ("0", None),
        ("", None),
        ("Thu, 18 Aug 2050 02:01:18 UTC", None),
        ("Thu, 18 Aug 2050 02:01:18 AEST", None),
        ("Thu, 18 Aug 50 02:01:18 GMT", None),
        ("Thu 18 Aug 2050 02:01:18 GMT", None),
        ("Thu, 18  Aug  2050 02:01:18 GMT", None),
        ("Thu, 18-Aug-2050 02:01:18 GMT", None),
        ("Thu, 18 Aug 2050 02.01.18 GMT", None),
        ("Thu, 18 Aug 2050 2:01:18 GMT", None),
        ("Thu, 31 Feb 2050 02:01:18 GMT", None),
        ("Thu, 18 Aug 0000 02:01:18 GMT", None),
        ("Thu, 18 Aug 2050 24:01:18 GMT", None),
        ("Thu, 18 Aug 2050 02:60:18 GMT", None),
        ("Thu, 18 Aug 2050 02:01:61 GMT", None),
        ("Thu, 18 Aug 2050 2:01:18 GMT, Thu, 18 Aug 2050 2:01:19 GMT", None),
    ],
)
def test_http_date(value: str, expected: datetime | None) -> None:
    """The three formats are dates, in any case; all else is invalid."""
    assert fields.http_date(value) == (expected and expected.timestamp())


def test_combine() -> None:
    """Several lines of one field are one list."""
    lines = [("Vary", "a"), ("X", "1"), ("vary", "b")]
    assert fields.combine(lines) == {"vary": "a, b", "x": "1"}


def test_structured_strings() -> None:
    """Cache-Groups is a list of strings; what is none is left out."""
    assert fields.structured_strings('"a";x=1, "b, c", d') == ("a", "b, c")


@pytest.mark.parametrize("kept", [True, False])
def test_fields_of_a_hit(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields are the same however Werkzeug keeps them."""
    lines = [("A", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    assert _answers._KEEPS_LIST
    monkeypatch.setattr(_answers, "_KEEPS_LIST", kept)
    headers = Headers({"Content-Type": "text/html"})
    _answers.fill(headers, list(lines))
    assert headers.to_wsgi_list() == lines
    headers.add("B", "2")
    assert headers.to_wsgi_list() == [*lines, ("B", "2")]
