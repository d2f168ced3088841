"""Track which links a client was sent.

Nothing is tracked unless the app asks for it. Tracking in the session has a price:
the record is written when the page is done, so of two requests of one visitor at the
same time, the one that ends last restores its session, an undone login included.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from collections.abc import Mapping
from typing import Protocol

from flask import session

from .exceptions import ConfigError


logger: logging.Logger = logging.getLogger("flask_firehose")
#: The longest record. In base 64, with its key and the signature of a session that
#: held nothing else, it lengthens a cookie by less than 1 KiB.
MAX_BYTES = 700


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
        return set(self._record(int(time.time())))

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, the latest that fit.

        :param inset: all of them, those of earlier requests too.
        """
        now = int(time.time())
        before = self._record(now)
        kept = {url: before[url] for url in before if url in inset}
        record = pack(kept | dict.fromkeys(sorted(inset - kept.keys()), now))
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

    def _record(self, now: int) -> dict[str, int]:
        return unpack(session.get(self.variable), now - self.lifetime)


def unpack(record: object, oldest: int) -> dict[str, int]:
    """Return the URLs of a record with their times in seconds, the oldest first.

    A record is lines of a time and URLs, joined by spaces. What an earlier version or
    a foreign app left is ignored.
    """
    sent: dict[str, int] = {}
    for line in record.split("\n") if isinstance(record, str) else ():
        seconds, *urls = line.split(" ")
        if seconds.isdecimal() and len(seconds) < 12 and int(seconds) >= oldest:
            sent |= dict.fromkeys(urls, int(seconds))
    return sent


def pack(sent: Mapping[str, int]) -> str:
    """Return the record of URLs and their times, the latest that fit."""
    urls = list(sent)
    # Each with its separator, and a line per time.
    over = sum(map(len, urls)) + len(urls) + 12 * len({*sent.values()}) - MAX_BYTES
    first = 0
    while over > 0:
        over -= len(urls[first]) + 1
        first += 1
    kept = {url: sent[url] for url in urls[first:]}
    lines = [
        " ".join((str(at), *[url for url in kept if kept[url] == at]))
        for at in dict.fromkeys(kept.values())
    ]
    return "\n".join(lines)


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
