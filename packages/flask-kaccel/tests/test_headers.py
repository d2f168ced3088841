"""Header values."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from flask_kaccel._disposition import content_disposition
from flask_kaccel._headers import cache_control
from flask_kaccel._headers import content_type
from flask_kaccel._headers import expires_value
from flask_kaccel._headers import guess_mimetype
from flask_kaccel._headers import is_internal_uri


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("a.txt", "text/plain"),
        ("A.TXT", "text/plain"),
        ("a", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.txt.xz", "application/x-xz"),
        ("a.txt.Z", "application/x-compress"),
        ("a.txt.br", "application/octet-stream"),
        ("data:image,a.txt", "text/plain"),
        ("data:x.html,a.png", "image/png"),
    ],
)
def test_mimetype(name: str, mimetype: str) -> None:
    """The type is that of the bytes, whatever encoding nginx would have to name."""
    assert guess_mimetype(name) == mimetype


@pytest.mark.parametrize(
    ("mimetype", "charset", "value"),
    [
        ("text/plain", "utf-8", "text/plain; charset=utf-8"),
        ("text/plain", None, "text/plain"),
        ("image/svg+xml", "utf-8", "image/svg+xml; charset=utf-8"),
        ("application/pdf", "utf-8", "application/pdf"),
        ("text/plain; charset=x", "utf-8", "text/plain; charset=x"),
    ],
)
def test_content_type(mimetype: str, charset: str | None, value: str) -> None:
    """Only types of text have a charset."""
    assert content_type(mimetype, charset) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.txt", "attachment; filename=a.txt"),
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ('a"; x="b', 'attachment; filename="a\\"; x=\\"b"'),
        ("a%20b", "attachment; filename=a%20b; filename*=UTF-8''a%2520b"),
        ("é.txt", "attachment; filename=e.txt; filename*=UTF-8''%C3%A9.txt"),
        (
            "a\r\nX: y",
            "attachment; filename=\"aX: y\"; filename*=UTF-8''a%0D%0AX%3A%20y",
        ),
        ("caf\udce9", "attachment; filename=caf; filename*=UTF-8''caf%3F"),
        ("日", "attachment; filename=\"\"; filename*=UTF-8''%E6%97%A5"),
    ],
)
def test_content_disposition(name: str, value: str) -> None:
    """A name can neither end its parameter nor its header."""
    assert content_disposition(name, as_attachment=True) == value


@given(st.text())
def test_any_name_survives(name: str) -> None:
    """Every name makes a header that can be sent, and is read back as it was."""
    value = content_disposition(name, as_attachment=False)
    assert Headers({"Content-Disposition": value})
    assert value.isascii()
    assert parse_options_header(value)[0] == "inline"
    if not name.isascii():
        assert value.endswith(f"''{quote(name, '!#$&+-.^_`|~')}")


def test_cache_control() -> None:
    """Clients ask again, or keep the file for a time."""
    assert cache_control(None) == "no-cache"
    assert cache_control(0) == "no-cache, max-age=0"
    assert cache_control(60) == "public, max-age=60"


def test_expires_value() -> None:
    """A moment is the same in every zone, and UTC where it names none."""
    there = datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    naive = datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    assert expires_value(there) == expires_value(naive) == "@1893456000"
    assert expires_value(60) == "60"
    assert expires_value(datetime(1960, 1, 1, tzinfo=UTC)) == "@0"


@given(st.text())
def test_quoted_paths_are_internal_uris(text: str) -> None:
    """Whatever is quoted may be redirected to, but for what nginx refuses."""
    parts = text.split("/")
    refused = "\0" in text or {".", ".."} & set(parts) or text.startswith("/")
    assert is_internal_uri(f"/{quote(text)}") is not bool(refused)


def test_internal_uri_is_text() -> None:
    """Nothing but text is a URI."""
    assert not is_internal_uri(5)
