"""The stored responses of one app."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .backend import Backend
from .config import Config
from .flights import Flights
from .rules import keys
from .rules.conditions import precondition
from .rules.entry import LONGEST
from .rules.entry import Entry
from .rules.entry import Item
from .rules.entry import Metadata
from .rules.entry import Variant
from .rules.entry import variant_key
from .rules.variants import Selection
from .rules.variants import selection


#: How long it is remembered that a resource was purged, in seconds; a view that
#: began before the purge and takes longer could bring the old response back.
PURGED_SECONDS = 600
#: How many resources a process knows the selecting fields and the tags of.
HINTS = 10_000
#: How often counters are brought together in a shared backend, in seconds.
FLUSH_SECONDS = 10.0
NOT_MODIFIED = "304 NOT MODIFIED"
COUNTERS = ("hit", "stale", "miss")


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for one request."""

    entry: Entry | None = None
    metadata: Metadata | None = None

    @property
    def reason(self) -> str:
        """Why a request is forwarded where there is no entry (RFC 9211)."""
        varies = self.metadata is not None and self.metadata.variants
        return "vary-miss" if varies else "uri-miss"


NOTHING = Found()


@dataclass(frozen=True, slots=True)
class _Hint:
    """What to read beside the resource itself, so that one round trip will do."""

    names: tuple[tuple[str, ...], ...] = ()
    tags: tuple[str, ...] = ()


_NO_HINT = _Hint()


