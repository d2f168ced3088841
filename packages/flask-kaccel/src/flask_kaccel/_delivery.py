"""The answers to a request for a file: handed over, or sent from this process."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.datastructures import Headers
from werkzeug.http import http_date
from werkzeug.wsgi import wrap_file

from ._body import FileBody
from ._body import RedirectBody
from ._fields import FRONTS
from ._fields import handed_over
from ._fields import is_blocked
from ._fields import is_internal
from ._fields import without_file
from ._ranges import Answer
from ._ranges import Spans
from ._ranges import answer
from ._ranges import content_range
from ._ranges import epoch
from ._ranges import multipart
from ._state import State


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Reply = tuple[str, list[tuple[str, str]], Iterable[bytes]]
logger: logging.Logger = logging.getLogger("flask_kaccel")
#: The request's fields that decide how a file is answered.
ASKED = (
    "HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE", "HTTP_RANGE",
)  # fmt: skip
#: The requests that a front may answer by an error of its own.
FALLIBLE = frozenset({"HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE"})
PLAIN = Answer(200)
STATUS = {
    200: "200 OK",
    206: "206 PARTIAL CONTENT",
    304: "304 NOT MODIFIED",
    404: "404 NOT FOUND",
    412: "412 PRECONDITION FAILED",
    416: "416 REQUESTED RANGE NOT SATISFIABLE",
}
#: Fields that a 304 has no body for (RFC 9110, 15.4.5).
OF_THE_BODY = ("Content-Type", "Content-Length", "Content-Encoding", "Accept-Ranges")


def answer_redirect(
    body: RedirectBody, status: str, headers: list[tuple[str, str]]
) -> Reply:
    """Return the response that lets nginx answer from an internal location."""
    if not status.startswith("200"):
        return status, [it for it in headers if not is_internal(it[0])], ()
    target = [("X-Accel-Redirect", body.uri)]
    return status, handed_over(headers, FRONTS["nginx"], target), ()


def answer_file(
    state: State,
    environ: WSGIEnvironment,
    status: str,
    headers: list[tuple[str, str]],
    body: FileBody,
) -> Reply:
    """Return the response to a request for a file."""
    found = _current(state, environ, body)
    if found is None:
        body.close()
        return _error(404, headers)
    body = found
    handover = body.handover
    if handover is not None and is_blocked(headers):
        handover = None
    asked = PLAIN if status[:3] == "200" else Answer(int(status[:3]))
    if asked.status == 200:
        fallible = handover is None or not environ.keys().isdisjoint(FALLIBLE)
        if fallible and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            # Only Flask heeds a time that is not the file's own.
            own = None if handover else epoch(Headers(headers).get("Last-Modified"))
            modified = body.file.modified if own is None else own
            fields = EnvironHeaders(environ)
            asked = answer(fields, body.file.etag, modified, body.file.size)
        if handover is not None and asked.status not in (412, 416):
            body.close()
            target = [*handover.target, *body.accel]
            return STATUS[200], handed_over(headers, handover.front, target), ()
    return _send(environ, status, headers, body, asked)


def _current(state: State, environ: WSGIEnvironment, body: FileBody) -> FileBody | None:
    """Return a body that is right for this request, or ``None`` if the file is gone.

    One from a cache of responses was made for another request; one that Flask has
    opened may be of a file that was removed since, and is read to its end all the same.
    """
    if body.decided:
        return body
    file = state.locations.file(body.file.path)
    if body.stream is not None:
        same = file is not None and file.identity == body.file.identity
        if same:
            body.handover = state.hand_over(body.file, environ)
        return body
    if file is None:
        return None
    made = FileBody(file, body.redirect, body.accel)
    made.handover = state.hand_over(file, environ, body.redirect)
    return made


def _error(status: int, headers: list[tuple[str, str]], size: int = 0) -> Reply:
    """Return an error without a body, and without the fields of the file."""
    kept = [it for it in without_file(headers) if not is_internal(it[0])]
    kept.append(("Content-Length", "0"))
    if status == 416:
        kept.append(("Content-Range", f"bytes */{size}"))
    return STATUS[status], kept, ()


def _send(
    environ: WSGIEnvironment,
    status: str,
    fields: list[tuple[str, str]],
    body: FileBody,
    found: Answer,
) -> Reply:
    """Send a file from this process, with the validators that nginx gives it."""
    file = body.file
    headers = Headers([it for it in fields if not is_internal(it[0])])
    headers["ETag"] = file.etag
    headers.setdefault("Last-Modified", http_date(file.modified))
    code = STATUS.get(found.status, status)
    if found.status in (304, 412, 416):
        body.close()
        if found.status != 304:
            return _error(found.status, fields, file.size)
        for name in OF_THE_BODY:
            headers.pop(name, None)
        return code, headers.to_wsgi_list(), ()
    try:
        chunks = _opened(environ, body, found.spans, headers)
    except OSError as error:
        logger.warning("%r cannot be sent: %s", file.path, error.strerror)
        return _error(404, fields)
    return code, headers.to_wsgi_list(), chunks


def _opened(
    environ: WSGIEnvironment,
    body: FileBody,
    spans: tuple[range, ...],
    headers: Headers,
) -> Iterable[bytes]:
    """Return the body to send; set the fields that are about it."""
    size = body.file.size
    parts: list[bytes | range] = []
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Length"] = str(size)
    if spans:
        # The 206 itself says that ranges are served, as nginx has it.
        del headers["Accept-Ranges"]
        parts = _part(spans, size, headers)
        headers["Content-Length"] = str(sum(map(len, parts)))
    if environ["REQUEST_METHOD"] == "HEAD":
        body.close()
        return ()
    stream: Any = body.open()
    if spans:
        return Spans(stream, parts)
    return body if body.delete else wrap_file(environ, stream)


def _part(spans: tuple[range, ...], size: int, headers: Headers) -> list[bytes | range]:
    """Return the parts of a 206; set the fields that say which they are."""
    if len(spans) == 1:
        headers["Content-Range"] = content_range(spans[0], size)
        return list(spans)
    boundary = secrets.token_hex(16)
    of_each = headers["Content-Type"]
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return multipart(spans, size, of_each, boundary)
