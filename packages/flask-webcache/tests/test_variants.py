"""Keys of resources, and the choice among their variants."""

from __future__ import annotations

import pytest
from werkzeug.test import create_environ

from flask_webcache._rules import keys
from flask_webcache._rules.entry import Entry
from flask_webcache._rules.entry import Metadata
from flask_webcache._rules.variants import language_key
from flask_webcache._rules.variants import selection
from flask_webcache._rules.variants import variant_keys
from flask_webcache._rules.variants import vary_names


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
    """Parts outside of the target are not in its key."""
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


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h/?q=é", "/?q=%C3%A9"),
        ("http://h/?q=a b", "/?q=a%20b"),
        ("http://h/?q=%c3%a9", "/?q=%C3%A9"),
        ("http://h/?q=%C3%A9", "/?q=%c3%a9"),
    ],
)
def test_key_of_url_as_typed(url: str, asked: str) -> None:
    """A URL as a person types it has the key of what clients send for it."""
    path, _, query = asked.partition("?")
    environ = create_environ(path, "http://h")
    environ["QUERY_STRING"] = query
    assert keys.of_url(url) == keys.of_request(environ)


def test_international_host() -> None:
    """An international name is that of its encoded form."""
    environ = create_environ("/", "http://xn--mnchen-3ya.example:8080")
    assert keys.of_url("http://münchen.example:8080/") == keys.of_request(environ)


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
        ("= de", False),
        (None, False),
    ],
)
def test_language(asked: str | None, fits: bool) -> None:
    """A stored German page fits a request that prefers German to all else."""
    names = ("accept-language", "foo")
    stored = language_key(
        "key", "salt", names, {"HTTP_ACCEPT_LANGUAGE": "de,en", "HTTP_FOO": "1"}, "DE"
    )
    environ = {} if asked is None else {"HTTP_ACCEPT_LANGUAGE": asked}
    for foo, same in (("1", True), ("2", False)):
        found = variant_keys("key", "salt", names, {**environ, "HTTP_FOO": foo})
        assert (stored in found) is (fits and same)


def test_selectors() -> None:
    """Fields, single cookies and variables of the server select, absence included."""
    names = ("accept", "cookie=a", "environ=REMOTE_USER")
    environ = {"HTTP_COOKIE": "b=2; a=1; ab=3", "REMOTE_USER": "me"}
    assert selection(names, environ) == (
        ("accept", None), ("cookie=a", "1"), ("environ=REMOTE_USER", "me")
    )  # fmt: skip
    assert selection(("cookie=a",), {"HTTP_COOKIE": "a=1; a=2"}) == (
        ("cookie=a", "1;2"),
    )
    assert selection(("cookie=c",), environ) == (("cookie=c", None),)


def test_values_are_hashed() -> None:
    """The key of a variant tells nothing of the values that select it."""
    environ = {"HTTP_AUTHORIZATION": "Bearer secret"}
    (one,) = variant_keys("key", "salt", ("authorization",), environ)
    (other,) = variant_keys("key", "pepper", ("authorization",), environ)
    assert "secret" not in one
    assert one != other


def stored(*names: str, tags: tuple[str, ...] = ()) -> Entry:
    """Return a response that these select."""
    return Entry("200 OK", (), b"", 0.0, 100.0, vary=names, tags=tags)


def test_variants_are_bounded() -> None:
    """An index lists only the latest variants, sets of selectors and tags."""
    metadata = Metadata()
    dropped: tuple[str, ...] = ()
    for number in range(4):
        metadata, dropped = metadata.adding(stored("foo"), [f"foo {number}"], 100.0, 2)
    assert (metadata.variants, dropped) == (("foo 3", "foo 2"), ("foo 1",))
    again, _ = metadata.adding(stored("foo"), ["foo 2"], 100.0, 2)
    assert again == metadata
    metadata, _ = metadata.adding(stored("bar", tags=("a", "b")), ["bar"], 100.0, 9)
    assert (metadata.vary, metadata.sets) == (("bar",), (("bar",), ("foo",)))
    for number in range(40):
        metadata, _ = metadata.adding(stored("bar", tags=(str(number),)), ["x"], 1.0, 9)
    assert len(metadata.tags) == 32
    assert metadata.tags[0] == "39"


def test_too_many_sets_are_joined() -> None:
    """With four sets of selectors in use, the next response is stored by all."""
    metadata = Metadata()
    for name in "dcba":
        assert metadata.selectors((name,)) == (name,)
        metadata, _ = metadata.adding(stored(name), [name], 100.0, 9)
    assert metadata.selectors(("b",)) == ("b",)
    assert metadata.selectors(("e",)) == ("a", "b", "c", "d", "e")
    assert metadata.selectors(()) == ()
