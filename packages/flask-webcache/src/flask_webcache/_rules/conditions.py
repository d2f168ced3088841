"""Conditional and range requests (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import etags
from .fields import http_date
from .fields import opaque


#: More ranges than this are no honest request (RFC 9110, section 14.2).
MAX_RANGES = 16
_RANGE = re.compile(r"[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Partial:
    """Parts of a body, ready to send."""

    body: bytes
    content_range: str | None = None
    content_type: str | None = None


def precondition(
    environ: Mapping[str, Any],
    method: str,
    etag: str | None,
    last_modified: str | None,
) -> int | None:
    """Evaluate the preconditions of a request on the representation that there is.

    The order is that of RFC 9110, section 13.2.2.

    :return: 304 or 412 where the request is not to be carried out, else None.
    """
    safe = method in ("GET", "HEAD")
    if "HTTP_IF_MATCH" in environ:
        failed = not _listed(environ["HTTP_IF_MATCH"], etag, strong=True)
    else:
        since = environ.get("HTTP_IF_UNMODIFIED_SINCE", "")
        failed = _modified_since(since, last_modified) is True
    if failed:
        return 412
    if "HTTP_IF_NONE_MATCH" in environ:
        if _listed(environ["HTTP_IF_NONE_MATCH"], etag, strong=False):
            return 304 if safe else 412
        return None
    since = environ.get("HTTP_IF_MODIFIED_SINCE", "")
    same = safe and _modified_since(since, last_modified) is False
    return 304 if same else None


def unchanged(
    environ: Mapping[str, Any],
    status: str,
    etag: str | None,
    last_modified: str | None,
) -> bool:
    """Return whether a plain request is one for a change that did not happen."""
    if "HTTP_IF_NONE_MATCH" in environ:
        if status[0] == "2" and environ["HTTP_IF_NONE_MATCH"] == etag:
            return True
    elif "HTTP_IF_MODIFIED_SINCE" not in environ:
        return False
    return (
        status[0] == "2"
        and precondition(environ, environ["REQUEST_METHOD"], etag, last_modified) == 304
    )


def wanted_range(
    environ: Mapping[str, Any], etag: str | None, last_modified: str | None
) -> str | None:
    """Return the Range of a GET, if it is to be considered (section 13.1.5)."""
    wanted: str | None = environ.get("HTTP_RANGE")
    condition = environ.get("HTTP_IF_RANGE")
    if wanted is None or condition is None:
        return wanted
    if '"' in condition:
        strong = etag is not None and not condition.startswith("W/")
        return wanted if strong and condition == etag else None
    # Dates are strong only in an exact match (RFC 9110, section 8.8.2.2).
    same = condition == last_modified and http_date(condition) is not None
    return wanted if same else None


def spans(value: str, size: int) -> list[Span] | None:
    """Return the satisfiable ranges of a Range value, as first and last position.

    :return: None for a value to be ignored; an empty list where none can be met.
    """
    unit, equals, text = value.partition("=")
    parts = text.split(",")
    if unit.strip().lower() != "bytes" or not equals or len(parts) > MAX_RANGES:
        return None
    found: list[Span] = []
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None or match[0].strip() == "-" or len(part) > 64:
            return None
        if match[1]:
            first, last = int(match[1]), int(match[2] or size)
            if match[2] and last < first:
                return None
            if first < size:
                found.append((first, min(last, size - 1)))
        elif int(match[2]) > 0 and size:
            found.append((max(0, size - int(match[2])), size - 1))
    return _coalesced(found)


def cut(body: bytes, found: list[Span], content_type: str) -> Partial:
    """Return the ranges of a body, as they are or as multipart/byteranges."""
    size = len(body)
    if len(found) == 1:
        ((first, last),) = found
        return Partial(body[first : last + 1], f"bytes {first}-{last}/{size}")
    boundary = secrets.token_hex(16)
    parts = [
        f"--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: bytes {first}-{last}/{size}\r\n\r\n".encode("latin-1")
        + body[first : last + 1]
        + b"\r\n"
        for first, last in found
    ]
    parts.append(f"--{boundary}--\r\n".encode())
    return Partial(
        b"".join(parts), content_type=f"multipart/byteranges; boundary={boundary}"
    )


def _coalesced(found: list[Span]) -> list[Span]:
    """Join ranges where they overlap, so that no answer outgrows the body."""
    joined: list[Span] = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return found if len(joined) == len(found) else joined


def _listed(condition: str, etag: str | None, *, strong: bool) -> bool:
    """Return whether a representation's tag is in a list of tags."""
    if condition.strip() == "*":
        return True
    if etag is None:
        return False
    if strong:
        return not etag.startswith("W/") and etag in etags(condition)
    wanted = opaque(etag)
    return any(opaque(one) == wanted for one in etags(condition))


def _modified_since(condition: str, last_modified: str | None) -> bool | None:
    """Compare dates; None where a date is missing or invalid, which is no condition."""
    since, modified = http_date(condition), http_date(last_modified or "")
    return None if since is None or modified is None else modified > since
