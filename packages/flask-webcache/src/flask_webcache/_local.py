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
from ._stock import ALL
from ._stock import HINTS
from ._stock import Look
from ._stock import Stock
from ._stock import latest
from ._stock import tag_thing
from ._stock import url_thing
from .config import Config


T = TypeVar("T")
#: The count of a generation that a purge took away.
GONE = -1


@dataclass(slots=True, eq=False, weakref_slot=True)
class Generation:
    """One generation of a thing; it lives as long as an entry or a request has it."""

    count: int = 0


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

    def get(self, thing: str) -> Generation:
        """Return the generation of a thing, a new one if need be."""
        with self.lock:
            found = self._current.get(thing)
            if found is None:
                found = self._current[thing] = Generation()
            return found

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
        known = {*tags, *self._tags.get(look.key, ())}
        if look.metadata is not None:
            known.update(look.metadata.tags)
        if look.entry is not None:
            known.update(look.entry.tags)
        things = [ALL, url_thing(look.key), *map(tag_thing, known)]
        generations = self._generations
        look.purges = generations.purges
        look.tokens = {
            thing: (one := generations.get(self._front + thing), one.count)
            for thing in things
        }

    def keep(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        """Store a response with the generations that were claimed; return whether."""
        if not look.tokens:
            return False
        things = [ALL, url_thing(look.key), *map(tag_thing, entry.tags)]
        generations = self._generations
        with generations.lock:
            new = [thing for thing in things if thing not in look.tokens]
            if new and generations.purges is not look.purges:
                if len(self._tags) >= HINTS:
                    self._tags.clear()
                self._tags[look.key] = entry.tags
                return False
            for thing in new:
                one = generations.get(self._front + thing)
                look.tokens[thing] = one, one.count
            tokens = tuple(look.tokens[thing] for thing in things)
            if any(one.count == GONE for one, _ in tokens):
                return False
            self._tags.pop(look.key, None)
            # Another request may have stored a variant meanwhile.
            current = self._get(look.key)
            if isinstance(current, Metadata):
                look.metadata = current
            return self._put(look, environ, entry._replace(tokens=tokens), now)

    def _put(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        entry, metadata, places = self.placed(look, environ, entry)
        seconds = self.seconds(entry, now)
        kept = [self._cache.set(place, entry, _whole(seconds)) for place in places]
        if metadata is not None:
            limit = self.config.max_variants
            changed, dropped = metadata.adding(entry, places, now + seconds, limit)
            for place in dropped:
                self._cache.delete(place)
            kept.append(
                self._cache.set(look.key, changed, _whole(changed.expires - now))
            )
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
            for place in self.places(key, metadata, environ)
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
