"""Few lines in the log for work that fails again and again until it works.

A line per attempt of each of a thousand uploads would bury all else. An outage begins
with the first thing that fails and ends when none that failed is left. It is told when
it begins, then after one minute, two, four and so on up to an hour, and at its end.
"""

from __future__ import annotations

import logging
import time


logger: logging.Logger = logging.getLogger("flask_store")
FIRST_GAP = 60.0
LONGEST_GAP = 3600.0


class Outage:
    """Count what fails, and tell the log of it with growing distance.

    Several threads may use it without a lock: at worst a line is told twice.

    :param what: what is failing, as the log calls it, such as ``"uploads"``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        #: What has failed and is not known to have ended.
        self._open: set[str] = set()
        self._begun = 0.0
        self._attempts = 0
        self._gap = FIRST_GAP
        self._next = 0.0

    def failed(self, item: str, error: Exception) -> None:
        """Note that an attempt at something has failed, and will be made again."""
        now = time.monotonic()
        if not self._open:
            self._begun, self._attempts, self._gap = now, 0, FIRST_GAP
            self._next = now + FIRST_GAP
            logger.warning("%s; retrying until it works", error)
        self._open.add(item)
        self._attempts += 1
        if now >= self._next:
            self._gap = min(2 * self._gap, LONGEST_GAP)
            self._next = now + self._gap
            logger.warning(
                "%d %s have been failing for %.0f s, after %d attempts; the last "
                "error: %s",
                len(self._open),
                self._what,
                now - self._begun,
                self._attempts,
                error,
            )

    def ended(self, item: str) -> None:
        """Note that something is tried no more."""
        if item not in self._open:
            return
        self._open.discard(item)
        if not self._open:
            logger.warning(
                "%s have recovered after %.0f s and %d failed attempts",
                self._what,
                time.monotonic() - self._begun,
                self._attempts,
            )
