"""The handling of a backend that fails: pauses, and purges that are owed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from ._backends import HostDownError
from ._rules.things import ALL
from ._stock import HINTS


logger = logging.getLogger("flask_webcache")

#: How long reads, or writes, are left alone after one failed, in seconds.
PAUSE = 1.0
#: How often a failure is logged, in seconds.
QUIET = 60.0
#: How often a purge that failed is retried, in seconds.
RETRY = 0.5

T = TypeVar("T")


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
                "The cache backend failed (%s); continuing without it: %s: %s",
                self._kind,
                type(error).__name__,
                error,
            )


class Owed:
    """Purges that failed: nothing they concern is used until they succeed.

    :param carry_out: purges a thing, and raises where it cannot.
    """

    def __init__(self, carry_out: Callable[[str, bool], None]) -> None:
        self._carry_out = carry_out
        self._lock = threading.Lock()
        self._things: dict[str, bool] = {}
        self._running = False

    def has(self, thing: str) -> bool:
        """Return whether the purge of a thing is owed."""
        return bool(self._things) and (thing in self._things or ALL in self._things)

    def add(self, thing: str, soft: bool) -> None:
        """Remember a purge, and retry it until it succeeds."""
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
                except Exception:  # noqa: BLE001, S112 - retried below; others may succeed
                    continue
                with self._lock:
                    if self._things.get(thing) is soft:
                        del self._things[thing]
                logger.warning("The purge of %r succeeded after a retry.", thing)
            pause.wait(RETRY)
