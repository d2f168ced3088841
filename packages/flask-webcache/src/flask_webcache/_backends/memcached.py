"""Memcached on one host or several, without a pickle, safe to fork.

Each key has one host, which never changes: a key that moved away and back would bring
back what was purged meanwhile. Keys with the same part in braces have the same host, as
in a Redis Cluster. A host that fails is left alone for
:data:`DOWN_SECONDS`, and then tried by one request. Until it answers, its keys are
missing, and storing or deleting one raises :class:`HostDownError` at once; no other
key is slower for it. Deleting always tries, since a purge must not be put off.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from pymemcache.client.base import KeepaliveOpts
from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheServerError
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from .base import Backend
from .base import seconds_of
from .url import TIMEOUT
from .url import HostDownError
from .url import Target


#: How long a host that failed is left alone, in seconds.
DOWN_SECONDS = 1.0
#: Longer lifetimes are moments since the epoch to Memcached, in seconds.
LONGEST = 30 * 24 * 60 * 60
FAILURES = (OSError, MemcacheUnexpectedCloseError)


class MemcachedCache(Backend):
    """A cache of bytes in Memcached.

    :param target: the parts of its URL.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(default_timeout=0)
        self._target = target
        servers: list[Any] = [target.path] if target.path else list(target.hosts)
        self._hosts = [_Host(one, target) for one in servers]
        self.spread = len(servers) > 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target.shown}>"

    def close(self) -> None:
        """Close the connections of this process."""
        for host in self._hosts:
            host.close()

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[bytes | None]:
        """Return the value of each key, or None, also for those of a host that is down.

        :raises OSError: if no host that was asked answers.
        """
        batches = self._batches(keys)
        found: dict[str, Any] = {}
        errors = []
        for host, batch in batches.items():
            try:
                found.update(host.run("get_many", batch))
            except FAILURES as error:
                errors.append(error)
        if errors and len(errors) == len(batches):
            raise self._failure(errors[0])
        return [_bytes(found.get(key)) for key in keys]

    def set(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value; return False for one that is too large for the server."""
        try:
            return bool(self._run(key, "set", value, self._seconds(timeout)))
        except MemcacheServerError as error:
            if "too large" in str(error):
                return False
            raise

    def add(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value where there is none; return whether it was stored."""
        return bool(self._run(key, "add", value, self._seconds(timeout)))

    def delete(self, key: str) -> bool:
        """Remove a key; return whether there was one."""
        return bool(self._run(key, "delete", anyway=True))

    def delete_many(self, *keys: str) -> list[str]:
        """Remove keys, and return them: afterwards none of them is there."""
        self.remove(*keys)
        return list(keys)

    def remove(self, *keys: str) -> None:
        """Remove keys, on each host that answers.

        :raises OSError: if one of their hosts does not.
        """
        errors = []
        for host, batch in self._batches(keys).items():
            try:
                host.run("delete_many", batch, anyway=True)
            except FAILURES as error:
                errors.append(error)
        if errors:
            raise self._failure(errors[0]) from errors[0]

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return self.get(key) is not None

    def clear(self) -> bool:
        """Remove everything on every host, whoever stored it."""
        return all([host.run("flush_all", anyway=True) for host in self._hosts])  # noqa: C419 - each is tried

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to a number that is not negative, and return it."""
        self._run(key, "add", b"0", 0)
        name = "decr" if delta < 0 else "incr"
        return int(self._run(key, name, abs(delta), again=False) or 0)

    def dec(self, key: str, delta: int = 1) -> int:
        """Subtract from a number, down to 0, and return it."""
        return self.inc(key, -delta)

    def _batches(self, keys: Sequence[str]) -> dict[_Host, list[str]]:
        batches: dict[_Host, list[str]] = {}
        for key in keys:
            batches.setdefault(self._host(key), []).append(key)
        return batches

    def _host(self, key: str) -> _Host:
        hosts = self._hosts
        if len(hosts) == 1:
            return hosts[0]
        braced = key.partition("{")[2].partition("}")
        tag = braced[0] if braced[1] and braced[0] else key
        # Each host's own hash decides: one more host takes only its share.
        return max(hosts, key=lambda one: one.rank(tag))

    def _run(self, key: str, name: str, *arguments: Any, **how: bool) -> Any:
        try:
            return self._host(key).run(name, key, *arguments, **how)
        except FAILURES as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Exception:
        """Return the error to raise: another one while some host may answer."""
        if all(host.down for host in self._hosts):
            return ConnectionError(f"No host answers: {error}")
        return HostDownError(f"A host does not answer: {error}")

    def _seconds(self, timeout: int | dt.timedelta | None) -> int:
        seconds = seconds_of(timeout)
        return seconds if seconds <= LONGEST else int(time.time()) + seconds


class _Host:
    """One server: the connections of this process to it, and whether it is down."""

    def __init__(self, server: Any, target: Target) -> None:
        self._server = server
        self._options = target.options
        self._salt = hashlib.blake2b(repr(server).encode(), digest_size=16).digest()
        self._down_until = 0.0
        self._parked: list[Any] = []
        self._connect()

    def _connect(self) -> None:
        options = self._options
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # This client leaves bytes as they are, where others unpickle what they find.
        self._client = PooledClient(
            self._server,
            timeout=options.get("socket_timeout", TIMEOUT),
            connect_timeout=options.get("socket_connect_timeout", TIMEOUT),
            socket_keepalive=KeepaliveOpts()
            if options.get("socket_keepalive")
            else None,
            max_pool_size=options.get("max_connections"),
            default_noreply=False,
            no_delay=isinstance(self._server, tuple),
        )

    @property
    def down(self) -> bool:
        """Whether it failed, and did not answer since."""
        return self._down_until > 0

    def rank(self, key: str) -> bytes:
        """Return this host's rank for a key."""
        return hashlib.blake2b(key.encode(), digest_size=8, salt=self._salt).digest()

    def run(
        self, name: str, *arguments: Any, anyway: bool = False, again: bool = True
    ) -> Any:
        """Return the result of a method of the client.

        :param anyway: try even while the host is down.
        :param again: the method may be carried out twice.
        """
        if self._pid != os.getpid():
            # Sockets that the parent uses. They stay open here, unused.
            self._parked.append(self._client)
            self._connect()
        if self._down_until and not anyway:
            self._may_try()
        try:
            result = self._tried(name, arguments, again)
        except FAILURES:
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise
        self._down_until = 0.0
        return result

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _tried(self, name: str, arguments: tuple[Any, ...], again: bool) -> Any:
        try:
            return getattr(self._client, name)(*arguments)
        except (ConnectionResetError, BrokenPipeError, MemcacheUnexpectedCloseError):
            # A server that was restarted has closed them all.
            self._client.close()
            if not again:
                raise
            return getattr(self._client, name)(*arguments)

    def _may_try(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._down_until:
                raise HostDownError(f"{self._server!r} does not answer.")
            self._down_until = now + DOWN_SECONDS


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


#: What :func:`flask_webcache._backends.connect` calls.
connect = MemcachedCache
