"""The stored responses of one process, as live objects."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import TypeVar
from weakref import WeakKeyDictionary
from weakref import WeakValueDictionary

from cachelib.base import BaseCache

from ._rules.entry import Entry
from ._rules.entry import Metadata
from ._rules.policy import kept_seconds
from ._rules.things import Look
from ._rules.things import tag_thing
from ._rules.things import url_thing
from ._stock import HINTS
from ._stock import Stock
from ._stock import latest
from .config import Config


T = TypeVar("T")
#: The count of a generation that a purge took away.
GONE = -1


@dataclass(slots=True, eq=False, weakref_slot=True)
class Generation:
    """One generation of a thing; it lives as long as an entry or a request has it."""

    count: int = 0


#: A generation, and its count when it was claimed.
Token = tuple[Generation, int]


class Live:
    """A serializer for a cache in this process, which holds the objects themselves."""

    def dumps(self, value: T) -> T:
        """Return the object."""
        return value

    def loads(self, value: T) -> T:
        """Return the object."""
        return value


class _Generations:
    """The generations of every app on one cache."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.purges = Generation()
        self._current: WeakValueDictionary[str, Generation] = WeakValueDictionary()

    def claim(self, front: str, things: Iterable[str]) -> dict[str, Token]:
        """Return the generations of things with their counts, new ones if need be."""
        claimed, current = {}, self._current
        with self.lock:
            for thing in things:
                name = front + thing
                one = current.get(name)
                if one is None:
                    one = current[name] = Generation()
                claimed[thing] = one, one.count
        return claimed

    def purge(self, thing: str, *, soft: bool, tag: bool) -> None:
        """Take the generation of a thing away, or count it up."""
        with self.lock:
            if tag:
                self.purges = Generation()
            found = self._current.get(thing)
            if found is not None and soft:
                found.count += 1
            elif found is not None:
                found.count = GONE
                del self._current[thing]


_OF_CACHES: WeakKeyDictionary[object, _Generations] = WeakKeyDictionary()


class Local(Stock):
    """Responses in a cache of this process.

    :param cache: the cache; the object itself is left as it is.
    :param front: the start of every key.
    """

    local = True

    def __init__(self, config: Config, cache: BaseCache, front: str) -> None:
        super().__init__(config)
        self._generations = _OF_CACHES.setdefault(cache, _Generations())
        own: Any = cache
        if hasattr(cache, "serializer"):
            own = copy.copy(cache)
            own.serializer = Live()
        self._cache = own
        self._get = own.get
        self._front = front
        #: Tags of responses that could not be stored for them.
        self._tags: dict[str, tuple[str, ...]] = {}

    def first(self, key: str, environ: Mapping[str, Any], now: float) -> Entry | Look:
        """Return the entry that answers a plain request at once, or a look."""
        item = self._get(key)
        if item.__class__ is Entry:
            entry: Entry = item
        elif item is None:
            return Look(key)
        else:
            look = self._chosen(key, item, environ)
            if look.entry is None:
                return look
            entry = look.entry
        for generation, count in entry.tokens:
            if generation.count != count:
                return self.look(key, environ)
        if self.answers(entry, now):
            return entry
        return self.look(key, environ)

    def look(self, key: str, environ: Mapping[str, Any]) -> Look:
        """Return what is stored for a request, fresh or not."""
        item = self._get(key)
        if isinstance(item, Metadata):
            return self._chosen(key, item, environ)
        return Look(key, _valid(item))

    def claim(self, look: Look, tags: Iterable[str] = ()) -> None:
        """Take hold of the generations, before the view runs."""
        known: set[str] = set()
        for more in (
            tags,
            self._tags.get(look.key),
            look.metadata and look.metadata.tags,
            look.entry and look.entry.tags,
        ):
            if more:
                known.update(more)
        generations = self._generations
        look.purges = generations.purges
        look.tokens = generations.claim(self._front, look.things(tuple(known)))

    def keep(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        """Store a response with the generations that were claimed; return whether."""
        claimed = look.tokens
        if not claimed:
            return False
        things = look.things(entry.tags)
        with self._generations.lock:
            if entry.tags and not self._claim_late(look, things, entry):
                return False
            tokens = tuple([claimed[thing] for thing in things])
            for one, _ in tokens:
                if one.count == GONE:
                    return False
            entry = entry.under(tokens)
            seconds = kept_seconds(entry, now, *self._stale)
            if entry.vary:
                return self._put(look, environ, entry, now, seconds)
            return bool(self._cache.set(look.key, entry, _whole(seconds)))

    def _claim_late(self, look: Look, things: list[str], entry: Entry) -> bool:
        """Get the generations of new tags; return whether no tag was purged since."""
        new = [thing for thing in things if thing not in look.tokens]
        if new and self._generations.purges is not look.purges:
            if len(self._tags) >= HINTS:
                self._tags.clear()
            self._tags[look.key] = entry.tags
            return False
        look.tokens.update(self._generations.claim(self._front, new))
        self._tags.pop(look.key, None)
        return True

    def _put(
        self,
        look: Look,
        environ: Mapping[str, Any],
        entry: Entry,
        now: float,
        seconds: float,
    ) -> bool:
        """Store a response that varies, and the index that leads to it."""
        # Another request may have stored a variant meanwhile.
        current = self._get(look.key)
        if not isinstance(current, Metadata):
            current = look.metadata or Metadata()
        entry, places = current.placed(look.key, environ, entry)
        limit, until = self.config.max_variants, now + seconds
        changed, dropped = current.adding(entry, places, until, limit)
        kept = [self._cache.set(place, entry, _whole(seconds)) for place in places]
        for place in dropped:
            self._cache.delete(place)
        kept.append(self._cache.set(look.key, changed, _whole(changed.expires - now)))
        return all(kept)

    def purge(self, thing: str, *, soft: bool = False) -> bool:
        """Make the responses of a thing invalid, or stale; it is always done."""
        tag = thing.startswith(tag_thing(""))
        self._generations.purge(self._front + thing, soft=soft, tag=tag)
        if not soft and thing.startswith(url_thing("")):
            self._cache.delete(thing.removeprefix(url_thing("")))
        return True

    def renew(self, look: Look) -> bool:
        """Replace the generation of the URL; return whether it was the claimed one."""
        thing = url_thing(look.key)
        with self._generations.lock:
            one, _ = look.tokens.get(thing, (None, 0))
            if one is None or one.count == GONE:
                return False
            self.purge(thing)
            self.claim(look)
            return True

    def _chosen(self, key: str, metadata: Metadata, environ: Mapping[str, Any]) -> Look:
        """Return the latest valid response that a request selects."""
        found = [
            entry
            for place in metadata.places(key, environ)
            if (entry := _valid(self._get(place))) is not None
        ]
        entry = found[0] if len(found) == 1 else latest(found)
        return Look(key, entry, metadata)


def _valid(item: object) -> Entry | None:
    """Return an entry if its generations are current; stale if one was counted up."""
    if not isinstance(item, Entry):
        return None
    for generation, count in item.tokens:
        if generation.count != count:
            if generation.count == GONE:
                return None
            item = item._replace(fresh_until=min(item.fresh_until, time.time()))
    return item


def _whole(seconds: float) -> int:
    # 0 would be for ever.
    return max(1, int(seconds + 0.999))
