"""One app's state, and the page that a request makes.

Theory of operation. A page gathers links, a part of them may leave early in one 103,
and all that fit leave with the response. It goes through these stages in this order:

========= ===================================== ======================================
stage     it begins                             what happens, and where
========= ===================================== ======================================
made      with the first push, or before the    ``_page``, ``_hints``: the page is kept
          request if a 103 may be sent          by the request that makes it
gathering at once                               views and templates push, ``@hints``
                                                are resolved; :meth:`State.send_early`
                                                sends what is declared or learned
chosen    when the view has returned, before    ``_finish.choose``: links that fit and
          the app's ``after_request``           are new are added, so that a cache
          functions                             keeps them, and are remembered
complete  with the signal ``request_finished``, ``_finish.fit`` cuts the head to what
          when the session's cookie is set      proxies accept; ``_finish.learn``
========= ===================================== ======================================

A page is ``done`` once its links are chosen: a later push is logged and left out. A
103 leaves at most once, and only to a browser that navigates. Only links that every
visitor may know are learned, and a page that may be personal teaches nothing. No
failure on this way costs the page: it is logged, and the response leaves without the
hint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from flask import Request
from flask import request

from ._connector import PushTracker
from ._early import may_send
from ._header import Selection
from ._header import select
from ._learn import Learned
from ._link import Link
from ._manifest import Manifest
from ._setup import state_of
from ._static import StaticFiles
from .config import Config


#: The extension's name in ``app.extensions``.
NAME = "firehose"
logger: logging.Logger = logging.getLogger("flask_firehose")


@dataclass(slots=True)
class Page:
    """The links of the page that a request makes, by their keys.

    :param links: all of them.
    :param declared: the keys of those that need not be learned.
    :param declarations: the ``@hints`` that were resolved.
    :param lesson: under which key the page is learned from, if it is.
    :param sent: what left in the page's ``Link`` header.
    :param done: the links are chosen.
    """

    links: dict[str, Link] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    declarations: list[object] = field(default_factory=list)
    lesson: tuple[str, str, str] | None = None
    sent: Selection | None = None
    done: bool = False

    def add(self, link: Link, *, declared: bool = False) -> None:
        """Add a link, once; what the page's tag checks is repeated in its link."""
        if link.key not in self.links or link.is_checked:
            self.links[link.key] = link
        if declared:
            self.declared.add(link.key)


@dataclass(frozen=True, slots=True)
class State:
    """The state of one app, which requests look up."""

    config: Config
    connector: PushTracker | None
    learned: Learned
    static: StaticFiles
    manifest: Manifest | None

    def select(self, links: Iterable[Link], room: int | None = None) -> Selection:
        """Choose the links that fit.

        :param room: the bytes that there are, if fewer than configured.
        """
        most = self.config.max_bytes
        return select(
            tuple(links),
            max_bytes=most if room is None else min(most, room),
            max_links=self.config.max_links,
        )

    def is_fresh(self, link: Link, mount: str) -> bool:
        """Return whether browsers keep what they fetch early until the page asks."""
        return (
            not link.fetches
            or self.config.static_fresh
            or self.static.max_age(link.url, mount) != 0
        )

    def send_early(self, links: Iterable[Link]) -> bool:
        """Send one 103 if the configuration, the server and the client want it."""
        environ: dict[str, Any] = request.environ
        if not (self.config.early_hints and may_send(environ)):
            return False
        mount = environ.get("SCRIPT_NAME", "")
        early = self.select(
            link for link in links if link.early and self.is_fresh(link, mount)
        )
        if not early.links:
            return False
        # Taken away, so that no request sends two: proxies fail at many, and
        # browsers use the first.
        send = environ.pop("wsgi.early_hints")
        try:
            send([("Link", early.value)])
        except Exception:
            # A hint is never worth the page.
            logger.exception("%r: the server sent no early hints", request.path)
            return False
        return True


def get_state() -> State:
    """Return the current app's state.

    :raises SetupError: there is no current app, or no Firehose on it.
    """
    return state_of(NAME, "Firehose", State)


def current_request() -> Request:
    """Return the object behind the proxy."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found
