"""The live parts of one app's cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from cachelib import SimpleCache
from cachelib.base import BaseCache
from flask import Flask

from ._backends import Backend
from ._backends import Foreign
from ._backends import MemoryCache
from ._backends import connect
from ._events import Events
from ._local import Local
from ._renewing import Renewals
from ._rules import keys
from ._shared import Shared
from ._waiting import Leads


if TYPE_CHECKING:
    from ._stock import Stock
    from .config import Config


Environ = Mapping[str, Any]
logger = logging.getLogger("flask_webcache")


class Cache:
    """One app's cache: its configuration, stored responses, leads and events.

    :param app: the app; its secret keys are read when they are needed.
    :param cache: a cachelib cache; the one that the configuration names if it is None.
    """

    def __init__(self, app: Flask, config: Config, cache: BaseCache | None) -> None:
        self.app = app
        self.config = config
        self.events: Events = Events(app)
        #: Whether the cache stands around the app, too.
        self.around: bool = False
        self._front = f"{config.key_prefix}{config.master_salt} "
        self._ignored = config.ignored_query
        self._ordered = config.sort_query
        #: Return the key of the resource that a request is for.
        self.key: Callable[[Environ], str] = keys.reader(
            self._front, self._ignored, self._ordered, config.key_callback
        )
        #: Return whether nothing of a path is stored.
        self.exempt: Callable[[Environ], bool] = keys.below(config.resource_exemptions)
        self.stock: Stock = self._stock(connect(config.url) if cache is None else cache)
        #: Whether to say that no other process sees what is stored.
        self.lonely: bool = self.stock.local
        self.leads: Leads = Leads(
            self.stock.vault, config.lock_seconds, config.wait_seconds
        )
        self.renewals: Renewals = Renewals(self)

    def _stock(self, cache: BaseCache) -> Stock:
        if is_local(cache):
            return Local(self.config, cache, self._front)
        if not self.app.secret_key:
            logger.warning(
                "%r has no SECRET_KEY, so anyone who can write to the backend can "
                "forge pages. Set SECRET_KEY; stored responses are signed with it.",
                self.app.name,
            )
        backend = cache if isinstance(cache, Backend) else Foreign(cache)
        return Shared(self.config, backend, self._front, self.secrets, self._failed)

    def _failed(self, error: Exception) -> None:  # noqa: ARG002 - the logger has it
        self.events.note("backend-error")

    def secrets(self) -> Sequence[bytes]:
        """Return what signs stored responses: the first signs, any verifies."""
        fallbacks = self.app.config.get("SECRET_KEY_FALLBACKS") or ()
        return [
            one.encode() if isinstance(one, str) else one
            for one in (self.app.secret_key or b"", *fallbacks)
        ]

    def url_key(self, url: str) -> str:
        """Return the key of the resource at an absolute URL."""
        return self._front + keys.of_url(url, self._ignored, self._ordered)

    def purge_key(self, key: str, *, soft: bool = False) -> bool:
        """Purge the resource with a key; return whether it is done."""
        return self._purged(self.stock.purge_key(key, soft=soft))

    def purge_tag(self, tag: str, *, soft: bool = False) -> bool:
        """Purge the responses with a tag; return whether it is done."""
        return self._purged(self.stock.purge_tag(tag, soft=soft))

    def purge_all(self) -> bool:
        """Purge everything; return whether it is done."""
        return self._purged(self.stock.purge_all())

    def _purged(self, done: bool) -> bool:
        self.events.note("purged" if done else "purge-failed")
        return done

    def stats(self) -> dict[str, int]:
        """Return the counters."""
        return self.events.stats(self.stock.vault)


def is_local(cache: BaseCache) -> bool:
    """Return whether a cache lives in this process."""
    return isinstance(cache, (MemoryCache, SimpleCache))
