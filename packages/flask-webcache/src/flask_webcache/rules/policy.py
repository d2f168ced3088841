"""Whether a response may be stored, and whether a stored one may be used (RFC 9111)."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from .entry import Entry
from .fields import FOREVER
from .fields import Directives
from .fields import Fields
from .fields import age
from .fields import directives
from .fields import http_date
from .fields import members
from .fields import seconds
from .fields import structured_strings
from .fields import targeted
from .variants import vary_names


#: Fields of one connection, which are never stored (RFC 9111, section 3.1).
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NEVER_STORED = HOP_BY_HOP | {"age", "x-cache"}
#: Statuses that are cacheable without being told (RFC 9110, section 15.1).
HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
#: Statuses whose meaning this cache knows, less those that answer a condition.
UNDERSTOOD = frozenset(set(HTTPStatus) - {206, 304, 412, 416})
#: Statuses that count as a failure (RFC 5861, section 4).
ERRORS = frozenset({500, 502, 503, 504})
#: The largest heuristic lifetime: a day, in seconds.
HEURISTIC_CAP = 24 * 60 * 60
# What a 304 leaves alone: the stored body depends on these (RFC 9111, section 3.2).
_BOUND_TO_BODY = frozenset(
    {"content-encoding", "content-length", "content-md5", "content-range", "etag"}
)


class Refusal(StrEnum):
    """Why a response is not stored."""

    METHOD = "method"
    EXEMPT = "exempt"
    STREAMED = "streamed"
    SIZE = "size"
    SESSION = "session"
    SET_COOKIE = "set-cookie"
    AUTHORIZATION = "authorization"
    STATUS = "status"
    NO_STORE = "no-store"
    PRIVATE = "private"
    VARY = "vary"
    EXPIRED = "expired"
    NO_FRESHNESS = "no-freshness"
    NOT_KEPT = "not-kept"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request's Cache-Control asks for (RFC 9111, section 5.2.1)."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int = 0
    max_stale: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a response's fields say about its storage."""

    directives: Directives
    #: How long it is fresh in all, in seconds.
    lifetime: float
    #: Whether the response says so itself.
    explicit: bool
    #: When it was generated, as far as Age and Date tell.
    born: float


class Use(Enum):
    """What may be done with a stored response."""

    FRESH = "fresh"
    REFRESH = "refresh"
    VALIDATE = "validate"


NO_WISHES = Wishes()


def wishes(environ: Mapping[str, Any]) -> Wishes:
    """Return what a request asks of caches."""
    value = environ.get("HTTP_CACHE_CONTROL")
    if value is None:
        # Pragma counts where Cache-Control is absent (RFC 9111, section 5.4).
        pragma = environ.get("HTTP_PRAGMA")
        return (
            Wishes(no_cache="no-cache" in directives(pragma)) if pragma else NO_WISHES
        )
    asked = directives(value)
    max_age = seconds(asked["max-age"]) if "max-age" in asked else None
    # Without an argument, any staleness will do.
    stale = asked.get("max-stale") or str(FOREVER)
    return Wishes(
        no_cache="no-cache" in asked,
        no_store="no-store" in asked,
        only_if_cached="only-if-cached" in asked,
        max_age=max_age,
        min_fresh=seconds(asked.get("min-fresh")) or 0,
        max_stale=(seconds(stale) or 0) if "max-stale" in asked else 0,
    )


def policy(
    status: int,
    fields: Fields,
    received: float,
    *,
    delay: float = 0.0,
    targets: Sequence[str] = (),
    default: int = 0,
) -> Policy:
    """Read what a response says.

    :param received: when it was generated here, in seconds since the epoch.
    :param delay: how long it took, in seconds; it counts where Age is present.
    :param targets: the targeted fields that this cache obeys, the first wins.
    :param default: the lifetime of what says nothing, in seconds.
    """
    for name in targets:
        if (text := fields.get(name.lower())) and (found := targeted(text)) is not None:
            said, expires = found, None
            break
    else:
        said, expires = (
            directives(fields.get("cache-control", "")),
            fields.get("expires"),
        )
    date = http_date(fields["date"]) if "date" in fields else None
    initial = max(0.0, received - date) if date is not None else 0.0
    if "age" in fields:
        initial = max(initial, age(fields["age"]) + delay)
    lifetime = _explicit(said, expires, received if date is None else date)
    if lifetime is not None:
        return Policy(said, lifetime, True, received - initial)
    modified = http_date(fields.get("last-modified", ""))
    lifetime = 0.0
    if status in HEURISTIC or "public" in said:
        if modified is not None:
            since = (received if date is None else date) - modified
            lifetime = min(max(0.0, since / 10), HEURISTIC_CAP)
        elif status < 400:
            lifetime = default
    return Policy(said, lifetime, False, received - initial)


