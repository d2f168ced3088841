"""The backends that ``WEBCACHE_URL`` can name, each a cachelib cache that holds bytes.

They differ from cachelib's own in three promises, on which the cache relies:

- A failure raises. None and False always are the backend's answer, so that an outage is
  not taken for a miss, nor a purge that failed for one of something that was not there.
- Nothing is unpickled. A shared backend takes bytes and returns bytes.
- Making one connects to nothing, and each process has connections of its own.

:mod:`~flask_webcache._backends.url` reads URLs and imports no client library;
:func:`connect` makes the backend.
"""

from __future__ import annotations

from cachelib.base import BaseCache

from .._files import Files
from ..exceptions import ConfigError
from .memory import MemoryCache
from .url import KEY
from .url import HostDownError
from .url import Target
from .url import missing
from .url import parse


__all__ = ["HostDownError", "MemoryCache", "Target", "connect", "parse"]


def connect(url: str) -> BaseCache:
    """Return the backend that a URL names, without connecting to it yet.

    :raises ConfigError: for a URL that cannot work, or without the client library.
    """
    target = parse(url)
    if target.kind == "memory":
        return MemoryCache(**target.options)
    if target.kind == "memcached":
        try:
            from .memcached import MemcachedCache
        except ImportError as error:
            raise missing(url, "memcached") from error
        return MemcachedCache(target)
    if target.kind == "file":
        limit = target.options.get("max_items", 500)
        try:
            return Files(target.path, threshold=limit, default_timeout=0)
        except OSError as error:
            remedy = f"name a directory that the app can write ({error.strerror})"
            raise ConfigError(KEY, target.shown, remedy) from error
    try:
        from .redis import RedisCache
    except ImportError as error:
        raise missing(url, "redis") from error
    return RedisCache(target)
