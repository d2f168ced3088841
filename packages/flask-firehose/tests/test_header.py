"""The links of one response."""

from __future__ import annotations

import pytest

from flask_firehose import Link
from flask_firehose._header import Selection
from flask_firehose._header import hinted
from flask_firehose._header import serialize


STYLE, FONT, SCRIPT, IMAGE = map(Link.make, ("/a.css", "/a.woff2", "/a.js", "/a.png"))


def choose(
    links: list[Link], *, max_bytes: int = 1024, max_links: int = 20
) -> tuple[list[Link], list[Link]]:
    """Return what is sent and what is left out."""
    selection = Selection.of(links, max_bytes=max_bytes, max_links=max_links)
    assert selection.value == serialize(selection.links)
    return list(selection.links), list(selection.left_out)


def test_order() -> None:
    """The most important go first, those of one kind in the order of the page."""
    second = Link.make("/b.css")
    assert choose([IMAGE, SCRIPT, STYLE, FONT, second]) == (
        [STYLE, second, FONT, SCRIPT, IMAGE],
        [],
    )


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 2), (3, 3), (9, 4)])
def test_count(count: int, kept: int) -> None:
    """No more links than the limit, the least important left out."""
    chosen, left_out = choose([IMAGE, SCRIPT, STYLE, FONT], max_links=count)
    assert chosen == [STYLE, FONT, SCRIPT, IMAGE][:kept]
    assert len(chosen) + len(left_out) == 4


def test_bytes() -> None:
    """The header is never longer than the budget, and fills it."""
    long = Link.make("/" + "a" * 80 + ".css")
    exact = len(serialize([STYLE, SCRIPT]))
    assert choose([STYLE, long, SCRIPT], max_bytes=exact) == ([STYLE, SCRIPT], [long])
    assert choose([STYLE, SCRIPT], max_bytes=exact - 1) == ([STYLE], [SCRIPT])
    assert choose([STYLE], max_bytes=-5) == ([], [STYLE])


def test_urls() -> None:
    """The browser has the files that it fetched."""
    origin = Link.make("https://cdn.example", rel="preconnect")
    selection = Selection.of([STYLE, SCRIPT, origin], max_bytes=999, max_links=9)
    assert selection.urls == {"/a.css", "/a.js"}
    assert origin in selection.links


HEADERS = {
    "preload": ("</a.css>; rel=preload; as=style", {"/a.css"}),
    "quoted": ('</a.css>; rel="next preload"', {"/a.css"}),
    "single quotes": ("</a.css>; rel='preload'", {"/a.css"}),
    "upper case": ("</a.css>; REL=Preload", {"/a.css"}),
    "two": ("</a>; rel=preload, </b>; rel=preconnect", {"/a", "/b"}),
    "other relations": ("</a>; rel=next, <https://a.example/>; rel=canonical", set()),
    "no relation": ("</a>", set()),
    "not a link": ("nonsense", set()),
    "not the rel": ('</a>; title="a rel=b"; rel=next', set()),
}


@pytest.mark.parametrize(("value", "urls"), HEADERS.values(), ids=HEADERS)
def test_hinted(value: str, urls: set[str]) -> None:
    """The hints of existing headers are found among other links."""
    assert hinted([value]) == urls
