"""The stored responses in a backend that several processes share.

A look is one round trip: the entry or index of the URL, the candidates that this
process knows of, and the generations. See :mod:`flask_webcache._stock` for the rule,
and :class:`Shared` for the order of operations that keeps it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from cachelib import FileSystemCache
from cachelib.base import BaseCache

from ._backends import HostDownError
from ._files import exclusive
from ._rules.entry import LONGEST
from ._rules.entry import Entry
from ._rules.entry import Item
from ._rules.entry import Metadata
from ._rules.entry import decode
from ._rules.entry import encode
from ._stock import ALL
from ._stock import HINTS
from ._stock import Look
from ._stock import Stock
from ._stock import latest
from ._stock import remembered
from ._stock import tag_thing
from ._stock import url_thing
from .config import Config


logger = logging.getLogger("flask_webcache")

#: How long reads, or writes, are left alone after one failed, in seconds.
PAUSE = 1.0
#: How often a failure is logged, in seconds.
QUIET = 60.0
#: How often a purge that failed is tried again, in seconds.
RETRY = 0.5
#: How long a generation lives, in seconds: longer than any entry.
GENERATION_SECONDS = LONGEST + 24 * 60 * 60
#: How long those of everything live: ten years.
FOREVER = 10 * 365 * 24 * 60 * 60
#: The generation that every purge of a tag takes away.
PURGES = "purges"
#: The low bits of a generation count its soft purges.
COUNT_BITS = 16

T = TypeVar("T")
Secrets = Callable[[], Sequence[bytes]]


class Breaker:
    """Leaves one kind of operation alone for a while after it failed."""

    def __init__(self, kind: str, report: Callable[[Exception], None]) -> None:
        self._kind = kind
        self._report = report
        self._retry_at = 0.0
        self._quiet_until = 0.0

    def run(self, action: Callable[..., T], otherwise: T, *arguments: Any) -> T:
        """Return the result of an action, or another value where it fails."""
        if self._retry_at and time.monotonic() < self._retry_at:
            return otherwise
        try:
            return action(*arguments)
        except HostDownError as error:
            # The other hosts are well, and this cost no time: no pause.
            self._report(error)
            return otherwise
        except Exception as error:  # noqa: BLE001 - each client has its own; none may reach a request
            self.failed(error)
            return otherwise

    def failed(self, error: Exception) -> None:
        """Note a failure."""
        now = time.monotonic()
        self._retry_at = now + PAUSE
        self._report(error)
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning(
                "The cache backend failed (%s), and requests go on without it: %s: %s",
                self._kind,
                type(error).__name__,
                error,
            )


class Shared(Stock):
    """Responses in a cachelib cache that holds bytes.

    :param cache: the cache.
    :param front: the start of every key.
    :param secrets: returns what signs entries: the first signs, any verifies.
    :param report: called with each error of the backend.
    """

    local = False

    def __init__(
        self,
        config: Config,
        cache: BaseCache,
        front: str,
        secrets: Secrets,
        report: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        super().__init__(config)
        self.cache: Any = cache
        self._front = front
        self._secrets = secrets
        self._reads = Breaker("reading", report)
        self._writes = Breaker("writing", report)
        self._hints: dict[str, Metadata] = {}
        self._owed = _Owed(self._carry_out)

    def first(self, key: str, environ: Mapping[str, Any], now: float) -> Entry | Look:
        """Return the entry that answers a plain request at once, or a look."""
        look = self.look(key, environ)
        entry = look.entry
        return entry if entry is not None and self.answers(entry, now) else look

    def look(self, key: str, environ: Mapping[str, Any]) -> Look:
        """Return what is stored for a request, fresh or not."""
        look = Look(key)
        hint = self._hints.get(key)
        things = [ALL, PURGES, url_thing(key)]
        places = []
        if hint is not None:
            places = self.places(key, hint, environ)
            things += map(tag_thing, hint.tags)
        found: dict[str, Entry] = {}
        item = self._read(look, key, places, things, found)
        if isinstance(item, Metadata):
            look.metadata = item
            places = self.places(key, item, environ)
        else:
            look.metadata = hint
            places = []
        known = set(things)
        wanted = [place for place in places if place not in found]
        if hint is not None and hint.leads_to(look.metadata):
            wanted = []
        tags = look.metadata.tags if look.metadata is not None else ()
        entries = [found[one] for one in (key, *places) if one in found]
        tags = (*tags, *(tag for entry in entries for tag in entry.tags))
        missing = [
            one for one in dict.fromkeys(map(tag_thing, tags)) if one not in known
        ]
        if wanted or missing:
            self._read(look, None, wanted, missing, found)
            known.update(missing)
            entries = [found[one] for one in (key, *places) if one in found]
            late = {tag_thing(tag) for entry in entries for tag in entry.tags} - known
            if late:
                self._read(look, None, [], sorted(late), found)
        self._remember(look, entries)
        valid = [one for entry in entries if (one := self._valid(look, entry))]
        look.entry = latest(valid)
        return look

    def _read(
        self,
        look: Look,
        key: str | None,
        places: Sequence[str],
        things: Sequence[str],
        found: dict[str, Entry],
    ) -> Item | None:
        """Read entries and generations; return the item at the key, if one is given."""
        keys = [*([key] if key else []), *places]
        names = [self._name(one) for one in keys]
        tokens = [self._name(f"{self._front}{thing}") for thing in things]
        got = self._reads.run(self.cache.get_many, [None] * (len(names) + len(tokens)),
                              *names, *tokens)  # fmt: skip
        item: Item | None = None
        for one, name, data in zip(keys, names, got, strict=False):
            decoded = self._decoded(name, data)
            if one == key:
                item = decoded
            if isinstance(decoded, Entry):
                found[one] = decoded
        for thing, value in zip(things, got[len(names) :], strict=True):
            token = _token(value)
            if token is not None and not self._owed.has(thing):
                look.tokens[thing] = token
        if PURGES in look.tokens:
            look.purges = look.tokens.pop(PURGES)
        return item

    def _valid(self, look: Look, entry: Entry) -> Entry | None:
        """Return an entry if its generations are there; stale if counted up."""
        for thing, value in entry.tokens:
            current = look.tokens.get(thing)
            if current != value:
                if current is None or current >> COUNT_BITS != value >> COUNT_BITS:
                    return None
                entry = entry._replace(fresh_until=min(entry.fresh_until, time.time()))
        # Signed, but by an app that made it without the generation of everything.
        return entry if entry.tokens else None

    def claim(self, look: Look, tags: Iterable[str] = ()) -> None:
        """Make the generations that are missing, before the view runs.

        Where two processes add one at the same time, both go on with the one that is
        there; without one, nothing is stored.
        """
        known = {*tags, *(look.metadata.tags if look.metadata is not None else ())}
        if look.entry is not None:
            known.update(look.entry.tags)
        for thing in (ALL, url_thing(look.key), *map(tag_thing, sorted(known))):
            if thing not in look.tokens:
                token = self._made(thing)
                if token is not None:
                    look.tokens[thing] = token
        if look.purges is None:
            look.purges = self._made(PURGES)

    def _made(self, thing: str) -> int | None:
        """Return the generation of a thing that had none, made by whoever."""
        if self._owed.has(thing):
            return None
        name = self._name(f"{self._front}{thing}")
        token = (secrets.randbits(47) or 1) << COUNT_BITS
        seconds = FOREVER if thing in (ALL, PURGES) else GENERATION_SECONDS
        added = self._writes.run(self._add, None, name, b"%d" % token, seconds)
        if added is None:
            return None
        return token if added else _token(self._reads.run(self.cache.get, None, name))

    def keep(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        """Store a response with the generations that were claimed; return whether."""
        things = [ALL, url_thing(look.key), *map(tag_thing, entry.tags)]
        new = [thing for thing in things if thing not in look.tokens]
        if new and (ALL in new or url_thing(look.key) in new or look.purges is None):
            return False
        if new and not self._claim_late(look, new):
            self._index(look, remembered(look, entry), entry.born + LONGEST, now)
            return False
        if any(self._owed.has(thing) for thing in things):
            return False
        tokens = tuple((thing, look.tokens[thing]) for thing in things)
        return self._put(look, environ, entry._replace(tokens=tokens), now)

    def _claim_late(self, look: Look, things: Sequence[str]) -> bool:
        """Get the generations of new tags; return whether no tag was purged meanwhile.

        The generations first and ``purges`` after them: a purge takes ``purges`` away
        first, so that a generation from after a purge is never taken for one of before.
        """
        later = Look(look.key)
        self._read(later, None, [], things, {})
        for thing in things:
            token = later.tokens.get(thing) or self._made(thing)
            if token is None:
                return False
            look.tokens[thing] = token
        name = self._name(f"{self._front}{PURGES}")
        purges = _token(self._reads.run(self.cache.get, None, name))
        return purges is not None and bool(purges == look.purges)

    def _put(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        seconds = self.seconds(entry, now)
        entry, metadata, places = self.placed(look, environ, entry)
        if metadata is not None:
            limit = self.config.max_variants
            changed, dropped = metadata.adding(entry, places, now + seconds, limit)
            # First, as another process may have made one meanwhile.
            if changed != look.metadata and not self._index(
                look, changed, now + seconds, now
            ):
                return False
            entry, metadata, places = self.placed(look, environ, entry)
            for place in dropped:
                self._writes.run(self.cache.delete, False, self._name(place))
        elif entry.tags:
            self._hint(look.key, Metadata(tags=entry.tags))
        return all(self._set(place, entry, seconds) for place in places)

    def _index(self, look: Look, changed: Metadata, until: float, now: float) -> bool:
        """Store the index of a resource; return whether it is there."""
        seconds = max(changed.expires, until) - now
        fresh = look.metadata is None and look.entry is None
        if fresh:
            added = self._writes.run(
                self._add, None, self._name(look.key),
                self._encoded(look.key, changed), _whole(seconds),
            )  # fmt: skip
            if added is False:
                name = self._name(look.key)
                item = self._decoded(name, self._reads.run(self.cache.get, None, name))
                # The next run stores by what the other one made.
                if isinstance(item, Metadata):
                    self._hint(look.key, item)
                    look.metadata = item
                    return True
                added = self._set(look.key, changed, seconds)
            kept = bool(added)
        else:
            kept = self._set(look.key, changed, seconds)
        if kept:
            look.metadata = changed
            self._hint(look.key, changed)
        return kept

    def purge(self, thing: str, *, soft: bool = False) -> bool:
        """Make the responses of a thing invalid, or stale; return whether it is done.

        A purge does not mind that the backend failed a moment ago. One that fails is
        carried out later, by a thread.
        """
        if thing.startswith(url_thing("")):
            self._hints.pop(thing.removeprefix(url_thing("")), None)
        try:
            self._carry_out(thing, soft)
        except Exception as error:  # noqa: BLE001 - as above
            self._writes.failed(error)
            logger.error(
                "Purging %r failed, and is tried again every %.1f s: %s: %s",
                thing, RETRY, type(error).__name__, error,
            )  # fmt: skip
            self._owed.add(thing, soft)
            return False
        return True

    def _carry_out(self, thing: str, soft: bool) -> None:
        """Take the generation of a thing away, or count it up."""
        tag = thing.startswith(tag_thing(""))
        name = self._name(f"{self._front}{thing}")
        if soft and _token(self.cache.get(name)) is None:
            return
        if tag:
            self._drop(self._name(f"{self._front}{PURGES}"))
        if not soft:
            self._drop(name)
            return
        with exclusive(self.cache):
            count = self.cache.inc(name, 1)
        if count is None or count >> COUNT_BITS == 0:
            # There was none any more, and this made one.
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Delete a generation. DELETE works where a full Redis refuses SET."""
        with exclusive(self.cache):
            deleted = self.cache.delete(name)
        if not deleted and self.cache.get(name) is not None:
            raise OSError("the backend does not delete it")

    def renew(self, look: Look) -> bool:
        """Replace the generation of the URL; return whether it was the claimed one."""
        thing = url_thing(look.key)
        name = self._name(f"{self._front}{thing}")
        claimed = look.tokens.get(thing)
        current = _token(self._reads.run(self.cache.get, None, name))
        if claimed is None or current != claimed:
            self.purge(thing)
            return False
        if not self.purge(thing):
            return False
        look.tokens.pop(thing)
        self.claim(look)
        return True

    def lead(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lead; a backend that fails cannot deny it."""
        added = self._writes.run(
            self._add, None, self._name(f"{self._front}lead {name}"),
            b"=" + owner.encode(), self._lead_seconds(seconds),
        )  # fmt: skip
        return added is not False

    def led(self, name: str) -> str | None:
        """Return who has a lead."""
        stored = self._name(f"{self._front}lead {name}")
        value = self._reads.run(self.cache.get, None, stored)
        if isinstance(value, bytes) and value[:1] == b"=":
            return value[1:].decode("ascii", "replace")
        return None

    def extend_lead(self, name: str, owner: str, seconds: float) -> bool:
        """Keep a lead for longer; return whether it is still the owner's."""
        if self.led(name) != owner:
            return False
        stored = self._name(f"{self._front}lead {name}")
        value, whole = b"=" + owner.encode(), self._lead_seconds(seconds)
        return bool(self._writes.run(self.cache.set, False, stored, value, whole))

    def _lead_seconds(self, seconds: float) -> int:
        # Files expire at the turn of a second, up to one too early.
        return _whole(seconds) + isinstance(self.cache, FileSystemCache)

    def end_lead(self, name: str, owner: str) -> None:
        """Give a lead back if it is still the owner's."""
        if self.led(name) == owner:
            stored = self._name(f"{self._front}lead {name}")
            self._writes.run(self.cache.delete, False, stored)

    def count(self, name: str, number: int) -> bool:
        """Add to a counter of all processes; return whether it is done."""
        stored = self._name(f"{self._front}count {name}")
        return self._writes.run(self._increase, False, stored, number)

    def _increase(self, name: str, number: int) -> bool:
        with exclusive(self.cache):
            increased: int | None = self.cache.inc(name, number)
        return increased is not None

    def counted(self, names: Iterable[str]) -> dict[str, int]:
        """Return the counters of all processes.

        :raises Exception: the backend's own, where it fails.
        """
        listed = list(names)
        stored = [self._name(f"{self._front}count {name}") for name in listed]
        values = self.cache.get_many(*stored)
        return {
            name: _token(value) or 0 for name, value in zip(listed, values, strict=True)
        }

    def _remember(self, look: Look, entries: Sequence[Entry]) -> None:
        tags = {tag for entry in entries for tag in entry.tags}
        metadata = look.metadata
        if metadata is not None and (metadata.sets or metadata.tags):
            self._hint(look.key, metadata)
        elif tags:
            self._hint(look.key, Metadata(tags=tuple(sorted(tags))))

    def _hint(self, key: str, metadata: Metadata) -> None:
        if key not in self._hints and len(self._hints) >= HINTS:
            self._hints.clear()
        self._hints[key] = metadata

    def _add(self, name: str, value: bytes, seconds: int) -> bool:
        with exclusive(self.cache):
            return bool(self.cache.add(name, value, seconds))

    def _set(self, key: str, item: Item, seconds: float) -> bool:
        name, value = self._name(key), self._encoded(key, item)
        return bool(
            self._writes.run(self.cache.set, False, name, value, _whole(seconds))
        )

    def _name(self, key: str) -> str:
        # Hashed, for memcached takes 250 characters, and a key may be anything.
        data = key.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=24).hexdigest()
        return self.config.key_prefix + digest

    def _encoded(self, key: str, item: Item) -> bytes:
        return encode(item, self._name(key), self._secrets()[0])

    def _decoded(self, name: str, data: object) -> Item | None:
        if not isinstance(data, bytes):
            return None
        try:
            return decode(data, name, self._secrets())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None


