"""Selection among the stored responses of one resource (RFC 9111, section 4.1).

A *selector* is the name of something in a request that selects a stored response: a
field in lower case, ``cookie=NAME`` for one cookie, or ``environ=NAME`` for a variable
of the server. Two requests select the same
response where all of its selectors have equal values; absence is a value too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .fields import members


#: Selectors in order.
Selectors = tuple[str, ...]
#: Selectors with the values that a request has; None where absent.
Selection = tuple[tuple[str, str | None], ...]
COOKIE = "cookie="
ENVIRON = "environ="


def vary_names(value: str | None) -> Selectors | None:
    """Return the fields that a Vary value names; None where it has a ``*``."""
    if not value:
        return ()
    names = {name.lower() for name in members(value)}
    return None if "*" in names else tuple(sorted(names))


def selection(names: Iterable[str], environ: Mapping[str, Any]) -> Selection:
    """Return the values of selectors in a request, normalized."""
    return tuple(
        (name, None if (value := _value(name, environ)) is None else _norm(name, value))
        for name in names
    )


def variant_keys(
    key: str, salt: str, names: Selectors, environ: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return where the responses that a request selects may be stored.

    The second key, if any, is that of the language which the request prefers to all
    others: a response in exactly this language fits whatever else it accepts.
    """
    return _keys(key, salt, names, tuple([_value(name, environ) for name in names]))


def language_key(
    key: str, salt: str, names: Selectors, environ: Mapping[str, Any], language: str
) -> str:
    """Return where a response in a language is stored for those who prefer it."""
    return _digest(key, salt, _spoken(selection(names, environ), language.lower()))


# Values may be secrets, such as bearer tokens: none of them leaves the process.
@lru_cache(maxsize=4096)
def _keys(
    key: str, salt: str, names: Selectors, values: tuple[str | None, ...]
) -> tuple[str, ...]:
    asked = tuple(
        (name, None if value is None else _norm(name, value))
        for name, value in zip(names, values, strict=True)
    )
    exact = _digest(key, salt, asked)
    wanted = dict(asked).get("accept-language")
    preferred = _preferred(wanted) if wanted else None
    if preferred is None:
        return (exact,)
    return exact, _digest(key, salt, _spoken(asked, preferred))


def _spoken(asked: Selection, language: str) -> Selection:
    # A lone "=" is no member of a list, so that no client can send this value.
    return tuple(
        (name, f"= {language}" if name == "accept-language" else value)
        for name, value in asked
    )


def _digest(key: str, salt: str, asked: Selection) -> str:
    data = json.dumps(asked).encode()
    return (
        f"{key} {hashlib.blake2b(data, digest_size=20, key=salt.encode()).hexdigest()}"
    )


def cookie(environ: Mapping[str, Any], name: str) -> str | None:
    """Return every value of one cookie in a request, joined; None where absent."""
    found = [
        value.strip()
        for pair in environ.get("HTTP_COOKIE", "").split(";")
        for key, _, value in [pair.partition("=")]
        if key.strip() == name
    ]
    return ";".join(found) if found else None


def _value(name: str, environ: Mapping[str, Any]) -> str | None:
    if name.startswith(COOKIE):
        return cookie(environ, name[len(COOKIE) :])
    if name.startswith(ENVIRON):
        found = environ.get(name[len(ENVIRON) :])
        return None if found is None else str(found)
    value: str | None = environ.get(environ_key(name))
    return value


@lru_cache(maxsize=1024)
def environ_key(name: str) -> str:
    """Return where a WSGI environment holds a field."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _norm(name: str, value: str) -> str:
    if name in ("accept-encoding", "accept-language"):
        ranked = sorted((-rank, item) for item, rank in _ranked(value))
        return ",".join(
            item if rank == -1 else f"{item};q={-rank:g}" for rank, item in ranked
        )
    if name.startswith((COOKIE, ENVIRON)):
        return value
    # A space inside a quoted string has a meaning.
    return value.strip() if '"' in value else ",".join(members(value))


def _ranked(value: str) -> list[tuple[str, float]]:
    """Return the items of a list of preferences with their weights."""
    ranked = []
    for member in members(value.lower()):
        item, _, weight = member.replace(" ", "").replace("\t", "").partition(";q=")
        try:
            ranked.append((item, float(weight) if weight else 1.0))
        except ValueError:
            ranked.append((member, 1.0))
    return ranked


def _preferred(value: str) -> str | None:
    """Return the one item that a normalized list prefers to all others."""
    ranked = _ranked(value)
    best = max(rank for _, rank in ranked)
    top = [item for item, rank in ranked if rank == best]
    return top[0] if len(top) == 1 else None
