"""The interface of a backend, beside cachelib's."""

from __future__ import annotations

import datetime as dt

from cachelib.base import BaseCache


class Backend(BaseCache):
    """A cachelib cache of bytes that several processes share, and whose failures raise.

    None and False are always the backend's answer, so that an outage is not taken for a
    miss, nor a purge that failed for one of something that was not there.
    """

    #: Whether keys are on several servers, those with the same part in braces on one.
    spread = False
    #: Whether ``inc`` leaves out no change that is made at the same time.
    atomic = True

    def epoch(self, key: str) -> int:  # noqa: ARG002 - for those that know one
        """Return a number that changes with what may have lost writes."""
        return 0

    def add_many(self, values: dict[str, tuple[bytes, int]]) -> list[bool]:
        """Store values where there are none; return of each whether it was stored.

        :param values: each with its lifetime in seconds.
        """
        return [self.add(key, *one) for key, one in values.items()]

    def delete_if(self, key: str, value: bytes) -> bool:
        """Remove a key if it has a value; return whether it had."""
        return self.get(key) == value and self.delete(key)

    def remove(self, *keys: str) -> None:
        """Remove keys: afterwards none of them is there.

        :raises Exception: the backend's own, if one may be there.
        """
        for key in keys:
            self.delete(key)


def seconds_of(timeout: int | dt.timedelta | None) -> int:
    """Return a lifetime in seconds; 0 for ever."""
    if isinstance(timeout, dt.timedelta):
        return int(timeout.total_seconds())
    return timeout or 0
