"""Selection among the stored responses of one resource (RFC 9111, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from .fields import members


#: The selecting fields with the values that a request had; None where absent.
Selection = tuple[tuple[str, str | None], ...]


def vary_names(value: str | None) -> tuple[str, ...] | None:
    """Return the fields that a Vary value names; None where it has a ``*``."""
    if not value:
        return ()
    names = {name.lower() for name in members(value)}
    return None if "*" in names else tuple(sorted(names))


def selection(names: Iterable[str], environ: Mapping[str, Any]) -> Selection:
    """Return what a request says in the selecting fields, normalised."""
    return tuple(
        (name, None if (value := _value(name, environ)) is None else _norm(name, value))
        for name in names
    )


def matches(stored: Selection, language: str | None, asked: Selection) -> bool:
    """Tell whether a stored response fits what a request selects.

    :param language: the stored Content-Language. Where a request prefers exactly
        this language to all others, the response fits whatever else it accepts.
    """
    for (name, was), (_, now) in zip(stored, asked, strict=True):
        if was == now:
            continue
        if name != "accept-language" or not language or not now:
            return False
        if _preferred(now) != language.lower():
            return False
    return True


def _value(name: str, environ: Mapping[str, Any]) -> str | None:
    key = name.upper().replace("-", "_")
    return environ.get(
        key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    )


def _norm(name: str, value: str) -> str:
    if name in ("accept-encoding", "accept-language"):
        ranked = sorted((-rank, item) for item, rank in _ranked(value))
        return ",".join(
            item if rank == -1 else f"{item};q={-rank:g}" for rank, item in ranked
        )
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
    """Return the one item that a normalised list prefers to all others."""
    ranked = _ranked(value)
    best = max(rank for _, rank in ranked)
    top = [item for item, rank in ranked if rank == best]
    return top[0] if len(top) == 1 else None
