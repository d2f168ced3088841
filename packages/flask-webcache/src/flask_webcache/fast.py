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


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication

    from .resources import Resources


class FastPath:
    """A WSGI middleware that answers plain requests with fresh entries."""

    def __init__(self, wsgi_app: WSGIApplication, resources: Resources) -> None:
        self.wsgi_app = wsgi_app
        self.resources = resources

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
        resources = self.resources
        if plain(environ) and not resources.exempt(environ):
            key, now = resources.key(environ), time.time()
            found = resources.first_look(key, environ, now)
            if isinstance(found, Entry):
                return self._answer(found, environ, start_response, now)
            # The handler goes on with what was found; nothing is read twice.
            exchange = Exchange.after(found, resources, environ, key, now)
            environ[EXCHANGE] = exchange
        return self.wsgi_app(environ, start_response)

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
