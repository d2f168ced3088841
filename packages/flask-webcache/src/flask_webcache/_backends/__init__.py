"""The backends that ``WEBCACHE_URL`` can name, each a cachelib cache that holds bytes.

Shared ones are a :class:`~.base.Backend`: failures raise, nothing is unpickled, making
one connects to nothing, and each process has connections of its own. A cachelib cache
of the app's own becomes one as a :class:`~.foreign.Foreign`.

:mod:`~flask_webcache._backends.url` reads URLs and imports no client library;
:func:`connect` makes the backend.
"""

from __future__ import annotations

from importlib import import_module

from cachelib.base import BaseCache

from ..exceptions import ConfigError
from .base import Backend
from .files import Files
from .foreign import Foreign
from .memory import MemoryCache
from .url import KEY
from .url import HostDownError
from .url import Target
from .url import missing
from .url import parse


__all__ = [
    "Backend",
    "Foreign",
    "HostDownError",
    "MemoryCache",
    "Target",
    "connect",
    "parse",
]


def connect(url: str) -> BaseCache:
    """Return the backend that a URL names, without connecting to it yet.

    :raises ConfigError: for a URL that cannot work, or without the client library.
    """
    target = parse(url)
    if target.kind == "memory":
        return MemoryCache(**target.options)
    if target.kind == "file":
        limit = target.options.get("max_items", 500)
        try:
            return Files(target.path, limit)
        except OSError as error:
            remedy = f"name a directory that the app can write ({error.strerror})"
            raise ConfigError(KEY, target.shown, remedy) from error
    library = "memcached" if target.kind == "memcached" else "redis"
    try:
        module = import_module(f".{library}", __name__)
    except ImportError as error:
        raise missing(url, library) from error
    made: BaseCache = module.connect(target)
    return made
