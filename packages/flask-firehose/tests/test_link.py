"""One link: what it accepts, how it is written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_firehose import Link
from flask_firehose import LinkError


URLS = {
    "path": ("/a.css", "/a.css"),
    "space": ("/a b.css", "/a%20b.css"),
    "utf-8": ("/é/文.css", "/%C3%A9/%E6%96%87.css"),
    "encoded already": ("/a%20b%C3%A9.css", "/a%20b%C3%A9.css"),
    "percent alone": ("/100%.css", "/100%25.css"),
    "comma": ("/a,b.css", "/a,b.css"),
    "semicolon": ("/a;b.css", "/a;b.css"),
    "quote": ('/a"b.css', "/a%22b.css"),
    "backslash": ("/a\\b.css", "/a%5Cb.css"),
    "query": ("/a.css?v=1&w=é", "/a.css?v=1&w=%C3%A9"),
    "fragment": ("/a.css#f", "/a.css"),
    "https": ("https://cdn.example/a.css", "https://cdn.example/a.css"),
    "upper-case scheme": ("HTTPS://CDN.example/a.css", "https://CDN.example/a.css"),
    "port": ("http://localhost:8080/a.css", "http://localhost:8080/a.css"),
    "ipv6": ("http://[::1]:80/a.css", "http://[::1]:80/a.css"),
    "international host": (
        "https://bücher.example/a",
        "https://xn--bcher-kva.example/a",
    ),
    "origin": ("https://cdn.example", "https://cdn.example"),
}


@pytest.mark.parametrize(("url", "target"), URLS.values(), ids=URLS)
def test_url(url: str, target: str) -> None:
    """A URL is percent-encoded once and keeps its meaning."""
    assert Link.make(url).url == target


REFUSED_URLS: dict[str, tuple[Any, str]] = {
    "angle bracket": ("/x>; rel=preload, </static/b.js", "leave out"),
    "line break": ("/a\r\nSet-Cookie: a=b", "leave out"),
    "null": ("/a\0", "leave out"),
    "tab": ("/\t/evil.example", "leave out"),
    "surrogate": ("/\ud800", "surrogates"),
    "javascript": ("javascript:alert(1)", "start it"),
    "data": ("data:text/css,a", "start it"),
    "network path": ("//evil.example/a.css", "start it"),
    "network path by backslash": ("/\\evil.example/a.css", "start it"),
    "relative": ("a.css", "start it"),
    "dot relative": ("./a.css", "start it"),
    "empty": ("", "start it"),
    "user": ("https://me:pw@cdn.example/a.css", "host name"),
    "no host": ("https:///a.css", "host name"),
    "space in host": ("https://a b/", "host name"),
    "host too long": (f"https://{'é' * 70}.example/", "host name"),
    "too long": ("/" + "a" * 5000, "4096"),
    "none": (None, "string"),
    "number": (5, "string"),
}


@pytest.mark.parametrize(("url", "remedy"), REFUSED_URLS.values(), ids=REFUSED_URLS)
def test_refused_url(url: Any, remedy: str) -> None:
    """A URL that would harm the page, or that no one acts on, is refused."""
    with pytest.raises(LinkError, match=remedy):
        Link.make(url)


INFERRED = {
    "style": ("/a.css", "rel=preload; as=style"),
    "upper-case extension": ("/A.CSS", "rel=preload; as=style"),
    "script": ("/a.js", "rel=preload; as=script"),
    "module": ("/a.mjs", "rel=preload; as=script; crossorigin"),
    "font": ("/a.woff2", 'rel=preload; as=font; type="font/woff2"; crossorigin'),
    "image": ("/a.png", "rel=preload; as=image"),
    "new image": ("/a.avif", 'rel=preload; as=image; type="image/avif"'),
    "data": ("/a.json", "rel=preload; as=fetch; crossorigin"),
    "query": ("/a.css?v=1.js", "rel=preload; as=style"),
    "unknown": ("/a.xyz", "rel=preload"),
    "no extension": ("/css", "rel=preload"),
    "extension of a folder": ("/a.css/b", "rel=preload"),
}


@pytest.mark.parametrize(("url", "parameters"), INFERRED.values(), ids=INFERRED)
def test_inferred(url: str, parameters: str) -> None:
    """Attributes that follow from the file's name need no argument."""
    assert Link.make(url).value == f"<{url}>; {parameters}"


GIVEN: dict[str, tuple[dict[str, Any], str]] = {
    "as": ({"as": "font"}, "rel=preload; as=font; crossorigin"),
    "as_": ({"as_": "style"}, "rel=preload; as=style"),
    "rel": ({"rel": "prefetch"}, "rel=prefetch"),
    "two rels": ({"rel": "Preload prefetch"}, 'rel="preload prefetch"'),
    "modulepreload": ({"rel": "modulepreload"}, "rel=modulepreload; crossorigin"),
    "preconnect": ({"rel": "preconnect"}, "rel=preconnect"),
    "upper case": ({"as": "STYLE"}, "rel=preload; as=style"),
    "flag": ({"nopush": True}, "rel=preload; nopush"),
    "flag off": ({"nopush": False}, "rel=preload"),
    "not given": ({"nopush": None, "as_": None, "rel": None}, "rel=preload"),
    "anonymous": ({"crossorigin": "anonymous"}, "rel=preload; crossorigin"),
    "crossorigin in html": ({"crossorigin": ""}, "rel=preload; crossorigin"),
    "credentials": (
        {"crossorigin": "use-credentials"}, "rel=preload; crossorigin=use-credentials",
    ),
    "inference undone": ({"as": "font", "crossorigin": False}, "rel=preload; as=font"),
    "priority": ({"fetchpriority": "high"}, "rel=preload; fetchpriority=high"),
    "integrity": ({"integrity": "sha256-a+/="}, 'rel=preload; integrity="sha256-a+/="'),
    "media": (
        {"media": "(max-width: 600px)"}, 'rel=preload; media="(max-width: 600px)"',
    ),
    "image set": (
        {"imagesrcset": "a.png 1x, b.png 2x", "imagesizes": "50vw"},
        'rel=preload; imagesrcset="a.png 1x, b.png 2x"; imagesizes=50vw',
    ),
    "nonce": ({"nonce": "r4nd0m"}, "rel=preload; nonce=r4nd0m"),
    "type": ({"type": "text/css"}, 'rel=preload; type="text/css"'),
}  # fmt: skip