def refusal(
    status: int,
    fields: Fields,
    found: Policy,
    now: float,
    *,
    authorized: bool = False,
    cookies: bool = False,
) -> Refusal | None:
    """Tell why a final response must not be stored, or None (RFC 9111, section 3).

    :param authorized: whether its request had Authorization.
    :param cookies: whether Set-Cookie may be stored.
    """
    said = found.directives
    if status < 200 or status in (206, 304, 412, 416):
        return Refusal.STATUS
    if "must-understand" in said and status not in UNDERSTOOD:
        return Refusal.STATUS
    if "no-store" in said and "must-understand" not in said:
        return Refusal.NO_STORE
    if "private" in said and not said["private"]:
        return Refusal.PRIVATE
    if "set-cookie" in fields and not cookies:
        return Refusal.SET_COOKIE
    if authorized and not said.keys() & {"public", "must-revalidate", "s-maxage"}:
        return Refusal.AUTHORIZATION
    if "vary" in fields and vary_names(fields["vary"]) is None:
        return Refusal.VARY
    usable = found.born + found.lifetime > now and not _bare(said, "no-cache")
    if usable or fields.get("etag") or fields.get("last-modified"):
        return None
    if _seconds(said, "stale-if-error") or _seconds(said, "stale-while-revalidate"):
        return None
    return Refusal.EXPIRED if found.explicit else Refusal.NO_FRESHNESS


def use(entry: Entry, now: float, asked: Wishes) -> Use:
    """Tell what may be done with a stored response (RFC 9111, section 4)."""
    if asked.no_cache or entry.no_cache:
        return Use.VALIDATE
    if asked.max_age is not None and now - entry.born > asked.max_age:
        return Use.VALIDATE
    left = entry.fresh_until - now
    if left > 0 and left >= asked.min_fresh:
        return Use.FRESH
    if entry.strict or asked.min_fresh:
        return Use.VALIDATE
    if -left <= asked.max_stale and asked.max_stale:
        return Use.FRESH
    if -left < entry.stale_while_revalidate:
        return Use.REFRESH
    return Use.VALIDATE


def stands_in(entry: Entry, now: float, grace: int) -> bool:
    """Tell whether a stored response may be served in place of an error.

    :param grace: for how long where no directive speaks, in seconds.
    """
    allowed = grace if entry.stale_if_error is None else entry.stale_if_error
    if entry.strict or entry.no_cache or entry.code in ERRORS:
        return False
    return now - entry.fresh_until < allowed


def make_entry(
    status: str,
    lines: Sequence[tuple[str, str]],
    body: bytes,
    fields: Fields,
    found: Policy,
    *,
    started: float,
    **selected: Any,
) -> Entry:
    """Return what to store of a response."""
    said = found.directives
    return Entry(
        status=status,
        headers=stored_lines(lines, fields, said),
        body=body,
        started=started,
        born=found.born,
        fresh_until=found.born + found.lifetime,
        etag=fields.get("etag"),
        last_modified=fields.get("last-modified"),
        stale_while_revalidate=_seconds(said, "stale-while-revalidate"),
        stale_if_error=seconds(said.get("stale-if-error")),
        # s-maxage means proxy-revalidate too (RFC 9111, section 5.2.2.10).
        strict=bool(said.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"}),
        no_cache=_bare(said, "no-cache"),
        language=fields.get("content-language"),
        tags=tags(fields),
        **selected,
    )


def stored_lines(
    lines: Iterable[tuple[str, str]], fields: Fields, said: Directives
) -> tuple[tuple[str, str], ...]:
    """Return the lines of a response that are stored (RFC 9111, section 3.1)."""
    listed = ",".join(
        value
        for value in (
            fields.get("connection"),
            said.get("no-cache"),
            said.get("private"),
        )
        if value
    )
    left_out = _NEVER_STORED
    if listed:
        left_out |= {name.lower() for name in members(listed)}
    return tuple(line for line in lines if line[0].lower() not in left_out)


def freshened(entry: Entry, lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the stored lines updated by those of a 304 (RFC 9111, section 3.2)."""
    new = [line for line in lines if line[0].lower() not in _BOUND_TO_BODY]
    names = {name.lower() for name, _ in new}
    return [*(line for line in entry.headers if line[0].lower() not in names), *new]


def tags(fields: Fields) -> tuple[str, ...]:
    """Return the tags by which a response can be purged."""
    if fields.keys().isdisjoint(("cache-groups", "cache-tag")):
        return ()
    found = [*structured_strings(fields.get("cache-groups", ""))]
    found += members(fields.get("cache-tag", ""))
    return tuple(dict.fromkeys(tag for tag in found if tag))


def _explicit(said: Directives, expires: str | None, date: float) -> float | None:
    """Return the explicit lifetime (RFC 9111, section 4.2.1)."""
    for name in ("s-maxage", "max-age"):
        if name in said:
            # What cannot be parsed is stale.
            return seconds(said[name]) or 0
    if expires is None:
        return None
    until = http_date(expires)
    return 0.0 if until is None else max(0.0, until - date)


def _seconds(said: Directives, name: str) -> int:
    return seconds(said.get(name)) or 0


def _bare(said: Directives, name: str) -> bool:
    """Tell whether a directive is there without a list of fields."""
    return name in said and not said[name]
