"""Says in a few words what a record means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from demo.recorder import Record


@dataclass(frozen=True, slots=True)
class Chip:
    """A few words, and what they are about: server, cache, hint, stream or store."""

    about: str
    text: str


#: Reasons of most pages not to be cached: nobody asked for it, or they are files.
USUAL = {"no-freshness", "streamed", "method"}


def size(count: float) -> str:
    """Return a number of bytes for people: ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def milliseconds(value: float) -> str:
    """Return a time for people: ``0.7 ms``, ``520 ms``."""
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def chips(record: Record) -> list[Chip]:
    """Return what is worth saying of a request, the most important first."""
    return [
        *sender(record), *cache(record), *hints(record),
        *(Chip("store", text) for text in record.notes),
    ]  # fmt: skip


def sender(record: Record) -> Iterator[Chip]:
    """Return the sender of the bytes, and their number."""
    if record.received:
        yield Chip("store", f"Flask received {size(record.received)}")
    status = record.status[:3]
    if record.front.get("file"):
        yield Chip("front", f"nginx sent {size(int(record.front['bytes']))}")
        yield Chip("server", f"Flask sent {size(record.sent)}")
    elif status == "304":
        yield Chip("server", "nothing sent: the browser has it")
    elif record.failure:
        yield Chip("stream", f"broke after {size(record.sent)}, and the browser knows")
    elif record.sent:
        streamed = f" in {record.chunks} chunks" if record.chunks > 1 else ""
        yield Chip("server", f"Flask sent {size(record.sent)}{streamed}")
    elif status[:1] == "3":
        yield Chip("server", "Flask sends the browser on")


def cache(record: Record) -> Iterator[Chip]:
    """Say what the cache did (RFC 9211)."""
    status = record.field("Cache-Status")
    if "hit" in status:
        left = re.search(r"ttl=(-?\d+)", status)
        seconds = int(left[1]) if left else 0
        yield Chip("cache", f"cache hit, {seconds} s left" if seconds > 0 else
                   "cache hit, stale: renewed in the background")  # fmt: skip
        yield Chip("cache", "view did not run")
    elif "stored" in status:
        yield Chip("cache", "cache miss, stored now")
    elif (reason := re.search(r"detail=\"?([\w-]+)", status)) and reason[
        1
    ] not in USUAL:
        yield Chip("cache", f"not cached: {reason[1]}")


def hints(record: Record) -> Iterator[Chip]:
    """Return the files that the browser was told to fetch."""
    if record.hint:
        yield Chip("hint", f"103 after {milliseconds(record.hint[0])}")
    if links := record.field("Link"):
        count = links.count("rel=")
        yield Chip("hint", f"{count} file{'s' * (count > 1)} in Link")


def stations(record: Record) -> list[Chip]:
    """Return the servers that handled the request, in order."""
    if "hit" in record.field("Cache-Status"):
        flask = Chip("cache", "the cache answered")
    elif record.front.get("file"):
        flask = Chip("server", "Flask decided")
    else:
        flask = Chip("server", "Flask answered")
    front = []
    if record.front:
        did = "sent the file" if record.front.get("file") else "passed it on"
        front = [Chip("front", f"nginx {did}")]
    return [flask, *front, Chip("", "browser")]
