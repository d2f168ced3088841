"""The extension: what it does at an app's start and for each streamed response."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from copy import deepcopy
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

from . import _wire as wire
from ._chunks import close
from ._delivery import Delivery
from ._history import Position
from ._memory import MemoryBroker
from ._setup import refuse_twice
from ._state import NAME
from ._state import State
from ._state import get_state
from ._subscription import Subscription
from .config import Config
from .exceptions import ClientDisconnected


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger("flask_streaming")

#: In the environ of a request whose context its response's body needs.
KEEP_CONTEXT = "flask_streaming.keep_context"

#: In the environ of a request whose body a proxy should send on as it comes.
UNBUFFERED = "flask_streaming.unbuffered"
#: What is shown while it arrives. A table or an archive is of use at its end, and a
#: proxy that holds it frees the worker from slow clients.
SHOWN_EARLY = {
    "application/x-ndjson", "text/event-stream", "text/html", "text/plain",
}  # fmt: skip

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


class Streaming:
    """Streams that are fast, bounded and honest.

    Every streamed response of the app is watched: one that fails never looks
    complete, one whose client left is closed, and both are reported.

    :param app: set the extension up on this app at once.
    :param redis: return a client of Redis, in place of ``STREAMING_REDIS_URL``. Called
        twice in each process: the second one waits for events. A client that waits
        less for an answer than for ever needs retries switched off.
    """

    def __init__(
        self, app: Flask | None = None, *, redis: Callable[[], Any] | None = None
    ) -> None:
        if redis is not None and not callable(redis):
            raise TypeError(
                f"redis is {redis!r}: pass a function that returns a client"
            )
        self._redis = redis
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the extension up on an app.

        :raises ConfigError: for a wrong configuration value.
        :raises SetupError: when the app has the extension already.
        """
        refuse_twice(app, NAME, "Streaming")
        config = Config.from_mapping(app.config)
        if config.redis_url is not None or self._redis is not None:
            _require_redis(config)
        app.extensions[NAME] = State(config, self._redis)
        request_finished.connect(_deliver, app)
        app.register_blueprint(_client)

    def publish(
        self,
        channel: str,
        data: Any,
        event: str | None = None,
        *,
        key: str | None = None,
    ) -> str:
        """Send an event to all who listen to a channel.

        :param data: text, sent as it is; anything else is sent as JSON.
        :param event: the type of the event.
        :param key: publish once only: where the channel's history has an event with
            this key, return its id.
        :return: the event's id.
        :raises BrokerError: when Redis does not take it; publish it again with the
            same key, as it may have arrived.
        """
        broker = get_state().broker
        return broker.publish(channel, _text(data), event, key=key)

    def close(self, channel: str, data: Any = "", *, keep: float = 10) -> str:
        """End a channel by an event of the type ``end``, and free its history.

        Streams that listen to nothing else are over; who comes back after having seen
        the end is answered with a 204. To publish again opens the channel again.

        :param data: what the event says, as in :meth:`publish`.
        :param keep: seconds for which clients that were cut can still fetch the last
            events.
        :return: the event's id.
        :raises BrokerError: when Redis does not take it.
        """
        if keep < 0:
            raise ValueError(f"keep is {keep!r}: set seconds, 0 or more")
        return get_state().broker.publish(channel, _text(data), "end", end=keep)

    def position(self) -> str:
        """Return where all channels stand now, for a page to be rendered.

        A client that subscribes with it as ``last_event_id`` misses nothing of what is
        published in between. Take it before you query what the page shows.

        :return: an empty string where Redis is unreachable.
        """
        found = get_state().broker.position()
        return "" if found is None else str(found)

    def subscribe(
        self,
        *channels: str,
        last_event_id: str | None = None,
        history: bool | str = True,
    ) -> Subscription:
        """Listen to channels, from now on, or from where the client left off.

        Where events that the client missed are not known any more, it is sent one of
        the type ``gap``, and all that are still known.

        :param last_event_id: the last event the client saw. In a request, where this is
            None, its header ``Last-Event-ID``, or ``last_event_id`` in its query.
        :param history: whether the client may have events from before it connected;
            a position: those after it.
        """
        if not channels or not all(isinstance(name, str) for name in channels):
            raise TypeError(f"channels are {channels!r}: pass the name of at least one")
        allowed = _allowed(history)
        names = list(dict.fromkeys(channels))
        state = get_state()
        if not has_request_context():
            return state.broker.subscribe(names, last_event_id, allowed)
        _warn_of_processes(state)
        # The header is newer: a browser that reconnects repeats the query.
        last_event_id = (
            last_event_id
            or request.headers.get("Last-Event-ID")
            or request.args.get("last_event_id")
        )
        subscription = state.broker.subscribe(names, last_event_id, allowed)
        request.environ.setdefault(SUBSCRIPTIONS, []).append(subscription)
        if SUBSCRIPTIONS_CLOSED in request.environ:
            subscription.close()
        return subscription


