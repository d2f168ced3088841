"""A cachelib cache of the app's own, with what it does not promise made good for."""

from __future__ import annotations

import copy
import datetime as dt
from typing import IO
from typing import Any

from cachelib import MemcachedCache
from cachelib import RedisCache
from cachelib.base import BaseCache

from .base import Backend


class Bytes:
    """A serializer for cachelib that stores bytes as they are and loads no pickle."""

    def dumps(self, value: bytes | int) -> bytes:
        """Return the bytes to store; FileSystemCache counts its files in integers."""
        return value if isinstance(value, bytes) else b"%d" % value

    def loads(self, data: bytes | None) -> bytes | int | None:
        """Return the bytes as they are, but numbers as integers."""
        if data is not None and data.isdigit() and len(data) < 21:
            return int(data)
        return None if data is None or data.startswith(b"\x80") else data

    def dump(self, value: bytes | int, file: IO[bytes]) -> None:
        """Write to a file."""
        file.write(self.dumps(value))

    def load(self, file: IO[bytes]) -> bytes | int | None:
        """Read from a file."""
        return self.loads(file.read())


class Foreign(Backend):
    """A cache of the app's own; the object itself is left as it is.

    :param cache: the cache.
    """

    def __init__(self, cache: BaseCache) -> None:
        super().__init__()
        own: Any = cache
        if hasattr(cache, "serializer"):
            own = copy.copy(cache)
            own.serializer = Bytes()
        self._cache = own
        self.atomic = isinstance(cache, (RedisCache, MemcachedCache))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._cache!r}>"

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        return self._cache.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        """Return the value of each key, or None."""
        found: list[Any] = self._cache.get_many(*keys)
        return found

    def set(
        self, key: str, value: Any, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value; return whether it is there."""
        return bool(self._cache.set(key, value, timeout))

    def add(
        self, key: str, value: Any, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value where there is none, or an expired one that is in the way."""
        if self._cache.add(key, value, timeout):
            return True
        return self._cache.get(key) is None and self.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Remove a key; return whether there was one."""
        return bool(self._cache.delete(key))

    def remove(self, *keys: str) -> None:
        """Remove keys: afterwards none of them is there.

        :raises OSError: if one is.
        """
        for key in keys:
            if not self._cache.delete(key) and self._cache.get(key) is not None:
                raise OSError("the backend does not delete it")

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, and return it."""
        number: int | None = self._cache.inc(key, delta)
        return number
