"""Cache-Control, in requests and in responses (RFC 9111, section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .fields import FOREVER
from .fields import Directives
from .fields import directives
from .fields import members
from .fields import seconds
from .fields import targeted


@dataclass(frozen=True, slots=True)
class Wishes:
    """The directives of a request's Cache-Control (section 5.2.1)."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int = 0
    max_stale: int = 0


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The directives of a response's Cache-Control (section 5.2.2)."""

    #: How long it is fresh, in seconds, if this says so.
    lifetime: int | None
    public: bool
    #: Never to be stored, unless must-understand takes the place of that.
    no_store: bool
    must_understand: bool
    private: bool
    #: Whether it may be stored for a request with Authorization.
    shared: bool
    #: Whether it says how long shared caches may serve it.
    said_s_maxage: bool
    #: Never to be served without validation.
    no_cache: bool
    #: Never to be served stale.
    strict: bool
    stale_while_revalidate: int
    stale_if_error: int | None
    #: The fields that are not stored.
    withheld: frozenset[str]


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


# An app says the same few things all the time.
@lru_cache(maxsize=256)
def terms(value: str) -> Terms:
    """Return what a Cache-Control value of a response allows."""
    return _terms(directives(value))


@lru_cache(maxsize=256)
def targeted_terms(value: str) -> Terms | None:
    """Return what a targeted field allows; None where it has to be ignored."""
    said = targeted(value)
    return None if said is None else _terms(said)


def _terms(said: Directives) -> Terms:
    lifetime = said.get("s-maxage", said.get("max-age", ""))
    stated = said.keys() & {"s-maxage", "max-age"}
    fields = ",".join(said.get(name) or "" for name in ("no-cache", "private"))
    return Terms(
        # What cannot be parsed is stale.
        lifetime=(seconds(lifetime) or 0) if stated else None,
        public="public" in said,
        no_store="no-store" in said and "must-understand" not in said,
        must_understand="must-understand" in said,
        private=_bare(said, "private"),
        shared=bool(said.keys() & {"public", "must-revalidate", "s-maxage"}),
        said_s_maxage="s-maxage" in said,
        no_cache=_bare(said, "no-cache"),
        # s-maxage means proxy-revalidate too (RFC 9111, section 5.2.2.10).
        strict=bool(said.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"}),
        stale_while_revalidate=seconds(said.get("stale-while-revalidate")) or 0,
        stale_if_error=seconds(said.get("stale-if-error")),
        withheld=frozenset(name.lower() for name in members(fields)),
    )


def _bare(said: Directives, name: str) -> bool:
    """Return whether a directive is there without a list of fields."""
    return name in said and not said[name]