def _text(data: Any) -> str:
    return data if isinstance(data, str) else current_app.json.dumps(data)


def _allowed(history: bool | str) -> bool | Position:
    if isinstance(history, bool):
        return history
    position = Position.parse(history)
    if position is None:
        raise ValueError(
            f"history is {history!r}: pass True, False, or what position() returned"
        )
    return position


def keep_context(*, unbuffered: bool = False) -> None:
    """Keep the current request's context until the end of its response's body.

    :param unbuffered: a proxy should send the body on as it comes.
    """
    get_state()
    request.environ[KEEP_CONTEXT] = True
    if unbuffered:
        request.environ[UNBUFFERED] = True


def close_subscriptions(environ: WSGIEnvironment) -> None:
    """Close all subscriptions that were made in a request."""
    environ[SUBSCRIPTIONS_CLOSED] = True
    close(*environ.get(SUBSCRIPTIONS, ()))


def _require_redis(config: Config) -> None:
    try:
        import redis  # noqa: F401
    except ImportError as error:
        remedy = "install the client: pip install flask-streaming[redis]"
        raise config.error("redis_url", config.redis_url, remedy) from error


def _warn_of_processes(state: State) -> None:
    several = request.environ.get("wsgi.multiprocess", False)
    if several and isinstance(state.broker, MemoryBroker):
        state.warn_once(
            "The server runs several processes, and events reach the clients of one "
            "only: set STREAMING_REDIS_URL, or run one process with many threads"
        )


def _warn_of_server(response: Response) -> None:
    if "Content-Length" not in response.headers and not wire.shows_failure(
        request.environ
    ):
        get_state().warn_once(
            "A stream that fails looks complete here: this server gives no way to "
            "break the connection. Have the proxy speak HTTP/1.1 over TCP to the "
            "server, or, where the server is granian, use another one"
        )


def _unbuffer(response: Response) -> None:
    """Have nginx send a body on as it comes, where that is of use and safe."""
    cache = response.cache_control
    if (
        UNBUFFERED in request.environ
        and response.mimetype in SHOWN_EARLY
        and "Content-Length" not in response.headers
        and "Content-Disposition" not in response.headers
        # nginx stores only what it buffers.
        and not (cache.public or cache.max_age or cache.s_maxage)
    ):
        response.headers.setdefault("X-Accel-Buffering", "no")


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
    _warn_of_server(response)
    _unbuffer(response)
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

    propagate = bool(app.testing or app.config["PROPAGATE_EXCEPTIONS"])
    response.response = Delivery(
        response.response, request.environ, finished, propagate=propagate
    )
    if KEEP_CONTEXT in request.environ:
        releases.append(_hold_context())


def _is_page(response: Response) -> bool:
    """Return whether a response is an error page, whose body is an iterator too."""
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
    """Report to the log and the signals how a stream ended."""
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
