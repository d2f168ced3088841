"""The fast path: fresh hits at the WSGI layer, below Flask's contexts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from flask import Flask

from .exceptions import SetupError
from .exchange import EXCHANGE
from .exchange import Exchange
from .exchange import plain
from .rules.conditions import precondition
from .rules.entry import Entry
from .rules.policy import NO_WISHES
from .rules.policy import Use
from .rules.policy import use


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication

    from .resources import Resources


# What a 304 does not repeat (RFC 9110, section 15.4.5).
_LEFT_OUT = frozenset(
    {"content-encoding", "content-language", "content-length", "content-type"}
)


class FastPath:
    """A WSGI middleware that answers plain requests with fresh entries."""

    def __init__(self, wsgi_app: WSGIApplication, resources: Resources) -> None:
        self.wsgi_app = wsgi_app
        self.resources = resources
        self._find = self._fresh if resources.backend.local else self._search

    @classmethod
    def install(cls, app: Flask, resources: Resources) -> None:
        """Put the fast path right around the app, inside of other middleware.

        :raises SetupError: if there is other middleware already. What it decides about
            a request, and does to a response, would be passed by.
        """
        if getattr(app.wsgi_app, "__func__", None) is not type(app).wsgi_app:
            raise SetupError(
                "app.wsgi_app is already wrapped; with fast=True, call init_app before "
                "other middleware is installed, so that it stays outside."
            )
        app.wsgi_app = cls(app.wsgi_app, resources)  # type: ignore[method-assign]

    def __call__(
        self, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer from the store, or let the app do it."""
        if plain(environ):
            now = time.time()
            entry = self._find(environ, now)
            if entry is not None:
                return self._answer(entry, environ, start_response, now)
        return self.wsgi_app(environ, start_response)

    def _fresh(self, environ: dict[str, Any], now: float) -> Entry | None:
        resources = self.resources
        return resources.fresh(resources.key(environ), now)

    def _search(self, environ: dict[str, Any], now: float) -> Entry | None:
        resources = self.resources
        if resources.exempt(environ):
            return None
        exchange = Exchange.start(resources, environ)
        entry = exchange.look_ahead()
        early = now + resources.config.preemptive_recache_seconds
        if entry is not None and use(entry, early, NO_WISHES) is Use.FRESH:
            return entry
        # The handler goes on with what was found; nothing is read twice.
        environ[EXCHANGE] = exchange
        return None

    def _answer(
        self,
        entry: Entry,
        environ: dict[str, Any],
        start_response: StartResponse,
        now: float,
    ) -> Iterable[bytes]:
        resources = self.resources
        resources.counts["hit"] += 1
        status, headers, body = entry.status, list(entry.headers), [entry.body]
        method = environ["REQUEST_METHOD"]
        if (
            ("HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ)
            and status[0] == "2"
            and precondition(environ, method, entry.etag, entry.last_modified)
        ):
            status, body = "304 NOT MODIFIED", []
            headers = [line for line in headers if line[0].lower() not in _LEFT_OUT]
        headers += (
            ("Age", str(max(0, int(now - entry.born)))),
            ("Cache-Status", resources.hit_status(entry, now)),
            ("X-Cache", "hit"),
        )
        start_response(status, headers)
        return body if method == "GET" else []
