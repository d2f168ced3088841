"""What knows which links a client was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Collection
from typing import Protocol

from flask import session
from flask.sessions import SessionMixin

from . import _tracker


logger = logging.getLogger("flask_firehose")
# What stands behind the proxy, without the cost of going through it.
_session: Callable[[], SessionMixin] = session._get_current_object  # type: ignore[attr-defined]


class PushTracker(Protocol):
    """What knows which URLs a client was sent."""

    def get_pushed(self) -> Collection[str] | None:
        """Return the URLs that the client was sent."""

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, those of before too."""


class Connector:
    """Track pushed links in the session variable ``h2-pushed``.

    :param lifetime: the seconds for which a link is not pushed again.
    """

    variable = "h2-pushed"

    def __init__(self, *, lifetime: int = 86_400) -> None:
        self.lifetime = lifetime
        self._told = False

    def get_pushed(self) -> set[str]:
        """Return the URLs that the client was sent and that have not expired."""
        record = _session().get(self.variable)
        if not record:
            return set()
        sent = _tracker.unpack(record, int(time.time()) - self.lifetime)
        return set().union(*sent.values())

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, the latest that fit.

        :param inset: all of them, those of earlier requests too.
        """
        now = int(time.time())
        values = _session()
        before = values.get(self.variable, "")
        sent = _tracker.unpack(before, now - self.lifetime)
        record = _tracker.pack(_tracker.replaced(sent, inset, now))
        if record == before:
            return
        try:
            values[self.variable] = record
        except RuntimeError:
            # Without a secret key Flask's session can be read but not written.
            if not self._told:
                self._told = True
                logger.warning(
                    "pushed links are not tracked because the app has no secret key: "
                    "set SECRET_KEY, or turn tracking off with connector=None"
                )


def known(connector: PushTracker) -> set[str]:
    """Return the URLs that the client was sent; none where that cannot be told."""
    try:
        pushed = connector.get_pushed() or ()
        return pushed if isinstance(pushed, set) else set(pushed)
    except Exception:
        logger.exception("the connector does not tell what was pushed")
        return set()


def remember(connector: PushTracker, urls: set[str]) -> None:
    """Remember the URLs that the client was sent, if that can be."""
    try:
        connector.set_pushed(urls)
    except Exception:
        logger.exception("the connector does not remember what was pushed")
