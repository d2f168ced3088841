"""One view run for concurrent requests: who runs it, and who waits."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


#: How long a resource that was not stored is let through unqueued, in seconds.
PASS_SECONDS = 60.0
#: How many such resources are remembered.
PASSES = 10_000


@dataclass(slots=True, eq=False)
class _Landing:
    until: float
    #: Made when the first one waits.
    event: threading.Event | None = None


class Flights:
    """The requests of this process that others wait for.

    :param seconds: after which one that has not ended is waited for no more.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._landings: dict[str, _Landing] = {}
        self._passes: dict[str, float] = {}

    def join(self, key: str) -> threading.Event | None:
        """Take the lead for a key, or return what to wait for."""
        now = time.monotonic()
        with self._lock:
            landing = self._landings.get(key)
            if landing is None or landing.until < now:
                self._landings[key] = _Landing(now + self._seconds)
                return None
            if landing.event is None:
                landing.event = threading.Event()
            return landing.event

    def land(self, key: str) -> None:
        """Give the lead back and wake those who wait."""
        with self._lock:
            landing = self._landings.pop(key, None)
        if landing is not None and landing.event is not None:
            landing.event.set()

    def let_pass(self, key: str, now: float) -> None:
        """Let requests for a key run side by side for a while."""
        with self._lock:
            if len(self._passes) >= PASSES:
                self._passes.clear()
            self._passes[key] = now + PASS_SECONDS

    def hold(self, key: str) -> None:
        """Make requests for a key wait for each other again."""
        self._passes.pop(key, None)

    def passes(self, key: str, now: float) -> bool:
        """Tell whether requests for a key run side by side."""
        return self._passes.get(key, 0.0) > now
