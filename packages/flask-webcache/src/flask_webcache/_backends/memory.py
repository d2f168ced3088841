"""A cache in the memory of one process: least recently used, bounded in bytes.

Every operation takes constant time, however full the cache is: the items are kept in
the order of their last use, and storing removes the first ones until the new one fits.
An item that has expired goes when it is asked for, or when it comes first.

Reading takes no lock. Each step that it makes is atomic, and an item that is removed
between two of them is read for the last time.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from dataclasses import is_dataclass
from typing import Any

from cachelib.base import BaseCache


#: The cost of an item beside its key and value, in bytes.
OVERHEAD = 320
MAX_ITEMS = 100_000
MAX_BYTES = 64 * 1024 * 1024
#: How many parts of a value are weighed.
DEEPEST = 1000

#: When it expires, in seconds since the epoch; its size in bytes; its value.
_Item = tuple[float, int, Any]


class MemoryCache(BaseCache):
    """A cache in memory, safe to use from several threads.

    Values are kept as they are, not copied; one that has a ``cache_weight`` in bytes is
    not weighed. Pass it as ``cache=``, or set
    ``WEBCACHE_URL`` to ``simple://?max_items=…&max_bytes=…``.

    :param max_items: the number of items that are kept.
    :param max_bytes: the memory that they may take, estimated, in bytes.
    :param default_timeout: how long an item is kept that says nothing, in seconds; 0
        for as long as there is room.
    """

    def __init__(
        self,
        *,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        default_timeout: int = 0,
    ) -> None:
        for name, value in (("max_items", max_items), ("max_bytes", max_bytes)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}: set a whole number, 1 or more")
        super().__init__(default_timeout)
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._lock = threading.RLock()
        self._items: OrderedDict[str, _Item] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}"
            f"(max_items={self.max_items}, max_bytes={self.max_bytes})"
        )

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """The estimated size of what is kept, in bytes."""
        return self._bytes

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        item = self._items.get(key)
        if item is None:
            return None
        if item[0] <= time.time():
            self._expire(key, item)
            return None
        try:
            self._items.move_to_end(key)
        except KeyError:
            # Another thread has just removed it.
            return item[2]
        return item[2]

    def set(
        self, key: str, value: Any, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value; return whether it fits."""
        own: int | None = getattr(value, "cache_weight", None)
        size = OVERHEAD + len(key) + (weight(value) if own is None else own)
        expires = self._expires(timeout)
        with self._lock:
            if key in self._items:
                self._remove(key)
            if size > self.max_bytes:
                return False
            self._items[key] = expires, size, value
            self._bytes += size
            while self._bytes > self.max_bytes or len(self._items) > self.max_items:
                self._bytes -= self._items.popitem(last=False)[1][1]
        return True

    def add(
        self, key: str, value: Any, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value where there is none; return whether it was stored."""
        with self._lock:
            return not self.has(key) and self.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Remove a key; return whether there was one."""
        with self._lock:
            return self.has(key) & self._remove(key)

    def delete_many(self, *keys: str) -> list[str]:
        """Remove keys, and return them: afterwards none of them is there."""
        for key in keys:
            self.delete(key)
        return list(keys)

    def has(self, key: str) -> bool:
        """Return whether there is a value, without using it."""
        item = self._items.get(key)
        return item is not None and item[0] > time.time()

    def clear(self) -> bool:
        """Remove everything."""
        with self._lock:
            self._items.clear()
            self._bytes = 0
        return True

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to a number, and return it; its lifetime starts anew."""
        with self._lock:
            number: int = (self.get(key) or 0) + delta
            self.set(key, number)
            return number

    def dec(self, key: str, delta: int = 1) -> int:
        """Subtract from a number, and return it; its lifetime starts anew."""
        return self.inc(key, -delta)

    def _expires(self, timeout: int | dt.timedelta | None) -> float:
        if timeout is None:
            timeout = self.default_timeout
        seconds = timeout if isinstance(timeout, int) else timeout.total_seconds()
        return time.time() + seconds if seconds > 0 else math.inf

    def _expire(self, key: str, item: _Item) -> None:
        with self._lock:
            # A new value may have been stored since.
            if self._items.get(key) is item:
                self._remove(key)

    def _remove(self, key: str) -> bool:
        item = self._items.pop(key, None)
        if item is not None:
            self._bytes -= item[1]
        return item is not None


#: Types of values that contain no others, which most parts are of.
_LEAVES = frozenset({str, bytes, int, float, bool, type(None)})


def weight(value: object) -> int:
    """Return the estimated size of a value in bytes, with what it contains.

    Only the first :data:`DEEPEST` parts are counted, so that it ends for cycles too.
    """
    size, parts = 0, [value]
    for _ in range(DEEPEST):
        if not parts:
            break
        one: Any = parts.pop()
        size += sys.getsizeof(one, 64)
        if one.__class__ in _LEAVES:
            continue
        if isinstance(one, (tuple, list, set, frozenset)):
            parts.extend(one)
        elif isinstance(one, Mapping):
            parts.extend(one)
            parts.extend(one.values())
        elif is_dataclass(one):
            parts.extend(getattr(one, field.name) for field in fields(one))
    return size
