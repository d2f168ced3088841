"""The two handlers: requests on their way in, responses on their way out.

Every hook of the extension is registered here. ``request_started`` comes before any
hook of the app: there the store is looked into, and the recording of a request that it
does not answer begins. :mod:`flask_webcache._exchange` has the theory.
"""

from __future__ import annotations

import time
from abc import ABC
from abc import abstractmethod
from typing import TYPE_CHECKING
from typing import Any

from cachelib.base import BaseCache
from flask import Flask
from flask import Request
from flask import Response
from flask import request
from flask import request_finished
from flask import request_started

from ._answers import hit
from ._answers import ready
from ._cli import equip
from ._exchange import EXCHANGE
from ._exchange import Exchange
from ._exchange import State as ExchangeState
from ._exchange import exchange_in
from ._exchange import plain
from ._reads import watch
from ._rules.entry import Entry
from ._state import Role
from ._state import State
from ._state import given_role
from ._state import state_in
from .storage import Retrieval
from .storage import Store


if TYPE_CHECKING:
    from ._cache import Cache
    from .config import Config


__all__ = ["RequestHandler", "ResponseHandler"]

#: Where a request object holds the entry that answers it.
_HIT = "flask_webcache.hit"
#: Where it holds what was sent from the store; None if nothing can have changed it.
_SENT = "flask_webcache.sent"
Sent = tuple[str, list[tuple[str, str]], bytes]


