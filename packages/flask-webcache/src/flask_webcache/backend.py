"""The backend: a cachelib cache that holds our own bytes and never fails a request."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import IO
from typing import Any
from typing import TypeVar

from cachelib import FileSystemCache
from cachelib import SimpleCache
from cachelib.base import BaseCache

from ._backends import HostDownError
from ._backends import MemoryCache
from .rules.entry import Item
from .rules.entry import decode
from .rules.entry import encode


#: None on Windows, where two processes may both add to a cache on files.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

logger = logging.getLogger("flask_webcache")

#: How long a backend that failed is left alone, in seconds.
PAUSE = 1.0
#: How often its failure is logged, in seconds.
QUIET = 60.0

T = TypeVar("T")


class Bytes:
    """A serializer for cachelib that stores bytes as they are and loads no pickle."""

    def dumps(self, value: bytes | int) -> bytes:
        """Return the bytes to store; FileSystemCache counts its files in integers."""
        return value if isinstance(value, bytes) else b"%d" % value

    def loads(self, data: bytes | None) -> bytes | int | None:
        """Return the bytes as they are."""
        if data is not None and data.isdigit() and len(data) < 19:
            return int(data)
        return None if data is None or data.startswith(b"\x80") else data

    def dump(self, value: bytes | int, file: IO[bytes]) -> None:
        """Write to a file."""
        file.write(self.dumps(value))

    def load(self, file: IO[bytes]) -> bytes | int | None:
        """Read from a file."""
        return self.loads(file.read())


class Live:
    """A serializer for a cache in this process, which holds the objects themselves."""

    def dumps(self, value: T) -> T:
        """Return the object."""
        return value

    def loads(self, value: T) -> T:
        """Return the object."""
        return value


class _Files(FileSystemCache):
    serializer: Any = Bytes()


class Backend:
    """One cache as this package uses it: items by name, and silence when it fails.

    :param cache: a cachelib cache; the object itself is left as it is.
    :param prefix: what every name in a shared cache starts with.
    :param secret: what the stored bytes are signed with.
    """

    def __init__(self, cache: BaseCache, *, prefix: str, secret: bytes) -> None:
        #: Whether the cache lives in this process.
        self.local = isinstance(cache, (MemoryCache, SimpleCache))
        self._cache = _ours(cache)
        #: Looks into a local cache and nothing else.
        self.peek: Callable[[str], Any] = self._cache.get
        self._prefix = prefix
        self._secret = secret
        self._retry_at = 0.0
        self._quiet_until = 0.0

    def get(self, key: str) -> Item | None:
        """Return what is stored under a key."""
        return self.peek(key) if self.local else self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Item | None]:
        """Return what is stored under each key, in one round trip."""
        if self.local:
            return [self.peek(key) for key in keys]
        return self._try(self._read, [None] * len(keys), keys)

    def set(self, key: str, item: Item, seconds: float) -> bool:
        """Store an item for a time; tell whether it was stored."""
        if self.local:
            return bool(self._cache.set(key, item, _whole(seconds)))
        value = self._encoded(key, item)
        return bool(
            self._try(self._cache.set, False, self._name(key), value, _whole(seconds))
        )

    def add(self, key: str, item: Item, seconds: float) -> bool | None:
        """Store an item where there is none; None if the backend fails."""
        value = self._encoded(key, item)
        return self._try(self._add, None, self._name(key), value, _whole(seconds))

    def delete(self, *keys: str) -> None:
        """Remove items."""
        for key in keys:
            self._try(self._cache.delete, False, self._name(key))

    def count(self, key: str, number: int) -> None:
        """Add to a counter."""
        self._try(self._cache.inc, None, self._name(key), number)

    def counted(self, *keys: str) -> list[int]:
        """Return counters."""
        values: list[Any] = self._try(
            self._cache.get_many, [], *(self._name(key) for key in keys)
        )
        return [_integer(value) for value in values] or [0] * len(keys)

    def _read(self, keys: tuple[str, ...]) -> list[Item | None]:
        names = [self._name(key) for key in keys]
        found = self._cache.get_many(*names)
        return [
            self._decoded(name, data) for name, data in zip(names, found, strict=True)
        ]

    def _add(self, name: str, value: Any, seconds: int) -> bool:
        if isinstance(self._cache, FileSystemCache):
            return _add_file(self._cache, name, value, seconds)
        return bool(self._cache.add(name, value, seconds))

    def _name(self, key: str) -> str:
        # Hashed, for memcached takes 250 characters, and a key may be anything.
        if self.local:
            return key
        data = key.encode("utf-8", "surrogatepass")
        return self._prefix + hashlib.blake2b(data, digest_size=24).hexdigest()

    def _encoded(self, key: str, item: Item) -> Any:
        return item if self.local else encode(item, self._name(key), self._secret)

    def _decoded(self, name: str, data: object) -> Item | None:
        try:
            return decode(data, name, self._secret)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None

    def _try(self, action: Callable[..., T], otherwise: T, *arguments: Any) -> T:
        if self._retry_at and time.monotonic() < self._retry_at:
            return otherwise
        try:
            return action(*arguments)
        except HostDownError:
            # The other hosts are well, and this cost no time.
            return otherwise
        except Exception as error:  # noqa: BLE001 - each client has its own; none may reach a request
            self._failed(error)
            return otherwise

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._retry_at = now + PAUSE
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning(
                "The cache backend failed, and requests go on without it: %s: %s",
                type(error).__name__,
                error,
            )


def _ours(cache: BaseCache) -> Any:
    """Return the same cache with a serializer of ours, the original untouched."""
    if not hasattr(cache, "serializer"):
        return cache
    own: Any = copy.copy(cache)
    own.serializer = Live() if isinstance(cache, SimpleCache) else Bytes()
    return own


def _add_file(cache: FileSystemCache, name: str, value: Any, seconds: int) -> bool:
    """Add to a cache on files: once among processes, and over what has expired.

    Its own method looks and then writes, and takes what has expired for there.
    """
    folder = os.open(cache._path, os.O_RDONLY) if fcntl else None
    try:
        if folder is not None:
            fcntl.flock(folder, fcntl.LOCK_EX)
        return not cache.has(name) and cache.set(name, value, seconds)
    finally:
        if folder is not None:
            os.close(folder)


def _whole(seconds: float) -> int:
    # 0 would be for ever.
    return max(1, int(seconds + 0.999))


def _integer(value: object) -> int:
    return int(value) if isinstance(value, (int, bytes)) else 0
