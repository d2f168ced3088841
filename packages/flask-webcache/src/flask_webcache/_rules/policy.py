"""Whether a response may be stored, and whether a stored one may be used (RFC 9111)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence
from collections.abc import Set
from enum import Enum
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

from .control import Terms
from .control import Wishes
from .control import targeted_terms
from .control import terms
from .entry import LONGEST
from .entry import Entry
from .fields import Fields
from .fields import age
from .fields import http_date
from .fields import members
from .fields import structured_strings
from .variants import Selectors
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
#: Fields about one request, its visitor, or the moment, which are never replayed.
_OF_ONE_REQUEST = frozenset(
    {
        "ratelimit",
        "ratelimit-policy",
        "server-timing",
        "traceparent",
        "traceresponse",
        "x-correlation-id",
        "x-request-id",
        "x-response-time",
        "x-runtime",
    }
)
_RATE_LIMITS = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
_NEVER_STORED = HOP_BY_HOP | _OF_ONE_REQUEST | {"age", "x-cache"}
#: A nonce in a page.
_NONCES_OF_PAGES = re.compile(
    rb"<(?:script|style|link)\b[^>]{0,1000}?\snonce=[\"']?[\w+/-]", re.IGNORECASE
)
_NONCE = re.compile(r"'nonce-([^']+)'", re.IGNORECASE)
#: Fields that may hold a nonce, made for one response.
_NONCES = ("content-security-policy", "content-security-policy-report-only")
#: Statuses that are cacheable without being told (RFC 9110, section 15.1).
HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
#: Statuses whose meaning this cache knows.
UNDERSTOOD = frozenset(HTTPStatus)
#: Statuses of final responses, less those to a condition or for a part.
FINAL = frozenset(range(200, 1000)) - {206, 304, 412, 416}
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
    CONTENT = "content"
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
    IDENTITY = "identity"
    READ = "read"
    NONCE = "nonce"
    NOT_KEPT = "not-kept"


class Policy(NamedTuple):
    """The storage that a response's fields allow."""

    terms: Terms
    #: How long it is fresh in all, in seconds.
    lifetime: float
    #: Whether the response says so itself.
    explicit: bool
    #: When it was generated, as far as Age and Date tell.
    born: float
    #: The request fields that select it; None for all of them.
    vary: tuple[str, ...] | None


class Use(Enum):
    """The use that may be made of a stored response."""

    FRESH = "fresh"
    REFRESH = "refresh"
    VALIDATE = "validate"


