"""When a 103 Early Hints may be sent (RFC 8297), and what pages teach to send."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from ._link import Link


#: Where a view keeps what it declares.
ATTRIBUTE = "_flask_firehose"
#: Enough for the endpoints of an app; a flood of made-up hosts stops here.
MAX_PAGES = 256


def may_send(environ: Mapping[str, Any]) -> bool:
    """Tell whether the client waits for a page and can be sent a 103.

    RFC 9110, section 15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0
    client". And only a navigation has use for one.
    """
    return (
        "wsgi.early_hints" in environ
        and environ["REQUEST_METHOD"] == "GET"
        and environ.get("SERVER_PROTOCOL", "HTTP/1.0") not in {"HTTP/0.9", "HTTP/1.0"}
        and environ.get("HTTP_SEC_FETCH_MODE", "navigate") == "navigate"
    )


def is_shared(cache_control: Sequence[str]) -> bool:
    """Tell whether caches may keep a response for everyone (RFC 9111, section 3)."""
    directives = ",".join(cache_control).lower()
    return any(name in directives for name in ("public", "s-maxage", "max-age")) and (
        "private" not in directives and "no-store" not in directives
    )


def is_personal(environ: Mapping[str, Any], cache_control: Sequence[str]) -> bool:
    """Tell whether a page may have been made for one user.

    A request without cookies and credentials comes from nobody in particular.
    """
    directives = ",".join(cache_control).lower()
    return (
        "HTTP_COOKIE" in environ
        or "HTTP_AUTHORIZATION" in environ
        or "REMOTE_USER" in environ
        or "private" in directives
        or "no-store" in directives
    )


def declared(view: object) -> tuple[Link, ...]:
    """Return the links that a view's ``@hints`` declare."""
    links: tuple[Link, ...] = getattr(view, ATTRIBUTE, ())
    return links


class Learned:
    """What the last good page of each endpoint pushed, for the next visitor.

    :param prefixes: where links start that are the same for every user.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._prefixes = tuple(prefixes)
        self._pages: dict[object, tuple[Link, ...]] = {}
        self._lock = threading.Lock()

    def get(self, page: object) -> tuple[Link, ...]:
        """Return the links to send ahead of a page."""
        return self._pages.get(page, ())

    def learn(
        self,
        page: object,
        links: Iterable[Link],
        static: tuple[str, ...],
        *,
        personal: bool,
    ) -> None:
        """Keep what a page pushed, and forget what it no longer pushes.

        :param static: where the app's own static files start.
        :param personal: the page may have been made for one user, so that nothing
            new is learned from it but what the prefixes allow.
        """
        known = self.get(page)
        links = tuple(
            link
            for link in links
            if link.early and not link.personal
            if f"{link.url}/" in self._prefixes
            or link.url.startswith(self._prefixes)
            or (link.url.startswith(static) and (link in known or not personal))
        )
        if links == known:
            return
        with self._lock:
            self._pages.pop(page, None)
            if links:
                self._pages[page] = links
            if len(self._pages) > MAX_PAGES:
                del self._pages[next(iter(self._pages))]
