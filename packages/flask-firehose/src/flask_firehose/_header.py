"""Choose the links of one response, within what servers and proxies accept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Self

from ._link import RELATIONS
from ._link import Link


#: Enough for the endpoints of an app.
MAX_KEPT = 256
_LINK = re.compile(r"<([^>]*)>([^<]*)")
_REL = re.compile(r"""\brel\s*=\s*["']?([^"';,]*)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """The links of one ``Link`` header.

    :param links: those that are sent, the most important first.
    :param left_out: those for which there was no room.
    :param value: the header's value (RFC 8288, section 3).
    :param urls: what a browser that got it has fetched for this page.
    :param optional: some of them are for another page.
    """

    links: tuple[Link, ...]
    left_out: tuple[Link, ...]
    value: str
    urls: frozenset[str]
    optional: bool

    @classmethod
    def of(cls, links: Iterable[Link], *, max_bytes: int, max_links: int) -> Self:
        """Choose links: a response head over 4 KiB is a 502 behind nginx as it comes.

        :param max_bytes: the longest value.
        """
        unique: dict[str, Link] = {}
        for link in links:
            # The page's tag is compared with what its link says.
            if link.key not in unique or link.checked:
                unique[link.key] = link
        chosen: list[Link] = []
        left_out: list[Link] = []
        # Each link but the first comes with a separator of two bytes.
        room = max_bytes + 2
        for link in sorted(unique.values(), key=attrgetter("rank")):
            size = len(link.value) + 2
            if size <= room and len(chosen) < max_links:
                chosen.append(link)
                room -= size
            else:
                left_out.append(link)
        return cls(
            tuple(chosen),
            tuple(left_out),
            serialize(chosen),
            urls=frozenset(link.url for link in chosen if link.fetches),
            optional=any(link.optional for link in chosen),
        )


class Selections(dict[tuple[object, ...], Selection]):
    """The choices made so far: the pages of an endpoint push the same over and over."""

    def of(
        self, links: Mapping[str, Link], max_bytes: int, max_links: int
    ) -> Selection:
        """Return the choice, made once for links of the same text.

        :param links: by their text.
        """
        key = (max_bytes, max_links, *links)
        found = self.get(key)
        if found is None:
            if len(self) >= MAX_KEPT:
                self.clear()
            found = Selection.of(
                links.values(), max_bytes=max_bytes, max_links=max_links
            )
            self[key] = found
        return found


def head_size(headers: Iterable[tuple[str, str]]) -> int:
    """Return the bytes of the fields of a response's head."""
    return sum([len(name) + len(value) + 4 for name, value in headers])


def serialize(links: Iterable[Link]) -> str:
    """Return the value of a ``Link`` header."""
    return ", ".join(map(str, links))


def hinted(values: Iterable[str]) -> set[str]:
    """Return the URLs that existing ``Link`` headers already hint at."""
    return {
        url
        for value in values
        for url, parameters in _LINK.findall(value)
        if (rel := _REL.search(parameters))
        and not set(RELATIONS).isdisjoint(rel[1].lower().split())
    }
