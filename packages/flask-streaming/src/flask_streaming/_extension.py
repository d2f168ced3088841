"""The extension: what it does at an app's start and for each streamed response."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from dataclasses import field
from threading import Lock
from typing import TYPE_CHECKING
from typing import Any

from blinker import Namespace
from flask import Blueprint
from flask import Flask
from flask import Response
from flask import current_app
from flask import got_request_exception
from flask import has_request_context
from flask import request
from flask import request_finished
from flask import session
from flask.globals import app_ctx
from flask.sessions import SecureCookieSession
from werkzeug.wsgi import ClosingIterator

from ._chunks import close
from ._delivery import Delivery
from ._memory import MemoryBroker
from ._memory import Subscription
from ._redis import RedisBroker
from .config import PREFIX
from .config import Config
from .exceptions import ClientDisconnected
from .exceptions import ConfigError
from .exceptions import SetupError


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger("flask_streaming")

#: In the environ of a request whose context its response's body needs.
KEEP_CONTEXT = "flask_streaming.keep_context"

#: In the environ of a request: the subscriptions made in it.
SUBSCRIPTIONS = "flask_streaming.subscriptions"
#: There once they were closed: one that is made later, in a thread, is then closed too.
SUBSCRIPTIONS_CLOSED = "flask_streaming.subscriptions_closed"

#: Sent when a streamed response ends, however it ends, with the app as sender and
#: `response`, `bytes`, `chunks`, `seconds` and `exception`, which is None where all
#: was sent and a :exc:`ClientDisconnected` where the client left.
stream_finished = Namespace().signal("stream-finished")


#: Serves the browser's side of live events, ``events.js``.
_client = Blueprint(
    "flask_streaming",
    __name__,
    static_folder="static",
    static_url_path="/flask-streaming",
)


@dataclass(slots=True)
class _Brokers:
    """The broker of this process: a fork must not share ids, sockets or threads."""

    config: Config
    process: int = 0
    broker: MemoryBroker | RedisBroker | None = None
    warned: bool = False
    lock: Lock = field(default_factory=Lock)

    def current(self) -> MemoryBroker | RedisBroker:
        with self.lock:
            if self.broker is None or self.process != os.getpid():
                remote = self.config.redis_url is not None
                self.broker = (RedisBroker if remote else MemoryBroker)(self.config)
                self.process = os.getpid()
            return self.broker


@dataclass(frozen=True, slots=True)
class _State:
    """What the extension knows of one app."""

    config: Config
    brokers: _Brokers


class Streaming:
    """Streams that are fast, bounded and honest.

    Every streamed response of the app is watched: one that fails never looks
    complete, one whose client left is closed, and both are reported.

    :param app: set the extension up on this app at once.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the extension up on an app.

        :raises ConfigError: for a wrong configuration value.
        :raises SetupError: when the app has the extension already.
        """
        if "streaming" in app.extensions:
            raise SetupError(f"flask-streaming is already set up on {app.name!r}")
        config = Config.from_mapping(app.config)
        if config.redis_url is not None:
            _require_redis(config.redis_url)
        app.extensions["streaming"] = _State(config, _Brokers(config))
        request_finished.connect(_deliver, app)
        app.register_blueprint(_client)

    def publish(self, channel: str, data: Any, event: str | None = None) -> str:
        """Send an event to all who listen to a channel.

        :param data: text, sent as it is; anything else is sent as JSON.
        :param event: the type of the event.
        :return: the event's id.
        :raises BrokerError: when Redis does not take it.
        """
        broker = get_state().brokers.current()
        text = data if isinstance(data, str) else current_app.json.dumps(data)
        return broker.publish(channel, text, event)

    def subscribe(
        self, channel: str, *, last_event_id: str | None = None
    ) -> Subscription:
        """Listen to a channel, from now on, or from where the client left off.

        Where events that the client missed are not known any more, the first event
        is of the type ``gap``, and then come all that are still known.

        :param last_event_id: the last event the client saw; in a request, its
            header ``Last-Event-ID`` where this is None.
        """
        state = get_state()
        if not has_request_context():
            return state.brokers.current().subscribe(channel, last_event_id)
        _warn_of_processes(state)
        last_event_id = last_event_id or request.headers.get("Last-Event-ID")
        subscription = state.brokers.current().subscribe(channel, last_event_id)
        request.environ.setdefault(SUBSCRIPTIONS, []).append(subscription)
        if SUBSCRIPTIONS_CLOSED in request.environ:
            subscription.close()
        return subscription


def get_state() -> _State:
    """Return the state of the current app.

    :raises SetupError: when the extension is not set up on it.
    """
    state: _State | None = current_app.extensions.get("streaming")
    if state is None:
        raise SetupError(
            f"flask-streaming is not set up on {current_app.name!r}: call "
            "Streaming().init_app(app) first"
        )
    return state


def keep_context() -> None:
    """Keep the current request's context until the end of its response's body."""
    get_state()
    request.environ[KEEP_CONTEXT] = True


def close_subscriptions(environ: WSGIEnvironment) -> None:
    """Close all subscriptions that were made in a request."""
    environ[SUBSCRIPTIONS_CLOSED] = True
    close(*environ.get(SUBSCRIPTIONS, ()))


def _require_redis(url: str) -> None:
    try:
        import redis  # noqa: F401
    except ImportError as error:
        remedy = "install the client: pip install flask-streaming[redis]"
        key = f"{PREFIX}REDIS_URL"
        raise ConfigError(key, url, remedy, secret="@" in url) from error


def _warn_of_processes(state: _State) -> None:
    brokers = state.brokers
    several = request.environ.get("wsgi.multiprocess", False)
    if several and state.config.redis_url is None and not brokers.warned:
        brokers.warned = True
        logger.warning(
            "The server runs several processes, and events reach the clients of one "
            "only: set STREAMING_REDIS_URL, or run one process with many threads"
        )


def _deliver(app: Flask, response: Response, **_: object) -> None:
    """Take over the body of a streamed response."""
    if (
        not response.is_streamed
        or response.direct_passthrough
        or request.method == "HEAD"
        or response.status_code in {204, 304}
        or _is_page(response)
    ):
        return
    releases: list[Callable[[BaseException | None], None]] = []
    what = f"{request.method} {request.path}"
    # Weak, so that a body that nobody closes ends with its last reference.
    reference = weakref.ref(response)

    def finished(delivery: Delivery, error: BaseException | None) -> None:
        try:
            _report(app, reference(), what, delivery, error)
        finally:
            for release in releases:
                release(error)

    response.response = Delivery(response.response, request.environ, finished)
    if KEEP_CONTEXT in request.environ:
        releases.append(_hold_context())


def _is_page(response: Response) -> bool:
    """Tell an error page, whose body is an iterator too, from a stream."""
    known = response.content_length is not None
    return known and isinstance(response.response, ClosingIterator)


def _current(proxy: Any) -> Any:
    """Return what a proxy stands for at the moment."""
    return proxy._get_current_object()


def _hold_context() -> Callable[[BaseException | None], None]:
    """Push the request's context once more, so that its end does not tear it down.

    :return: a function that takes it back and so tears it down.
    """
    # Since Flask 3.2 there is only the app's context.
    context = _current(app_ctx)
    if not hasattr(context, "request"):
        from flask.globals import request_ctx

        context = _current(request_ctx)
    saved = _current(session)
    # What a cookie can hold is small, and can be copied in depth.
    copy = deepcopy if isinstance(saved, SecureCookieSession) else dict
    before = copy(dict(saved))
    context.push()

    def release(error: BaseException | None) -> None:
        if dict(saved) != before:
            logger.warning(
                "A stream wrote to the session after the headers were sent: the "
                "change is lost. Write to the session in the view."
            )
        context.pop(error)

    return release


def _report(
    app: Flask,
    response: Response | None,
    what: str,
    delivery: Delivery,
    error: BaseException | None,
) -> None:
    """Tell the log and the signals how a stream ended."""
    if error is not None and not isinstance(error, ClientDisconnected):
        logger.error("%s failed after %d bytes", what, delivery.bytes, exc_info=error)
        got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
    stream_finished.send(
        app,
        _async_wrapper=app.ensure_sync,
        response=response,
        bytes=delivery.bytes,
        chunks=delivery.chunks,
        seconds=delivery.seconds,
        exception=error,
    )
