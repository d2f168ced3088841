"""The current request's body as a stream to save.

What a server does with a body that ends too early differs: some raise errors of their
own, some return what they have, as if it were all. So the body is counted here, and
compared with ``Content-Length``.
"""

from __future__ import annotations

from typing import IO
from typing import Any

from flask import current_app
from flask import has_app_context
from flask import has_request_context
from flask import request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.exceptions import HTTPException

from .exceptions import DisconnectedError
from .exceptions import StoreError


#: More than a form without fields takes.
LONGEST_END = 1024


def is_body(stream: object) -> bool:
    """Return whether a stream is the current request's body."""
    if stream is None or not has_request_context():
        return False
    # Not by request.stream, which would make one where the app has not.
    bodies = vars(request).get("stream"), request.environ.get("wsgi.input")
    return any(stream is body for body in bodies)


def check_form() -> None:
    """Check that the current request's form, where no file was found, is whole.

    A form that cannot be read to its end is empty to Werkzeug: without one field, which
    no form is that a browser sends whole.

    :raises DisconnectedError: for one that is cut, or malformed.
    """
    if not has_request_context() or "files" not in vars(request):
        return
    if request.mimetype != "multipart/form-data" or request.files or request.form:
        return
    boundary = request.mimetype_params.get("boundary", "")
    # The end of a form alone: two dashes on both sides of the boundary, and a line's.
    if (request.content_length or LONGEST_END) > len(boundary) + 8:
        length = request.content_length
        of = "" if length is None else f" of {length} bytes"
        raise DisconnectedError(f"The client's form{of} ended early or is malformed.")


def content_digest() -> str | None:
    """Return the current request's ``Content-Digest``."""
    return request.headers.get("Content-Digest")


def mount_point() -> str:
    """Return the path under which the app is reached, without a slash at its end."""
    if has_request_context():
        return request.root_path.rstrip("/")
    if has_app_context():
        return str(current_app.config["APPLICATION_ROOT"]).rstrip("/")
    return ""


class Body:
    """The current request's body, which is whole or raises.

    :raises DisconnectedError: for a body that the server does not decode.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._length = request.content_length
        self._read = 0
        chunked = request.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if chunked and not request.environ.get("wsgi.input_terminated"):
            raise DisconnectedError("The server does not decode chunked bodies.")

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes.

        :raises DisconnectedError: where the client went away before the end.
        """
        try:
            data = self._stream.read(size)
        except ClientDisconnected as error:
            raise self._error() from error
        except (HTTPException, StoreError):
            raise
        except Exception as error:
            # Servers have errors of their own for it.
            raise self._error() from error
        self._read += len(data)
        ended = size != 0 and (size < 0 or not data)
        if ended and self._length is not None and self._read < self._length:
            raise self._error()
        return data

    def _error(self) -> DisconnectedError:
        of = "" if self._length is None else f" of {self._length}"
        return DisconnectedError(
            f"The client's upload ended after {self._read}{of} bytes."
        )


def body_of(stream: Any) -> Any:
    """Return a stream, and the current request's body as one that is whole."""
    return Body(stream) if is_body(stream) else stream