class _Owed:
    """Purges that failed: nothing they concern is used until they got through."""

    def __init__(self, carry_out: Callable[[str, bool], None]) -> None:
        self._carry_out = carry_out
        self._lock = threading.Lock()
        self._things: dict[str, bool] = {}
        self._running = False

    def has(self, thing: str) -> bool:
        """Return whether the purge of a thing is owed."""
        return bool(self._things) and (thing in self._things or ALL in self._things)

    def add(self, thing: str, soft: bool) -> None:
        """Remember a purge, and try again until it gets through."""
        with self._lock:
            if len(self._things) >= HINTS:
                self._things = {ALL: False}
            # A hard one stays hard.
            self._things[thing] = soft and self._things.get(thing, True)
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="webcache-purge", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._things:
                    self._running = False
                    return
                things = dict(self._things)
            for thing, soft in things.items():
                try:
                    self._carry_out(thing, soft)
                except Exception:  # noqa: BLE001 - tried again below
                    break
                with self._lock:
                    if self._things.get(thing) is soft:
                        del self._things[thing]
                logger.warning("Purging %r got through.", thing)
            pause.wait(RETRY)


def _token(value: object) -> int | None:
    """Return a generation or counter as it was read; None for anything else."""
    if isinstance(value, bytes) and value.strip().isdigit() and len(value) < 21:
        # Memcached pads numbers that were counted down with spaces.
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _whole(seconds: float) -> int:
    # 0 would be for ever.
    return max(1, int(seconds + 0.999))
