"""Renewing stored responses in the background: when, and by a bounded pool."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING
from typing import Any

from . import recache


if TYPE_CHECKING:
    from ._cache import Cache
    from ._exchange import Exchange
    from ._rules.entry import Entry


logger = logging.getLogger("flask_webcache")

#: How long a renewal that is not heard of is not asked for again, in seconds.
RENEW_SECONDS = 30.0
#: How many threads of a process renew, and how many renewals wait for them.
THREADS, QUEUE = 4, 1000
#: How long a thread waits for more work, in seconds.
IDLE = 5.0


class Renewals:
    """The renewals of one app."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pool = Pool()

    def ask(self, exchange: Exchange, entry: Entry) -> None:
        """Have a stored response renewed, once at a time among all processes."""
        cache, page = exchange.cache, exchange.page
        owner = cache.leads.claim(f"renew {page}", RENEW_SECONDS)
        if owner is None:
            return
        cache.events.note("renewal")
        task = recache.of_request(exchange.environ, entry.vary, page, owner)
        dispatch = cache.config.preemptive_recache_callback
        try:
            if dispatch is not None:
                with cache.app.app_context():
                    dispatch(task)
            elif not self._pool.submit(recache.run, cache.app, task):
                self.done(page, owner)
        except Exception:
            logger.exception("The renewal of %s could not be dispatched.", task.path)
            self.done(page, owner)

    def done(self, page: str, owner: str) -> None:
        """Let the response be renewed again."""
        self._cache.leads.unclaim(f"renew {page}", owner)


class Pool:
    """A few threads that start when there is work and end when there is none."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._work: deque[tuple[Any, ...]] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, action: Any, *arguments: Any) -> bool:
        """Have an action called soon; return False if too many wait already."""
        with self._ready:
            if len(self._work) >= QUEUE:
                return False
            self._work.append((action, *arguments))
            if self._idle:
                self._ready.notify()
            elif self._threads < THREADS:
                self._threads += 1
                threading.Thread(
                    target=self._run, name="webcache-recache", daemon=True
                ).start()
        return True

    def _run(self) -> None:
        while True:
            with self._ready:
                if not self._work:
                    self._idle += 1
                    self._ready.wait(IDLE)
                    self._idle -= 1
                if not self._work:
                    self._threads -= 1
                    return
                action, *arguments = self._work.popleft()
            try:
                action(*arguments)
            except Exception:
                logger.exception("A renewal failed.")
