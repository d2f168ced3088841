"""Responses that are made of stored ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.http import http_date

from ._rules import policy as rules
from ._rules.conditions import unchanged
from ._rules.entry import Entry


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._cache import Cache


NOT_MODIFIED = "304 NOT MODIFIED"


def hit(
    cache: Cache, entry: Entry, environ: Mapping[str, Any], now: float
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status, fields and body of a fresh hit for a plain request.

    A 304 comes with all of the fields; :func:`~._rules.entry.lean` leaves out those
    that it must not have.
    """
    said = f"{cache.config.cache_name}; hit; ttl={int(entry.fresh_until - now)}"
    lines = [*aged(entry, now), ("Cache-Status", said), ("X-Cache", "hit")]
    if unchanged(environ, entry.status, entry.etag, entry.last_modified):
        return NOT_MODIFIED, lines, b""
    return entry.status, lines, entry.body


def aged(entry: Entry, now: float) -> list[tuple[str, str]]:
    """Return the fields of a stored response with its age."""
    return [*entry.headers, ("Age", str(max(0, int(now - entry.born))))]


def restored(cache: Cache, entry: Entry, now: float) -> Response:
    """Return a stored response with its age."""
    return ready(cache, entry.status, aged(entry, now), entry.body)


def ready(
    cache: Cache, status: str, lines: list[tuple[str, str]], body: bytes
) -> Response:
    """Return a response whose fields were checked when they were stored."""
    made: Response = cache.app.response_class([body] if body else None, status)
    fill(made.headers, lines)
    return made


def _keeps_list() -> bool:
    """Return whether header fields are one list of pairs."""
    headers = Headers([("a", "b")])
    return vars(headers) == {"_list": [("a", "b")]}


_KEEPS_LIST = _keeps_list()


def fill(headers: Headers, lines: list[tuple[str, str]]) -> None:
    """Put fields in place of others, without a check of each.

    The only use of a private name. The public ``extend`` checks every field again,
    which each hit by hooks would pay for, and the fields were checked when they were
    stored. Where Werkzeug keeps fields in another way, ``extend`` is used.
    """
    if _KEEPS_LIST:
        headers._list = lines
    else:
        headers.clear()
        headers.extend(lines)


def merged(cache: Cache, entry: Entry, response: Response) -> Response:
    """Return a stored response freshened by a 304 (RFC 9111, section 4.3.4)."""
    lines = rules.freshened(entry, _dated(response.headers))
    if not entry.own_etag:
        lines = [line for line in lines if line[0].lower() != "etag"]
    made: Response = cache.app.response_class(entry.body, entry.status)
    made.headers = Headers(lines)
    return made


def _dated(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the lines of a 304, with a Date if need be: the stored one is of old."""
    dated = list(lines)
    if not any(name.lower() == "date" for name, _ in dated):
        dated.append(("Date", http_date()))
    return dated