class _Handler(ABC):
    """A cache and configuration, until an app is known.

    :param cache: a cachelib cache; the one that ``WEBCACHE_URL`` names if it is None.
    :param app: the app, or None to call :meth:`init_app` later.
    :param config: the configuration; the app's own ``WEBCACHE_*`` if it is None.
    """

    role: Role

    def __init__(
        self,
        cache: BaseCache | None = None,
        app: Flask | None = None,
        config: Config | None = None,
    ) -> None:
        self.cache = cache
        self.config = config
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the app up.

        :raises SetupError: if such a handler is installed already.
        :raises ConfigError: for a value that cannot work.
        """
        state = set_up(app, self.cache, self.config, self.role)
        self.install(app, state.cache)

    @abstractmethod
    def install(self, app: Flask, cache: Cache) -> None:
        """Register the hooks."""


class RequestHandler(_Handler, Retrieval):
    """Answers requests from the store, before the views and the hooks after it."""

    role: Role = "requests"

    def install(self, app: Flask, cache: Cache) -> None:
        """Register the hooks."""

        @app.before_request
        def answer_from_store() -> Response | None:
            return self.handle_request(cache, _current())

    def handle_request(self, cache: Cache, asking: Request) -> Response | None:
        """Return the stored response to a request, if one may be used."""
        kept = asking.__dict__
        entry: Entry | None = kept.pop(_HIT, None)
        if not self.may_answer(asking.environ):
            _exchange(cache, asking).bypass()
        elif entry is not None:
            cache.events.hit()
            return _send(cache, asking, hit(cache, entry, asking.environ, time.time()))
        else:
            exchange: Exchange = kept.get(EXCHANGE) or _exchange(cache, asking)
            if exchange.state is not ExchangeState.LOOKED:
                return None
            response = self.answer(exchange)
            if response is not None:
                lines = response.headers.to_wsgi_list()
                return _send(cache, asking, (response.status, lines, response.data))
        return None


class ResponseHandler(_Handler, Store):
    """Stores responses, after the views and the hooks registered later than it."""

    role: Role = "responses"

    def install(self, app: Flask, cache: Cache) -> None:
        """Register the hooks."""

        @app.after_request
        def store_response(response: Response) -> Response:
            return self.handle_response(cache, _current(), response)

        state_in(app).hooks.append(store_response)

    def handle_response(
        self, cache: Cache, asking: Request, response: Response
    ) -> Response:
        """Store a response and return the one to send."""
        kept = asking.__dict__
        if _SENT in kept:
            # Hooks that are registered later did their work before it was stored.
            sent: Sent | None = kept[_SENT]
            return response if sent is None else ready(cache, *sent)
        exchange: Exchange = kept.get(EXCHANGE) or _exchange(cache, asking)
        if cache.around:
            exchange.left = True
            exchange.streamed = self.streamed(response, cache.config.max_body_bytes)
            if response.status_code == 304:
                exchange.lines = response.headers.to_wsgi_list()
            return response
        try:
            return self.complete(exchange, response)
        finally:
            exchange.release()


def set_up(
    app: Flask, cache: BaseCache | None, config: Config | None, role: Role
) -> State:
    """Return the state of an app, made if it has none, with one more handler."""
    new = given_role(app, role, config, cache)
    state = state_in(app)
    if new:
        _follow(app, state)
        _follow_up(app, state.cache)
        equip(app)
    return state


def _follow(app: Flask, state: State) -> None:
    """Follow requests from their start."""
    cache, roles = state.cache, state.roles
    first = not request_started.has_receivers_for(app)

    def begin(sender: Flask, **_: object) -> None:  # noqa: ARG001 - the signal's
        asking = _current()
        environ = asking.environ
        exchange = _joined(cache, environ) if EXCHANGE in environ else None
        if exchange is not None:
            asking.__dict__[EXCHANGE] = exchange
            if exchange.state is not ExchangeState.FORWARD:
                return
        elif "requests" in roles and plain(environ):
            ended = cache.leads.ended
            found = cache.stock.first(cache.key(environ), environ, time.time())
            if found.__class__ is Entry and not cache.exempt(environ):
                asking.__dict__[_HIT] = found
                return
            look = None if isinstance(found, Entry) else found
            exchange = Exchange.begin(cache, environ, look, ended)
            asking.__dict__[EXCHANGE] = exchange
        else:
            exchange = _exchange(cache, asking)
            if "requests" not in roles:
                exchange.bypass()
        stored = exchange.safe or exchange.method == "POST"
        if stored and "responses" in roles and not exchange.exempt:
            ignored = cache.config.ignored_readers
            exchange.recorder = watch(app, asking, ignored, untouched=first)
            exchange.seen = asking.environ

    request_started.connect(begin, app, weak=False)


def _joined(cache: Cache, environ: dict[str, Any]) -> Exchange | None:
    """Return the exchange that the cache around the app has begun for a request.

    A middleware in between may have copied the environment.
    """
    exchange = exchange_in(environ, cache)
    if exchange is None or not cache.around:
        return None
    if exchange.joined:
        if exchange.left:
            # Made again by a middleware, and nobody saw what this one reads.
            exchange.recorder = None
        return None
    exchange.joined = True
    exchange.environ = environ
    return exchange


def _follow_up(app: Flask, cache: Cache) -> None:
    """Look at what was sent, and give back what a request holds."""
    forget = Store().forget

    def finish(sender: Flask, response: Response, **_: object) -> None:  # noqa: ARG001 - the signal's
        exchange: Exchange | None = _current().__dict__.get(EXCHANGE)
        if exchange is not None and exchange.outcome.stored and not cache.around:
            forget(exchange, response)

    request_finished.connect(finish, app, weak=False)

    @app.teardown_request
    def end(error: BaseException | None) -> None:  # noqa: ARG001 - Flask's
        exchange: Exchange | None = _current().__dict__.get(EXCHANGE)
        if exchange is not None and not cache.around:
            exchange.release()


def _current() -> Request:
    """Return the request in hand, and not its proxy."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def _exchange(cache: Cache, asking: Request) -> Exchange:
    """Return the exchange of a request, begun if it has none."""
    found: Exchange | None = asking.__dict__.get(EXCHANGE)
    if found is None:
        environ: dict[str, Any] = asking.environ
        found = asking.__dict__[EXCHANGE] = Exchange.begin(cache, environ)
    return found


def _send(cache: Cache, asking: Request, sent: Sent) -> Response:
    """Return a response of the store, and keep what it is if hooks may change it."""
    status, lines, body = sent
    followed = _followed(cache.app, asking)
    asking.__dict__[_SENT] = sent if followed else None
    return ready(cache, status, list(lines) if followed else lines, body)


def _followed(app: Flask, asking: Request) -> bool:
    """Return whether other hooks had the response before this handler's own."""
    hooks = app.after_request_funcs
    common = hooks.get(None)
    if not common:
        return False
    # By identity: a hook may be any callable, such as a partial, and have no name.
    ours = any(common[-1] is hook for hook in state_in(app).hooks)
    return not ours or any(hooks.get(name) for name in asking.blueprints)
