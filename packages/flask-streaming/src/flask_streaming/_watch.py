"""The watch over every streamed response of an app, from its view to its end.

A response is taken over once it is complete (`request_finished`): its body becomes a
`Delivery`, which notices a client that left and breaks the connection of a stream that
fails. Where the body needs the request's context, Flask's own ``stream_with_context``
holds it: what is streamed through that is nothing but the wait for the body's end.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import flask
from blinker import NamedSignal
from blinker import Namespace
from flask import Flask
from flask import Response
from flask import got_request_exception
from flask import request
from flask import session
from flask.sessions import SecureCookieSession
from werkzeug.wsgi import ClosingIterator

from . import _wire as wire
from ._delivery import Delivery
from ._state import get_state
from .exceptions import ClientDisconnected


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

#: Sent when a streamed response ends, however it ends, with the app as sender and
#: `response`, `bytes`, `chunks`, `seconds` and `exception`, which is None where all
#: was sent and a :exc:`ClientDisconnected` where the client left.
stream_finished: NamedSignal = Namespace().signal("stream-finished")


def keep_context(*, unbuffered: bool = False) -> None:
    """Keep the current request's context until the end of its response's body.

    :param unbuffered: a proxy should send the body on as it comes.
    """
    get_state()
    request.environ[KEEP_CONTEXT] = True
    if unbuffered:
        request.environ[UNBUFFERED] = True


def _warn_of_server(response: Response) -> None:
    if "Content-Length" not in response.headers and not wire.shows_failure(
        request.environ
    ):
        get_state().warn_once(
            "A stream that fails looks complete to the client: this server provides "
            "no way to break the connection. Have the proxy connect to the server "
            "with HTTP/1.1 over TCP, or, if the server is granian, use another one"
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


def deliver(app: Flask, response: Response, **_: object) -> None:
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
    """Return whether it is an error page, whose body is an iterator too."""
    known = response.content_length is not None
    return known and isinstance(response.response, ClosingIterator)


def _hold_context() -> Callable[[BaseException | None], None]:
    """Hold the request's context, so that the end of the request does not tear it down.

    :return: a function that lets go of it and so tears it down.
    """
    saved = session._get_current_object()  # type: ignore[attr-defined]
    # What a cookie can hold is small, and can be copied in depth.
    copy = deepcopy if isinstance(saved, SecureCookieSession) else dict
    before = copy(dict(saved))
    held: Any = flask.stream_with_context(iter(("",)))
    next(held)

    def release(error: BaseException | None) -> None:
        if dict(saved) != before:
            logger.warning(
                "a stream changed the session after the headers were sent, so the "
                "change is lost: change the session in the view"
            )
        if error is None:
            next(held, None)
            return
        try:
            # Functions for the teardown are given it.
            held.throw(error)
        except BaseException as raised:
            if raised is not error:
                raise

    return release


def _report(
    app: Flask,
    response: Response | None,
    what: str,
    delivery: Delivery,
    error: BaseException | None,
) -> None:
    """Say in the log and by signals how a stream ended."""
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
