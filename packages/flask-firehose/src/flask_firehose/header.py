"""Choose the links of one response, within what servers and proxies accept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import attrgetter

from flask_firehose.link import RELATIONS
from flask_firehose.link import Link


_LINK = re.compile(r"<([^>]*)>([^<]*)")
_REL = re.compile(r"""\brel\s*=\s*["']?([^"';,]*)""", re.IGNORECASE)
_by_importance = attrgetter("rank")
_value = attrgetter("value")


def choose(
    links: Iterable[Link], *, max_bytes: int, max_links: int
) -> tuple[list[Link], list[Link]]:
    """Return the links to send, the most important first, and those left out.

    A response head over 4 KiB is a 502 behind nginx as it comes.

    :param max_bytes: the longest header value.
    """
    ordered = sorted(links, key=_by_importance)
    if len(ordered) <= max_links and len(serialize(ordered)) <= max_bytes:
        return ordered, []
    chosen: list[Link] = []
    left_out: list[Link] = []
    # Each link but the first comes with a separator of two bytes.
    room = max_bytes + 2
    for link in ordered:
        size = len(link.value) + 2
        if size <= room and len(chosen) < max_links:
            chosen.append(link)
            room -= size
        else:
            left_out.append(link)
    return chosen, left_out


def serialize(links: Iterable[Link]) -> str:
    """Return the value of one ``Link`` header (RFC 8288, section 3)."""
    return ", ".join(map(_value, links))


def hinted(values: Iterable[str]) -> set[str]:
    """Return the URLs that existing ``Link`` headers already hint at."""
    return {
        url
        for value in values
        for url, parameters in _LINK.findall(value)
        if (rel := _REL.search(parameters))
        and not set(RELATIONS).isdisjoint(rel[1].lower().split())
    }
