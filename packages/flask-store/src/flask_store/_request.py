"""What the current request says of a stream that is its own body."""

from __future__ import annotations

from flask import has_request_context
from flask import request


def content_digest(stream: object) -> str | None:
    """Return the request's ``Content-Digest`` where a stream is its body."""
    # Not by request.stream, which would make one where the app has not.
    if has_request_context() and vars(request).get("stream") is stream:
        return request.headers.get("Content-Digest")
    return None
