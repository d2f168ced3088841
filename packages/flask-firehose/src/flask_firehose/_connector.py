"""Track which links a client was sent.

Nothing is tracked unless the app asks for it. Tracking in the session has a price:
the record is written when the page is done, so of two requests of one visitor at the
same time, the one that ends last restores its session, an undone login included.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Protocol

from flask import session

from .exceptions import ConfigError


logger: logging.Logger = logging.getLogger("flask_firehose")
#: The longest record. In base 64, with its key and the signature of a session that
#: held nothing else, it lengthens a cookie by less than 1 KiB.
MAX_BYTES = 700
_SEPARATOR = re.compile("[ \n]")


class PushTracker(Protocol):
    """The methods of a connector."""

    def get_pushed(self) -> Collection[str] | None:
        """Return the URLs that the client was sent."""

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, those of before too."""


class Connector:
    """Track pushed links in the session variable ``h2-pushed``.

    :param lifetime: the seconds for which a link is not pushed again.
    :raises ConfigError: another lifetime.
    """

    variable = "h2-pushed"

    def __init__(self, *, lifetime: int = 86_400) -> None:
        if type(lifetime) is not int or lifetime < 1:
            raise ConfigError("lifetime", lifetime, "use whole seconds, 1 or more")
        self.lifetime = lifetime
        self._told = False

    def get_pushed(self) -> set[str]:
        """Return the URLs that the client was sent and that have not expired."""
        return set().union(*self._record(int(time.time())).values())

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, the latest that fit.

        :param inset: all of them, those of earlier requests too.
        """
        now = int(time.time())
        sent = {
            at: [url for url in urls if url in inset]
            for at, urls in self._record(now).items()
        }
        new = inset.difference(*sent.values())
        sent[now] = sent.get(now, []) + sorted(new)
        record = pack(sent)
        if record == session.get(self.variable, ""):
            return
        try:
            session[self.variable] = record
        except RuntimeError:
            # Without a secret key Flask's session can be read but not written.
            if not self._told:
                self._told = True
                logger.warning(
                    "pushed links are not tracked because the app has no secret key: "
                    "set SECRET_KEY, or leave out the connector"
                )

    def _record(self, now: int) -> dict[int, list[str]]:
        return unpack(session.get(self.variable), now - self.lifetime)


def unpack(record: object, oldest: int) -> dict[int, list[str]]:
    """Return the times of a record in seconds, the oldest first, with their URLs.

    A record is lines of a time and URLs, joined by spaces. What an earlier version or
    a foreign app left is ignored.
    """
    sent: dict[int, list[str]] = {}
    for line in record.split("\n") if isinstance(record, str) else ():
        seconds, *urls = line.split(" ")
        if seconds.isdecimal() and len(seconds) < 12 and int(seconds) >= oldest:
            sent.setdefault(int(seconds), []).extend(urls)
    return sent


def pack(sent: Mapping[int, Sequence[str]]) -> str:
    """Return the record of times and their URLs, the latest that fit."""
    record = "\n".join([f"{at} {' '.join(urls)}" for at, urls in sent.items() if urls])
    over = len(record) - MAX_BYTES
    if over <= 0:
        return record
    # What is left of the first line needs its time again, of 11 digits at most.
    end = _SEPARATOR.search(record, over + 11)
    if end is None:
        return ""
    rest = record[end.end() :]
    if end[0] == "\n":
        return rest
    seconds = record[record.rfind("\n", 0, end.start()) + 1 :].partition(" ")[0]
    return f"{seconds} {rest}"


def known(connector: PushTracker) -> set[str]:
    """Return the URLs that the client was sent; none if the connector fails."""
    try:
        urls = connector.get_pushed() or ()
        return urls if isinstance(urls, set) else set(urls)
    except Exception:
        logger.exception("reading the pushed URLs from the connector failed")
        return set()


def remember(connector: PushTracker, urls: set[str]) -> None:
    """Remember the URLs that the client was sent; a failure is logged."""
    try:
        connector.set_pushed(urls)
    except Exception:
        logger.exception("saving the pushed URLs with the connector failed")
