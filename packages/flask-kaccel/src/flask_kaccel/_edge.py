"""The WSGI edge: the one place where files are handed over or sent.

Theory of operation. ``init_app`` wraps ``app.wsgi_app``, outside every hook, session
and middleware that the app has by then. The edge holds a response's start back until it
has seen the body, and looks at that body alone to decide what leaves:

====================================== ================================================
the body is                            then
====================================== ================================================
a ``FileBody``, status 200, a front    the front is asked for the file; a request that
                                       can only fail, 412 or 416, is answered here, so
                                       that no error carries the file's fields
a ``FileBody``, otherwise              the file is sent from here; with status 200 its
                                       conditions and ranges are answered as nginx does
a ``RedirectBody``, status 200         nginx is asked for the internal location
a ``RedirectBody``, otherwise          nothing is asked; the body is empty
anything else                          it leaves as it is
====================================== ================================================

Every response but the first and third loses its internal fields (``X-Accel-*``,
``X-Sendfile``, ``X-Kaccel-*``), unless ``Kaccel.control`` has set them for this
request: whatever a view has copied from another server can open no file.

``HEAD`` responses have no body to look at. Their end does: closing one closes the body
that the response had, and a body of ours notes that.

With ``static=True`` the edge offers ``wsgi.file_wrapper`` (PEP 3333), which Flask's
own ``send_file`` asks to wrap the file that it has opened. The wrapper of a mapped file
is a ``FileBody`` too. It takes the conditions and ranges out of the request, because
Werkzeug would judge them by another validator; the edge judges them, and puts them
back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING
from typing import Any

from werkzeug.wsgi import ClosingIterator
from werkzeug.wsgi import FileWrapper

from ._body import CONTROL
from ._body import RECORD
from ._body import FileBody
from ._body import RedirectBody
from ._delivery import ASKED
from ._delivery import Reply
from ._delivery import answer_file
from ._delivery import answer_redirect
from ._fields import hidden
from ._probe import CHECK_KEY
from ._probe import probed
from ._state import State


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

logger: logging.Logger = logging.getLogger("flask_kaccel")
OURS = (FileBody, RedirectBody)


class Edge:
    """The middleware between the app and its server."""

    def __init__(self, wsgi_app: WSGIApplication, state: State) -> None:
        self.wsgi_app = wsgi_app
        self.state = state

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        wrapper = environ.get("wsgi.file_wrapper")
        if self.state.static:
            self._offer(environ, wrapper)
        held: list[Any] = []
        written: list[bytes] = []

        def hold(status: str, headers: Any, exc_info: Any = None) -> Any:
            held[:] = (status, headers, exc_info)
            return written.append

        body = self.wsgi_app(environ, hold)
        if self.state.static:
            environ["wsgi.file_wrapper"] = wrapper or FileWrapper
        if written or not held:
            body = _started(body, held, written)
        ours = _ours(body, environ)
        status, headers, exc_info = held
        if ours is None:
            reply: Reply = (status, self._guarded(environ, headers), body)
            record = environ.get(RECORD)
            if record is not None:
                # The body may read the file that the view has opened, or forget it.
                reply = (*reply[:2], ClosingIterator(body, record.close))
        else:
            reply = self._answered(environ, status, headers, ours)
        if CHECK_KEY in environ:
            reply = probed(self.state, environ, reply, ours)
        if exc_info is None:
            start_response(reply[0], reply[1])
        else:
            start_response(reply[0], reply[1], exc_info)
        return reply[2]

    def _offer(self, environ: WSGIEnvironment, wrapper: Any) -> None:
        def wrap(stream: Any, size: int = 8192) -> Iterable[bytes]:
            file = self.state.locations.opened(stream)
            if file is None:
                wrapped: Iterable[bytes] = (wrapper or FileWrapper)(stream, size)
                return wrapped
            body = FileBody(file, stream=stream)
            body.asked = {key: environ.pop(key) for key in ASKED if key in environ}
            environ[RECORD] = body
            return body

        environ["wsgi.file_wrapper"] = wrap

    def _answered(
        self,
        environ: WSGIEnvironment,
        status: str,
        headers: Any,
        body: FileBody | RedirectBody,
    ) -> Reply:
        if isinstance(body, RedirectBody):
            return answer_redirect(body, status, headers)
        environ.update(body.asked)
        return answer_file(self.state, environ, status, headers, body)

    def _guarded(self, environ: WSGIEnvironment, headers: Any) -> Any:
        if not self.state.guard:
            return headers
        names = hidden(headers, environ.get(CONTROL, ()))
        if not names:
            return headers
        logger.warning(
            "%s was removed from the response to %r: only responses made by Kaccel's "
            "methods may have it; to allow it elsewhere, pass guard=False to Kaccel",
            ", ".join(names),
            environ.get("PATH_INFO", ""),
        )
        return [field for field in headers if field[0] not in names]


def _ours(body: object, environ: WSGIEnvironment) -> FileBody | RedirectBody | None:
    """Return the body of ours that the response has, closed or not."""
    if isinstance(body, OURS):
        return body
    record: FileBody | RedirectBody | None = environ.get(RECORD)
    if record is None:
        return None
    # What a view wanted is not what leaves; conditions were another response's.
    if isinstance(record, FileBody):
        environ.update(record.asked)
    if environ["REQUEST_METHOD"] != "HEAD":
        return None
    before = record.closed
    getattr(body, "close", lambda: None)()
    return record if record.closed > before else None


def _started(
    body: Iterable[bytes], held: list[Any], written: list[bytes]
) -> Iterable[bytes]:
    """Return a body whose response has started, as late as a generator starts it."""
    chunks = iter(body)
    first: list[bytes] = []
    while not held and (chunk := next(chunks, None)) is not None:
        first.append(chunk)
    close = getattr(body, "close", None)
    return ClosingIterator(chain(written, first, chunks), close)
