"""The two handlers: requests on their way in, responses on their way out."""

from __future__ import annotations

import time
from abc import ABC
from abc import abstractmethod
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Literal
from urllib.parse import urljoin
from urllib.parse import urlsplit

from cachelib.base import BaseCache
from flask import Flask
from flask import Response
from flask import current_app
from flask import got_request_exception
from flask import has_app_context
from flask import has_request_context
from flask import request

from ._backends import connect
from .backend import Backend
from .cli import webcache as commands
from .config import Config
from .exceptions import SetupError
from .exchange import ANSWERED
from .exchange import EXCHANGE
from .exchange import Exchange
from .exchange import plain
from .resources import Resources
from .rules.entry import Entry
from .storage import Retrieval
from .storage import Store
from .storage import ready


NAME = "webcache"
Role = Literal["requests", "responses"]


@dataclass(frozen=True, slots=True)
class State:
    """What ``app.extensions["webcache"]`` holds."""

    resources: Resources
    #: Which of the two handlers are installed.
    roles: set[Role] = field(default_factory=set)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.resources.config

    def absolute(self, url: str) -> str:
        """Return an absolute URL, for a path too."""
        if urlsplit(url).scheme in ("http", "https"):
            return url
        if has_request_context():
            return urljoin(request.url_root, url)
        server = current_app.config["SERVER_NAME"]
        if server is None:
            raise ValueError(
                f"url is {url!r}: give an absolute URL, or set SERVER_NAME, or call "
                "this in a request"
            )
        scheme = current_app.config["PREFERRED_URL_SCHEME"]
        return urljoin(f"{scheme}://{server}/", url)

    def key(self, url: str) -> str:
        """Return the key of a URL, which may be a path as for :meth:`purge`."""
        return self.resources.url_key(self.absolute(url))

    def purge(self, url: str) -> None:
        """Purge one URL with all of its variants.

        :param url: an absolute one, or a path of the host that the request in hand is
            for; outside of a request, of ``SERVER_NAME``.
        """
        self.resources.purge(self.key(url))

    def purge_tag(self, tag: str) -> None:
        """Purge every response with a tag in Cache-Tag or Cache-Groups."""
        if not tag:
            raise ValueError("tag is '': give the tag to purge, or call purge_all()")
        self.resources.purge_tag(tag)

    def purge_all(self) -> None:
        """Purge everything."""
        self.resources.purge_all()

    def stats(self) -> dict[str, int]:
        """Return how often the store answered, fresh or stale, and how often not."""
        return self.resources.counters()


class _Handler(ABC):
    """What both handlers share: their cache and configuration until an app is known.

    :param cache: a cachelib cache; what ``WEBCACHE_URL`` says where it is None.
    :param app: the app, or None to call :meth:`init_app` later.
    :param config: the configuration; the app's own ``WEBCACHE_*`` where it is None.
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
        self.install(app, state.resources)

    @abstractmethod
    def install(self, app: Flask, resources: Resources) -> None:
        """Register the hooks."""


class RequestHandler(_Handler, Retrieval):
    """Answers requests from the store, before the views and what comes after it."""

    role = "requests"

    def install(self, app: Flask, resources: Resources) -> None:
        """Register the hooks."""

        @app.before_request
        def answer_from_store() -> Response | None:
            return self.handle_request(resources, request.environ)

        # Not weak: nothing else holds on to it.
        got_request_exception.connect(_release, app, weak=False)

    def handle_request(
        self, resources: Resources, environ: dict[str, Any]
    ) -> Response | None:
        """Return the stored response to a request, if one may be used."""
        if not self.may_answer(environ):
            return None
        exchange = environ.get(EXCHANGE)
        if exchange is None and plain(environ):
            key, now = resources.key(environ), time.time()
            found = resources.first_look(key, environ, now)
            if isinstance(found, Entry):
                environ[EXCHANGE] = ANSWERED
                return ready(*resources.hit(found, environ, now))
            exchange = Exchange.after(found, resources, environ, key, now)
        elif exchange is None:
            exchange = Exchange.start(resources, environ)
        environ[EXCHANGE] = exchange
        if exchange.exempt:
            exchange.outcome = "fwd=bypass"
            return None
        response = self.answer(exchange) if exchange.safe else self.precheck(exchange)
        if response is not None:
            environ[EXCHANGE] = ANSWERED
        return response


class ResponseHandler(_Handler, Store):
    """Stores responses, after the views and the hooks registered later than it."""

    role = "responses"

    def install(self, app: Flask, resources: Resources) -> None:
        """Register the hooks."""

        @app.after_request
        def store_response(response: Response) -> Response:
            environ = request.environ
            exchange = environ.get(EXCHANGE)
            if exchange is ANSWERED:
                return response
            if exchange is None:
                exchange = Exchange.start(resources, environ)
            return self.handle_response(exchange, response)

    def handle_response(self, exchange: Exchange, response: Response) -> Response:
        """Store a response and return what to send."""
        try:
            return self.complete(exchange, response)
        finally:
            exchange.release()


def set_up(
    app: Flask, cache: BaseCache | None, config: Config | None, role: Role
) -> State:
    """Return the state of an app, made where it has none, with one more handler."""
    state: State | None = app.extensions.get(NAME)
    if state is None:
        state = app.extensions[NAME] = State(_resources(app, cache, config))
        app.cli.add_command(commands)
    if role in state.roles:
        raise SetupError(f"The handler of {role} is already set up on this app.")
    state.roles.add(role)
    return state


def state_of_app() -> State:
    """Return the state of the current app."""
    state: State | None = (
        current_app.extensions.get(NAME) if has_app_context() else None
    )
    if state is None:
        raise SetupError(
            "There is no current app with flask-webcache; call init_app(app) once "
            "and use this in the context of the app."
        )
    return state


def _resources(app: Flask, cache: BaseCache | None, config: Config | None) -> Resources:
    config = config or Config.from_mapping(app.config)
    if cache is None:
        cache = connect(config.url)
    secret = app.secret_key or b""
    if isinstance(secret, str):
        secret = secret.encode()
    return Resources(config, Backend(cache, prefix=config.key_prefix, secret=secret))


def _release(sender: object, **_: object) -> None:  # noqa: ARG001 - the signal's
    """Wake those who wait for a request that failed."""
    exchange = request.environ.get(EXCHANGE)
    if isinstance(exchange, Exchange):
        exchange.release()
