"""Turn a response that has a file's headers into one that delivers the file."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.datastructures import EnvironHeaders
from werkzeug.http import http_date
from werkzeug.wsgi import wrap_file

from ._files import File
from ._ranges import Answer
from ._ranges import Spans
from ._ranges import answer
from ._ranges import content_range
from ._ranges import epoch
from ._ranges import multipart


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.wrappers import Response

log = logging.getLogger("flask_kaccel")
#: ``flask kaccel check`` asks with it who sends; nginx drops the reply.
CHECK_HEADER = "X-Kaccel-Check"
#: Headers of a file that an error must not inherit.
OF_THE_FILE = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
)


def no_body() -> Iterator[bytes]:
    """Return an empty body.

    It has no length, so that whatever stores or rewrites bodies takes it for a stream
    and leaves it alone.
    """
    return iter(())


def send_or_miss(response: Response, file: File, environ: WSGIEnvironment) -> None:
    """Send a file from this process, or a bare 404 where it cannot be read."""
    if not send_here(response, file, environ):
        response.status_code = 404
        set_empty(response)


def set_empty(response: Response) -> None:
    """Take the body from a response, and what an error must not say of it."""
    response.response = []
    response.headers["Content-Length"] = "0"
    if response.status_code >= 400:
        for name in OF_THE_FILE:
            response.headers.pop(name, None)


def send_here(response: Response, file: File, environ: WSGIEnvironment) -> bool:
    """Send a file from this process, with the validators that nginx gives it.

    A status other than 200 keeps the whole file as its body.

    :return: whether the file can be read.
    """
    headers = response.headers
    headers["ETag"] = file.etag
    headers.setdefault("Last-Modified", http_date(file.modified))
    request_headers = EnvironHeaders(environ)
    if CHECK_HEADER in request_headers:
        headers[CHECK_HEADER] = "flask"
    found = Answer(response.status_code)
    if found.status == 200 and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        modified = epoch(headers["Last-Modified"]) or 0
        found = answer(request_headers, file.etag, modified, file.size)
    response.status_code = found.status
    if found.status not in (304, 412, 416):
        try:
            _set_body(response, file, found.spans, environ)
        except OSError as error:
            log.warning("%r cannot be sent: %s", file.path, error.strerror)
            return False
        return True
    set_empty(response)
    if found.status == 416:
        headers["Content-Range"] = f"bytes */{file.size}"
    return True


def _set_body(
    response: Response, file: File, spans: tuple[range, ...], environ: WSGIEnvironment
) -> None:
    stream = Path(file.path).open("rb")  # noqa: SIM115 - the response closes it
    response.direct_passthrough = True
    if not spans:
        response.headers["Accept-Ranges"] = "bytes"
        response.response = wrap_file(environ, stream)
        response.content_length = file.size
        return
    parts: list[bytes | range] = list(spans)
    if len(spans) == 1:
        response.headers["Content-Range"] = content_range(spans[0], file.size)
    else:
        boundary = secrets.token_hex(16)
        of_each = response.headers["Content-Type"]
        parts = multipart(spans, file.size, of_each, boundary)
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response.response = Spans(stream, parts)
    response.content_length = sum(map(len, parts))
