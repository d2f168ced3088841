"""The cache around the app: hits without Flask, and what left the app is stored.

Here the response has passed every hook of the app. It is stored as it is, and answers
here alone: a request that the store answers does not reach the app at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from ._answers import NOT_MODIFIED
from ._answers import hit
from ._cache import Cache
from ._exchange import EXCHANGE
from ._exchange import Exchange
from ._exchange import exchange_in
from ._exchange import plain
from ._rules.entry import Entry
from ._rules.entry import lean
from ._rules.things import Look
from .storage import Retrieval
from .storage import Store


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication


class FastPath:
    """A WSGI middleware that answers from the store, and stores what left the app."""

    def __init__(self, wsgi_app: WSGIApplication, cache: Cache) -> None:
        self.wsgi_app = wsgi_app
        self.cache = cache
        self.retrieval = Retrieval()
        self.store = Store()

    @classmethod
    def install(cls, app: Flask, cache: Cache) -> None:
        """Put the cache around the app and the middleware that is installed already."""
        cache.around = True
        app.wsgi_app = cls(app.wsgi_app, cache)  # type: ignore[method-assign]

    def __call__(
        self, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer from the store, or let the app do it."""
        cache = self.cache
        look: Look | None = None
        ended = cache.leads.ended
        if plain(environ) and not cache.exempt(environ):
            now = time.time()
            found = cache.stock.first(cache.key(environ), environ, now)
            if isinstance(found, Entry):
                return self._answer(found, environ, start_response, now)
            look = found
        if EXCHANGE in environ:
            outer = exchange_in(environ, cache)
            if outer is not None and outer.environ is environ:
                # Dispatched from within a request, with the same environment.
                return self.wsgi_app(environ, start_response)
        exchange = Exchange.begin(cache, environ, look, ended)
        exchange.asked = dict(environ)
        try:
            response = self.retrieval.answer(exchange)
            if response is None:
                return self._forward(exchange, start_response)
            parts: Iterable[bytes] = response(environ, start_response)
            return parts
        finally:
            exchange.release()

    def _answer(
        self,
        entry: Entry,
        environ: dict[str, Any],
        start_response: StartResponse,
        now: float,
    ) -> Iterable[bytes]:
        self.cache.events.hit()
        status, lines, body = hit(self.cache, entry, environ, now)
        if status is NOT_MODIFIED:
            lines = [*lean(entry.headers), *lines[len(entry.headers) :]]
        start_response(status, lines)
        return [body] if environ["REQUEST_METHOD"] == "GET" else []

    def _forward(
        self, exchange: Exchange, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Run the app, and store its response if it is complete."""
        started = _Started()
        parts = self.wsgi_app(exchange.environ, started)
        response = self._complete(exchange, started, parts)
        if response is not None:
            sent: Iterable[bytes] = response(exchange.environ, start_response)
            return sent
        # Not ours to touch: streamed, or no answer of the app's hooks.
        exchange.restore_conditions()
        return started.replay(start_response, parts)

    def _complete(
        self, exchange: Exchange, started: _Started, parts: Iterable[bytes]
    ) -> Any:
        """Return the response to send, or None for what goes by as it is."""
        if started.status is None or started.written:
            return None
        made = self.cache.app.response_class(parts, started.status)
        made.headers = Headers(started.lines)
        for name, value in exchange.lines:
            made.headers.setdefault(name, value)
        if exchange.streamed:
            made.direct_passthrough = True
        else:
            # It is a list by now, whoever made it.
            made.response = list(parts)
            if close := getattr(parts, "close", None):
                close()
        return self.store.complete(exchange, made)


class _Started:
    """The start of a response, kept until it is known what to send."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.lines: list[tuple[str, str]] = []
        self.error: Any = None
        self.written: list[bytes] = []

    def __call__(
        self, status: str, lines: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], object]:
        self.status, self.lines, self.error = status, list(lines), error
        return self.written.append

    def replay(
        self, start_response: StartResponse, parts: Iterable[bytes]
    ) -> Iterable[bytes]:
        """Send what was started, now or as soon as the app has started it."""
        if self.status is None:
            return ClosingIterator(
                self._late(start_response, parts), getattr(parts, "close", None)
            )
        write = start_response(self.status, self.lines, self.error)
        for part in self.written:
            write(part)
        return parts

    def _late(
        self, start_response: StartResponse, parts: Iterable[bytes]
    ) -> Iterable[bytes]:
        write = None
        for part in parts:
            if write is None:
                write = start_response(str(self.status), self.lines, self.error)
                for written in self.written:
                    write(written)
            yield part
        if write is None:
            start_response(str(self.status), self.lines, self.error)
