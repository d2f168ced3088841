"""The response that sends events as they come."""

from __future__ import annotations

from collections.abc import AsyncIterable
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

from flask import Response
from flask import current_app
from flask import request

from ._chunks import close
from ._events import PING
from ._events import ServerSentEvent
from ._iteration import iterated
from ._live import LiveStream
from ._live import Source
from ._pump import Pump
from ._state import get_state
from ._subscription import Subscription
from ._subscription import position_block
from ._watch import keep_context


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: In the environ of a request: the subscriptions made in it.
SUBSCRIPTIONS = "flask_streaming.subscriptions"
#: There once they were closed: one that is made later, in a thread, is then closed too.
SUBSCRIPTIONS_CLOSED = "flask_streaming.subscriptions_closed"


def event_stream(
    events: Iterable[Any] | AsyncIterable[Any],
    *,
    ping: float = 15,
    retry: int | None = None,
    duration: float | None = None,
) -> Response:
    """Return server-sent events, each as soon as it comes.

    :param events: a subscription, for which the request's context ends with the
        view; or an iterable, for which it is kept, and which a thread reads so that
        pings go on while it waits. What is neither text nor a
        :class:`~flask_streaming.ServerSentEvent` is sent as JSON.
    :param ping: seconds of silence after which a comment is sent, so that proxies
        keep the connection and a client that left is noticed.
    :param retry: milliseconds that the client waits before it reconnects.
    :param duration: seconds after which the response ends; the client comes back
        with the id of the last event it saw.
    """
    _check("ping", ping)
    if duration is not None:
        _check("duration", duration, ", or None")
    # Here, where a wrong value is still an error of the view's.
    start = PING if retry is None else ServerSentEvent(retry=retry).encode()
    source: Source
    if not isinstance(events, Subscription):
        # It may need what the context holds. A subscription does not, and must not
        # keep a connection to the database for hours.
        keep_context()
        source = Pump(iterated("events", events), current_app.json.dumps)
    elif events.over:
        events.close()
        return current_app.response_class(status=204)
    else:
        source = events
        if events.position is not None:
            start = position_block(events.position, retry)
    return _respond(source, start, ping, duration)


def _check(name: str, value: float, more: str = "") -> None:
    if value <= 0:
        raise ValueError(f"{name} is {value!r}: set seconds above 0{more}")


def _respond(
    source: Source, start: bytes, ping: float, duration: float | None
) -> Response:
    state = get_state()
    # It runs backwards: an iterable that waits for a subscription is woken by its end
    # alone. Both end before the context does.
    ending = ExitStack()
    ending.callback(source.close)
    ending.callback(_close_subscriptions, request.environ)
    body = LiveStream(
        source,
        state.broker.post,
        request.environ,
        ending,
        start=start,
        ping=ping,
        duration=duration,
        renew=state.config.history_seconds / 8,
    )
    response = current_app.response_class(body, mimetype="text/event-stream")
    # For nginx; and for caches and proxies that compress, which would hold it back.
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["Cache-Control"] = "no-cache, no-transform"
    # The body may have been wrapped by what does not close it.
    response.call_on_close(ending.close)
    return response


def end_with_request(subscription: Subscription) -> None:
    """Close a subscription at the end of the current request's body."""
    request.environ.setdefault(SUBSCRIPTIONS, []).append(subscription)
    if SUBSCRIPTIONS_CLOSED in request.environ:
        subscription.close()


def _close_subscriptions(environ: WSGIEnvironment) -> None:
    environ[SUBSCRIPTIONS_CLOSED] = True
    close(*environ.get(SUBSCRIPTIONS, ()))
