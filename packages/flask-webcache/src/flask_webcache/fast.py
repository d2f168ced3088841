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
from .resources import NOT_MODIFIED
from .rules.entry import Entry
from .rules.entry import lean
from .rules.policy import NO_WISHES
from .rules.policy import Use
from .rules.policy import use


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication

    from .resources import Resources


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
        item: Entry = resources.backend.peek(resources.key(environ))
        return item if resources.fresh(item, now) else None

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
        status, headers, body = self.resources.hit(entry, environ, now)
        if status is NOT_MODIFIED:
            headers = [*lean(entry.headers), *headers[len(entry.headers) :]]
        start_response(status, headers)
        return [body] if environ["REQUEST_METHOD"] == "GET" else []
