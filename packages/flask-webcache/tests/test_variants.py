"""Keys of resources, and the choice among their variants."""

from __future__ import annotations

import pytest
from werkzeug.test import create_environ

from flask_webcache.rules import keys
from flask_webcache.rules.entry import Metadata
from flask_webcache.rules.entry import Variant
from flask_webcache.rules.variants import matches
from flask_webcache.rules.variants import selection
from flask_webcache.rules.variants import vary_names


def key(url: str, **options: object) -> str:
    """Return the key of a GET."""
    path, _, query = url.removeprefix("http://h").partition("?")
    environ = create_environ(path, "http://h", query_string=query)
    environ.update(options)
    return keys.of_request(environ)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"wsgi.url_scheme": "https"}),
        ({}, {"HTTP_HOST": "evil.example"}),
        ({}, {"HTTP_HOST": "h:81"}),
        ({"PATH_INFO": "/a?b"}, {"PATH_INFO": "/a", "QUERY_STRING": "b"}),
        ({"PATH_INFO": "/a b"}, {"PATH_INFO": "/a", "QUERY_STRING": "b"}),
        ({"PATH_INFO": "/a 1 b 0 "}, {"PATH_INFO": "/a", "QUERY_STRING": "b 0 "}),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/b"}, {"PATH_INFO": "/b"}),
        ({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}, {"PATH_INFO": "/a/b"}),
        (
            {"PATH_INFO": "/a%2Fb", "REQUEST_URI": "/a%252Fb"},
            {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"},
        ),
        ({"HTTP_HOST": "h 1 /"}, {"HTTP_HOST": "h", "PATH_INFO": "/ /"}),
    ],
)
def test_keys_differ(one: dict[str, str], other: dict[str, str]) -> None:
    """No two targets share a key, whatever they hold."""
    assert key("/", **one) != key("/", **other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"HTTP_HOST": "H:80"}, {}),
        ({"HTTP_X_FORWARDED_HOST": "evil.example"}, {}),
        ({"HTTP_COOKIE": "a=b"}, {}),
        (
            {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2fb"},
            {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb?"},
        ),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/b"}, {"PATH_INFO": "/a/b"}),
    ],
)
def test_keys_same(one: dict[str, str], other: dict[str, str]) -> None:
    """What is no part of the target is no part of its key."""
    assert key("/", **one) == key("/", **other)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/",
        "http://h/a?b=c",
        "http://h/caf%C3%A9?x=%C3%A9",
        "http://h/a%2Fb/c%20d",
    ],
)
def test_key_of_url(url: str) -> None:
    """A URL has the key of a request for it."""
    path, _, query = url.removeprefix("http://h").partition("?")
    environ = create_environ(path, "http://h", query_string=query)
    environ["REQUEST_URI"] = url.removeprefix("http://h")
    assert keys.of_url(url) == keys.of_request(environ)
    assert keys.of_url(url.replace("//h", "//user:word@H:80")) == keys.of_url(url)


def test_key_without_host() -> None:
    """A request without Host is for the server's own name."""
    environ = create_environ("/", "http://h:8080")
    del environ["HTTP_HOST"]
    assert keys.of_request(environ) == keys.of_url("http://h:8080/")


def test_query() -> None:
    """Parameters can be ignored by pattern, and ordered by name alone."""
    query = "b=2&utm_source=x&a=1&b=1&utm%5Fmedium=y&gclid"
    assert keys.normal_query(query, ("utm_*", "gclid"), ordered=True) == "a=1&b=2&b=1"
    one, other = create_environ("/?b&a&utm_x"), create_environ("/?a&b")
    assert keys.of_request(one, ("utm_*",), True) == keys.of_request(
        other, ("utm_*",), True
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("", ()),
        ("Foo, bar", ("bar", "foo")),
        ("*", None),
        ("*, *", None),
        (", *", None),
        ("Foo, *", None),
        ("foo, FOO", ("foo",)),
    ],
)
def test_vary_names(value: str | None, expected: tuple[str, ...] | None) -> None:
    """A star anywhere means that nothing selects."""
    assert vary_names(value) == expected


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("foo", "1, 2", " 1,2 ", True),
        ("foo", '"a, b"', '"a,b"', False),
        ("foo", "1", "2", False),
        ("foo", "", None, False),
        ("accept-language", "en, de", "DE , en", True),
        ("accept-language", "en, de", "en;q=0.5, de", False),
        ("accept-language", "en;q=1.0, de;q=0.50", "en, de; q=0.5", True),
        ("accept-language", "en;q=nonsense", "en", False),
        ("accept-encoding", "gzip, br", "br,gzip", True),
        ("content-type", "a/b", "a/c", False),
    ],
)
def test_selection(name: str, one: str | None, other: str | None, same: bool) -> None:
    """Values are compared as far as their spelling means the same."""
    wsgi = name.upper().replace("-", "_")
    wsgi = wsgi if wsgi == "CONTENT_TYPE" else f"HTTP_{wsgi}"
    made = [
        selection((name,), {} if value is None else {wsgi: value})
        for value in (one, other)
    ]
    assert (made[0] == made[1]) is same


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ("fr;q=0.5, de;q=1.0", True),
        ("de", True),
        ("fr", False),
        ("fr, de", False),
        (None, False),
    ],
)
def test_language(asked: str | None, fits: bool) -> None:
    """A stored German page fits who prefers German to all else."""
    stored = (("accept-language", "de,en"),)
    environ = {} if asked is None else {"HTTP_ACCEPT_LANGUAGE": asked}
    assert matches(stored, "de", selection(("accept-language",), environ)) is fits
    assert not matches(stored, None, selection(("accept-language",), environ))


def test_variants_are_bounded() -> None:
    """A resource has room for its latest variants, each with its own fields."""
    metadata = Metadata()
    dropped: tuple[Variant, ...] = ()
    for number in range(4):
        variant = Variant((("foo", str(number)),), None, 100.0 if number else 5.0)
        metadata, dropped = metadata.adding(variant, 10.0, 2)
    assert [one.vary[0][1] for one in metadata.variants] == ["3", "2"]
    assert [one.vary[0][1] for one in dropped] == ["1"]
    metadata, _ = metadata.adding(Variant((("bar", None),), None, 100.0), 10.0, 9)
    assert metadata.vary == ("bar",)
    assert metadata.names() == (("bar",), ("foo",))
    asked = [
        selection(names, {"HTTP_FOO": "2", "HTTP_BAR": ""})
        for names in metadata.names()
    ]
    chosen = metadata.choose(asked)
    assert chosen is not None
    assert chosen.vary == (("foo", "2"),)