def policy(
    status: int,
    fields: Fields,
    received: float,
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
    said, expires = _said(fields, targets)
    date = http_date(fields["date"]) if "date" in fields else None
    initial = max(0.0, received - date) if date is not None else 0.0
    if "age" in fields:
        initial = max(initial, age(fields["age"]) + delay)
    made = received if date is None else date
    lifetime: float | None = said.lifetime
    if lifetime is None and expires is not None:
        until = http_date(expires)
        # What cannot be parsed is stale.
        lifetime = 0.0 if until is None else max(0.0, until - made)
    explicit = lifetime is not None
    if lifetime is None:
        lifetime = _heuristic(status, fields, said, made, default)
    vary = vary_names(fields["vary"]) if "vary" in fields else ()
    return Policy(said, lifetime, explicit, received - initial, vary)


def refusal(
    status: int,
    fields: Fields,
    found: Policy,
    now: float,
    *,
    authorized: bool = False,
    cookies: bool = False,
) -> Refusal | None:
    """Return why a final response must not be stored, or None (RFC 9111, section 3).

    :param authorized: whether its request had Authorization.
    :param cookies: whether Set-Cookie may be stored.
    """
    said = found.terms
    if status not in FINAL or (said.must_understand and status not in UNDERSTOOD):
        return Refusal.STATUS
    if said.no_store or said.private:
        return Refusal.NO_STORE if said.no_store else Refusal.PRIVATE
    if "set-cookie" in fields and not cookies:
        return Refusal.SET_COOKIE
    if authorized and not said.shared:
        return Refusal.AUTHORIZATION
    if found.vary is None:
        return Refusal.VARY
    if _has_nonce(fields):
        return Refusal.NONCE
    if found.born + found.lifetime > now and not said.no_cache:
        return None
    if fields.get("etag") or fields.get("last-modified"):
        return None
    if said.stale_if_error or said.stale_while_revalidate:
        return None
    return Refusal.EXPIRED if found.explicit else Refusal.NO_FRESHNESS


def _has_nonce(fields: Fields) -> bool:
    said = [fields[name] for name in _NONCES if name in fields]
    return "'nonce-" in " ".join(said).lower()


def nonces(lines: Iterable[tuple[str, str]]) -> set[bytes]:
    """Return the nonces of a response's policies."""
    said = [value for name, value in lines if name.lower() in _NONCES]
    return {one.encode() for one in _NONCE.findall(" ".join(said))}


def holds_nonce(fields: Fields, body: bytes) -> bool:
    """Return whether a page has a nonce, whose policy may be added later."""
    html = "html" in fields.get("content-type", "").lower()
    return html and _NONCES_OF_PAGES.search(body) is not None


def use(entry: Entry, now: float, asked: Wishes) -> Use:
    """Return what may be done with a stored response (RFC 9111, section 4)."""
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
    """Return whether a stored response may be served in place of an error.

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
    own_etag: bool = False,
    vary: Selectors = (),
) -> Entry:
    """Return the entry to store of a response.

    :param own_etag: whether its entity tag is the view's own.
    :param vary: its selectors.
    """
    said = found.terms
    return Entry(
        status=status,
        headers=stored_lines(lines, fields, said.withheld),
        body=body,
        born=found.born,
        fresh_until=found.born + found.lifetime,
        etag=fields.get("etag"),
        last_modified=fields.get("last-modified"),
        own_etag=own_etag,
        stale_while_revalidate=said.stale_while_revalidate,
        stale_if_error=said.stale_if_error,
        strict=said.strict,
        no_cache=said.no_cache,
        language=fields.get("content-language"),
        vary=vary,
        tags=tags(fields),
    )


def kept_seconds(entry: Entry, now: float, grace: int, keep: int) -> float:
    """Return how long the backend is to keep a response.

    :param grace: for how long it stands in for an error where no directive speaks.
    :param keep: for how long it is worth validating. Both in seconds.
    """
    stale = 0
    if not (entry.strict or entry.no_cache):
        error = entry.stale_if_error
        stale = max(entry.stale_while_revalidate, grace if error is None else error)
    if entry.own_etag or entry.last_modified is not None:
        stale = max(stale, keep)
    return min(max(0.0, entry.fresh_until - now) + stale, LONGEST)


def stored_lines(
    lines: Iterable[tuple[str, str]], fields: Fields, withheld: Set[str]
) -> tuple[tuple[str, str], ...]:
    """Return the lines of a response that are stored (RFC 9111, section 3.1)."""
    limits = {name for name in fields if name.startswith(_RATE_LIMITS)}
    if not withheld and not limits and fields.keys().isdisjoint(_NEVER_STORED):
        return tuple(lines)
    listed = {name.lower() for name in members(fields.get("connection", ""))}
    left_out = _NEVER_STORED | withheld | listed | limits
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


def _said(fields: Fields, targets: Sequence[str]) -> tuple[Terms, str | None]:
    """Return what counts of a response's terms and its Expires (RFC 9213)."""
    for name in targets:
        text = fields.get(name.lower())
        if text and (found := targeted_terms(text)) is not None:
            return found, None
    return terms(fields.get("cache-control", "")), fields.get("expires")


def _heuristic(
    status: int, fields: Fields, said: Terms, made: float, default: int
) -> float:
    """Return the lifetime of what does not say it (RFC 9111, section 4.2.2)."""
    if status not in HEURISTIC and not said.public:
        return 0.0
    modified = http_date(fields.get("last-modified", ""))
    if modified is not None:
        return min(max(0.0, (made - modified) / 10), HEURISTIC_CAP)
    return default if status < 400 else 0.0