@pytest.mark.parametrize(("attributes", "parameters"), GIVEN.values(), ids=GIVEN)
def test_given(attributes: dict[str, Any], parameters: str) -> None:
    """Attributes are written as tokens or quoted, in one order."""
    assert str(Link.make("/a", **attributes)) == f"</a>; {parameters}"


def test_positional_flag() -> None:
    """A flag can be given without a value."""
    assert Link.make("/a", "nopush").attributes == (("nopush", None),)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "line break": ({"media": "a\r\nX: b"}, "printable ASCII"),
    "quote": ({"media": 'a"; rel=x'}, "printable ASCII"),
    "backslash": ({"media": "a\\"}, "printable ASCII"),
    "second link": ({"imagesrcset": "a 1x, </evil>; rel=preload"}, "printable ASCII"),
    "not ascii": ({"imagesrcset": "é.png 1x"}, "printable ASCII"),
    "not a string": ({"integrity": 5}, "printable ASCII"),
    "unknown as": ({"as": "stylesheet"}, "use audio, "),
    "unknown priority": ({"fetchpriority": "urgent"}, "use high, low, auto"),
    "unknown crossorigin": ({"crossorigin": "yes"}, "use anonymous"),
    "flag with a value": ({"nopush": "no"}, "use True or False"),
    "unknown attribute": ({"colour": "red"}, "unknown attribute; use one of rel, as"),
    "unknown rel": ({"rel": "stylesheet"}, "use preload, "),
    "empty rel": ({"rel": ""}, "use preload, "),
    "no rel": ({"rel": False}, "use preload, "),
}


@pytest.mark.parametrize(("attributes", "remedy"), REFUSED.values(), ids=REFUSED)
def test_refused(attributes: dict[str, Any], remedy: str) -> None:
    """An attribute that would break the header, or that means nothing, is refused."""
    with pytest.raises(LinkError, match=remedy) as caught:
        Link.make("/a", **attributes)
    name, value = next(iter(attributes.items()))
    assert (caught.value.name, caught.value.value) == (name, value)


def test_error_data() -> None:
    """The error says what is wrong and what to do, and carries both."""
    with pytest.raises(
        LinkError, match=r"^url is 'a': start it with one '/'"
    ) as caught:
        Link.make("a")
    assert caught.value.remedy.startswith("start it")


KINDS: dict[str, tuple[str, dict[str, Any], int, bool, bool]] = {
    "style": ("/a.css", {}, 0, True, True),
    "font": ("/a.woff2", {}, 1, True, True),
    "script": ("/a.js", {}, 2, True, True),
    "module": ("/a.js", {"rel": "modulepreload"}, 2, True, True),
    "image": ("/a.png", {}, 3, True, True),
    "preload of what": ("/a", {}, 3, True, False),
    "preconnect": ("https://a.example", {"rel": "preconnect"}, 3, False, True),
    "dns": ("https://a.example", {"rel": "dns-prefetch"}, 5, False, False),
    "prefetch": ("/a.css", {"rel": "prefetch"}, 5, False, False),
    "video": ("/a.mp4", {"as_": "video"}, 3, True, False),
    "video by name": ("/a.mp4", {}, 3, True, False),
    "high": ("/a.png", {"fetchpriority": "high"}, 0, True, True),
    "low": ("/a.css", {"fetchpriority": "low"}, 5, True, True),
    "quoted comma": ("/a.png", {"imagesrcset": "a 1x, b 2x"}, 9, True, True),
}


@pytest.mark.parametrize(
    ("url", "attributes", "rank", "fetches", "early"), KINDS.values(), ids=KINDS
)
def test_kind(
    url: str, attributes: dict[str, Any], rank: int, fetches: bool, early: bool
) -> None:
    """A link knows how important it is, and whether a 103 can carry it."""
    link = Link.make(url, **attributes)
    assert (link.rank, link.fetches, link.early) == (rank, fetches, early)


HEADER = re.compile(
    r"<(/|https?://)[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]*>; rel=preload"
    r"(; [a-z]+(=([A-Za-z0-9._+-]+|\"[ !#-;=?-\[\]-~]+\"))?)*"
)


@given(url=st.text() | st.text().map("/".__add__) | st.text().map("https://".__add__),
       media=st.none() | st.text())  # fmt: skip
def test_any_text(url: str, media: str | None) -> None:
    """Whatever the text, the link is refused or is one link in one header."""
    try:
        link = Link.make(url, media=media)
    except LinkError:
        return
    assert HEADER.fullmatch(link.value)
    assert Link.make(link.url).url == link.url
