"""The links of one response."""

from __future__ import annotations

import pytest

from flask_firehose import Link
from flask_firehose.header import choose
from flask_firehose.header import hinted
from flask_firehose.header import serialize


STYLE, FONT, SCRIPT, IMAGE = map(Link.make, ("/a.css", "/a.woff2", "/a.js", "/a.png"))


def test_order() -> None:
    """The most important go first, those of one kind in the order of the page."""
    second = Link.make("/b.css")
    chosen, left_out = choose(
        [IMAGE, SCRIPT, STYLE, FONT, second], max_bytes=1024, max_links=20
    )
    assert chosen == [STYLE, second, FONT, SCRIPT, IMAGE]
    assert left_out == []


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 2), (3, 3), (9, 4)])
def test_count(count: int, kept: int) -> None:
    """No more links than the limit, the least important left out."""
    chosen, left_out = choose(
        [IMAGE, SCRIPT, STYLE, FONT], max_bytes=1024, max_links=count
    )
    assert chosen == [STYLE, FONT, SCRIPT, IMAGE][:kept]
    assert len(chosen) + len(left_out) == 4


def test_bytes() -> None:
    """The header is never longer than the budget, and fills it."""
    long = Link.make("/" + "a" * 80 + ".css")
    exact = len(serialize([STYLE, SCRIPT]))
    assert choose([STYLE, long, SCRIPT], max_bytes=exact, max_links=9) == (
        [STYLE, SCRIPT],
        [long],
    )
    assert choose([STYLE, SCRIPT], max_bytes=exact - 1, max_links=9)[0] == [STYLE]
    assert choose([STYLE], max_bytes=-5, max_links=9) == ([], [STYLE])


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