class Resources:
    """The stored responses of one app: found, kept and purged."""

    def __init__(self, config: Config, backend: Backend) -> None:
        self.config = config
        self.backend = backend
        self.flights = Flights(config.lock_seconds)
        self.counts: Counter[str] = Counter()
        #: When everything was purged in this process.
        self.purged = 0.0
        #: When a resource was last purged in this process.
        self._last_purge = 0.0
        self._front = f"{config.key_prefix}{config.master_salt} "
        self._name = config.cache_name
        self._ignored = config.ignored_query
        self._ordered = config.sort_query
        self._early = config.preemptive_recache_seconds
        self._hints: dict[str, _Hint] = {}
        self._marks: dict[str, float] = {}
        self._lock = threading.Lock()
        self._flush_at = time.monotonic() + FLUSH_SECONDS

    def key(self, environ: Mapping[str, Any]) -> str:
        """Return the key of the resource that a request is for."""
        return self._front + keys.of_request(environ, self._ignored, self._ordered)

    def url_key(self, url: str) -> str:
        """Return the key of the resource at an absolute URL."""
        return self._front + keys.of_url(url, self._ignored, self._ordered)

    def exempt(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether nothing of a path is stored."""
        prefixes = self.config.resource_exemptions
        return bool(prefixes) and environ.get("PATH_INFO", "").startswith(prefixes)

    def first_look(
        self, key: str, environ: Mapping[str, Any], now: float
    ) -> Entry | Found:
        """Return what answers a plain request at once, or else what there is."""
        if self.backend.local:
            item = self.backend.peek(key)
            if item is None:
                return NOTHING
            if item.__class__ is Entry and self._answers(item, now):
                entry: Entry = item
                return entry
        found = self.find(key, environ)
        if found.entry is not None and self._answers(found.entry, now):
            return found.entry
        return found

    def find(self, key: str, environ: Mapping[str, Any]) -> Found:
        """Return what is stored for a request, fresh or not."""
        hint = self._hints.get(key, _NO_HINT)
        got = self._read(
            [
                key,
                *(variant_key(key, selection(names, environ)) for names in hint.names),
                *self._marked(hint.tags),
            ]
        )
        item = got[key]
        metadata = item if isinstance(item, Metadata) else None
        if metadata is not None:
            item = self._chosen(key, metadata, environ, got)
        if not isinstance(item, Entry):
            return Found(None, metadata) if metadata else NOTHING
        missing = [mark for mark in self._marked(item.tags) if mark not in got]
        if missing:
            got |= self._read(missing)
        self._remember(key, _Hint(metadata.names() if metadata else (), item.tags))
        return Found(item if self._current(item, got) else None, metadata)

    def keep(self, key: str, entry: Entry, now: float) -> bool:
        """Store a response, unless the resource was purged since it was begun."""
        with self._lock:
            metadata = None
            # In this process, nothing but a purge or a variant leaves metadata.
            if (
                entry.vary
                or not self.backend.local
                or self._last_purge >= entry.started
            ):
                current = self.backend.get(key)
                metadata = current if isinstance(current, Metadata) else None
            if self.purged >= entry.started:
                return False
            if metadata is not None and metadata.purged >= entry.started:
                return False
            if entry.vary:
                return self._keep_variant(key, metadata or Metadata(), entry, now)
            return self.backend.set(key, entry, self._seconds(entry, now))

    def _keep_variant(
        self, key: str, metadata: Metadata, entry: Entry, now: float
    ) -> bool:
        seconds = self._seconds(entry, now)
        variant = Variant(entry.vary, entry.language, now + seconds)
        limit = self.config.max_variants
        metadata, dropped = metadata.adding(variant, now, limit)
        entry = entry._replace(salt=metadata.salt)
        # The response first, so that nobody is led to what is not there yet.
        if not self.backend.set(variant.name(key), entry, seconds):
            return False
        self.backend.delete(*(one.name(key) for one in dropped))
        longest = max(one.expires for one in metadata.variants) - now
        return self.backend.set(key, metadata, longest)

    def purge(self, key: str) -> None:
        """Make whatever is stored of a resource, or being made for it, invalid."""
        with self._lock:
            self._last_purge = time.time()
            metadata = Metadata(purged=self._last_purge)
            self.backend.set(key, metadata, PURGED_SECONDS)
        self._hints.pop(key, None)

    def purge_tag(self, tag: str) -> None:
        """Make every response with a tag invalid."""
        now = time.time()
        if not self.backend.local:
            self.backend.set(self._mark(tag), repr(now), LONGEST)
        elif len(self._marks) < HINTS:
            self._marks[tag] = now
        else:
            self.purge_all()

    def purge_all(self) -> None:
        """Make every response invalid."""
        self.purged = time.time()
        self._marks.clear()
        if not self.backend.local:
            self.backend.set(self._mark(""), repr(self.purged), LONGEST)

    def hit(
        self, entry: Entry, environ: Mapping[str, Any], now: float
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return the status, fields and body of a fresh hit for a plain request.

        A 304 comes with all of the fields; :func:`lean` leaves out what it must.
        """
        self.counts["hit"] += 1
        age = int(now - entry.born)
        said = (
            ("Age", str(max(0, age))),
            ("Cache-Status", f"{self._name}; hit; ttl={int(entry.fresh_until - now)}"),
            ("X-Cache", "hit"),
        )
        if _unchanged(entry, environ):
            return NOT_MODIFIED, [*entry.headers, *said], b""
        return entry.status, [*entry.headers, *said], entry.body

    def count(self, what: str) -> None:
        """Count an answer."""
        self.counts[what] += 1
        if not self.backend.local and time.monotonic() > self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Bring this process's counters to those of the others."""
        self._flush_at = time.monotonic() + FLUSH_SECONDS
        counts, self.counts = self.counts, Counter()
        for what, number in counts.items():
            self.backend.count(self._front + what, number)

    def counters(self) -> dict[str, int]:
        """Return the counters, of every process where the backend is shared."""
        if self.backend.local:
            return {what: self.counts[what] for what in COUNTERS}
        self.flush()
        names = [self._front + what for what in COUNTERS]
        return dict(zip(COUNTERS, self.backend.counted(*names), strict=True))

    def _answers(self, entry: Entry, now: float) -> bool:
        """Tell whether an entry is fresh for a while and not purged here."""
        return (
            now < entry.fresh_until - self._early
            and not entry.no_cache
            and entry.started > self.purged
            and (not entry.tags or not self.backend.local or self._current(entry, {}))
        )

    def _read(self, names: list[str]) -> dict[str, Item | None]:
        return dict(zip(names, self.backend.get_many(*names), strict=True))

    def _chosen(
        self,
        key: str,
        metadata: Metadata,
        environ: Mapping[str, Any],
        got: dict[str, Item | None],
    ) -> Item | None:
        """Return the stored response that a request selects."""
        asked: list[Selection] = [
            selection(names, environ) for names in metadata.names()
        ]
        variant = metadata.choose(asked)
        # One that two processes stored at once may be listed by neither.
        exact = [variant_key(key, one) for one in asked]
        names = [variant.name(key)] if variant else exact
        if missing := [name for name in names if name not in got]:
            got |= self._read(missing)
        for name in names:
            entry = got[name]
            if isinstance(entry, Entry) and entry.salt == metadata.salt:
                return entry
        return None

    def _current(self, entry: Entry, got: Mapping[str, Item | None]) -> bool:
        """Tell whether an entry was begun after its tags and all were purged."""
        if self.backend.local:
            marks = self._marks
            return entry.started > self.purged and all(
                entry.started > marks.get(tag, 0.0) for tag in entry.tags
            )
        return all(
            entry.started > _moment(got.get(mark)) for mark in self._marked(entry.tags)
        )

    def _marked(self, tags: Iterable[str]) -> list[str]:
        """Return where it is written when these tags and all were purged."""
        if self.backend.local:
            return []
        return [self._mark(""), *(self._mark(tag) for tag in tags)]

    def _mark(self, tag: str) -> str:
        return f"{self._front}tag {tag}"

    def _remember(self, key: str, hint: _Hint) -> None:
        if hint.names or hint.tags:
            if len(self._hints) >= HINTS:
                self._hints.clear()
            self._hints[key] = hint
        else:
            self._hints.pop(key, None)

    def _seconds(self, entry: Entry, now: float) -> float:
        """Return how long the backend is to keep a response."""
        config = self.config
        if entry.strict or entry.no_cache:
            stale = 0
        else:
            error = entry.stale_if_error
            grace = config.stale_on_error if error is None else error
            stale = max(entry.stale_while_revalidate, grace)
        if entry.validator:
            stale = max(stale, config.keep_seconds)
        return min(max(0.0, entry.fresh_until - now) + stale, LONGEST)


def _unchanged(entry: Entry, environ: Mapping[str, Any]) -> bool:
    """Tell whether a plain request is one for a change that did not happen."""
    if "HTTP_IF_NONE_MATCH" in environ:
        if entry.status[0] == "2" and environ["HTTP_IF_NONE_MATCH"] == entry.etag:
            return True
    elif "HTTP_IF_MODIFIED_SINCE" not in environ:
        return False
    etag, modified = entry.etag, entry.last_modified
    return (
        entry.status[0] == "2"
        and precondition(environ, environ["REQUEST_METHOD"], etag, modified) == 304
    )


def _moment(mark: Item | None) -> float:
    try:
        return float(mark) if isinstance(mark, str) else 0.0
    except ValueError:
        return 0.0
