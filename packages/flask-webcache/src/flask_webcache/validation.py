"""Validation: entity tags, and answers to conditional and range requests."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Response

from ._rules.conditions import cut
from ._rules.conditions import precondition
from ._rules.conditions import spans
from ._rules.conditions import wanted_range
from ._rules.control import terms
from ._rules.fields import Fields


#: The fields of a request that make it conditional, or one for a part.
CONDITIONAL = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_RANGE",
    }
)


class Validation:
    """Makes entity tags and evaluates conditions on complete responses."""

    def streamed(self, response: Response, limit: int) -> bool:
        """Return whether a response is made while it is sent, or a file.

        Flask's own errors and redirects come as iterators, but of one part whose length
        is known.
        """
        if response.direct_passthrough:
            return True
        if not response.is_streamed:
            return False
        length: int | None = response.content_length
        return response.status_code < 300 or length is None or length > limit

    def make_etag(self, body: bytes) -> str:
        """Return a strong entity tag for a body."""
        return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'

    def can_set_etag(self, response: Response, fields: Fields) -> bool:
        """Return whether a response gets an entity tag."""
        return (
            response.status_code == 200
            and "etag" not in fields
            and not terms(fields.get("cache-control", "")).no_store
        )

    def set_etag(self, response: Response, body: bytes) -> str:
        """Give a response an entity tag of its body, and return it."""
        etag = self.make_etag(body)
        response.headers.add("ETag", etag)
        return etag

    def conditional(
        self, environ: dict[str, Any], method: str, response: Response
    ) -> Response:
        """Turn a complete response into what the request's conditions call for."""
        if environ.keys().isdisjoint(CONDITIONAL):
            return response
        if not 200 <= response.status_code < 300:
            return response
        headers = response.headers
        etag, modified = headers.get("etag"), headers.get("last-modified")
        status = precondition(environ, method, etag, modified)
        if status is not None:
            return self.not_carried_out(response, status)
        if method == "GET" and response.status_code == 200:
            wanted = wanted_range(environ, etag, modified)
            if wanted is not None and headers.get("accept-ranges") != "none":
                return self.partial(response, wanted)
        return response

    def not_carried_out(self, response: Response, status: int) -> Response:
        """Empty a response to a request whose precondition failed."""
        response.status_code = status
        response.set_data(b"")
        if status == 304:
            del response.headers["Content-Length"]
        return response

    def partial(self, response: Response, wanted: str) -> Response:
        """Cut a response to the ranges that are wanted (RFC 9110, section 14)."""
        body = response.get_data()
        found = spans(wanted, len(body))
        if found is None:
            return response
        if not found:
            response.status_code = 416
            response.set_data(b"")
            response.headers["Content-Range"] = f"bytes */{len(body)}"
            return response
        part = cut(body, found, response.headers.get("content-type", ""))
        response.status_code = 206
        response.set_data(part.body)
        if part.content_range:
            response.headers["Content-Range"] = part.content_range
        if part.content_type:
            response.headers["Content-Type"] = part.content_type
        return response
