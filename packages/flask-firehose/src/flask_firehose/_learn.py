"""Learn what every page of an endpoint pushes, and nothing else.

A learned link is sent to visitors whose page has not been made yet. It must not tell
them anything about another visitor, and nobody may choose it for them. So:

* Only what all of the last pages pushed is published: one page that lacks a link
  takes it away, and only :data:`WINDOW` pages that all have it bring it back.
* These pages differ. No two come from one visitor, and no two from one path if the
  endpoint has arguments. Each argument and each query parameter has had at least two
  values, so that what depends on one of them is in no intersection.
* Personal pages publish nothing; they only take away.
* Hosts and mount points learn apart. Floods of made-up ones push out only what has
  not been published yet.

Which links may be learned at all is decided by the caller: files that exist in a
static folder, or URLs that the configuration allows.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from ._link import Link


#: The different pages that must have pushed a link. In simulations with links that
#: depend on users, teams and secrets, four leaked now and then and six never did.
WINDOW = 8
#: Enough for the endpoints of an app.
MAX_LESSONS = 256
#: A page with more parameters than any form has teaches nothing.
MAX_ARGUMENTS = 20

Links = Mapping[str, Link]


@dataclass(frozen=True, slots=True)
class Visit:
    """The properties that distinguish a page from others of its endpoint.

    :param visitor: who asked for it.
    :param path: where, if the endpoint has arguments.
    :param arguments: those of the endpoint and of the query.
    """

    visitor: int
    path: int | None
    arguments: Mapping[str, int]

    def differs(self, other: Visit) -> bool:
        """Return whether both count."""
        return self.visitor != other.visitor and (
            self.path is None or self.path != other.path
        )


@dataclass(slots=True)
class _Lesson:
    published: Links = field(default_factory=dict)
    candidates: Links | None = None
    visits: list[Visit] = field(default_factory=list)

    def take(self, links: Links, visit: Visit) -> None:
        """Add a page to the window."""
        before = links if self.candidates is None else self.candidates
        self.candidates = _common(before, links)
        if all(map(visit.differs, self.visits)):
            self.visits.append(visit)
        if len(self.visits) == WINDOW and _varied(self.visits):
            self.published = self.candidates
        elif self.candidates:
            # Go on, until each argument has varied.
            del self.visits[: -WINDOW + 1]
            return
        self.candidates, self.visits = None, []


def _common(links: Links, others: Links) -> Links:
    return {key: links[key] for key in links if others.get(key) == links[key]}


def _varied(visits: list[Visit]) -> bool:
    """Return whether each argument, or its absence, has had two values."""
    names = {name for visit in visits for name in visit.arguments}
    return all(
        len({visit.arguments.get(name) for visit in visits}) > 1 for name in names
    )


class Learned:
    """The links that all pages of each endpoint push."""

    def __init__(self) -> None:
        self._lessons: dict[Hashable, _Lesson] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Links:
        """Return the links to send ahead of a page."""
        lesson = self._lessons.get(key)
        return lesson.published if lesson else {}

    def learn(self, key: Hashable, links: Links, visit: Visit | None) -> None:
        """Take note of a page.

        :param links: what it pushed and others may be sent.
        :param visit: None if the page is personal.
        """
        with self._lock:
            lesson = self._lessons.get(key)
            if lesson is not None:
                lesson.published = _common(lesson.published, links)
            if visit is None or len(visit.arguments) > MAX_ARGUMENTS:
                return
            if lesson is None:
                if not links or not self._has_room():
                    return
                lesson = self._lessons[key] = _Lesson()
            lesson.take(links, visit)

    def _has_room(self) -> bool:
        """Make room for one more; return whether there is any."""
        if len(self._lessons) < MAX_LESSONS:
            return True
        for key, lesson in self._lessons.items():
            if not lesson.published:
                del self._lessons[key]
                return True
        return False
