"""Redis and Valkey: one server, a Cluster, or the master that Sentinel names."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from .base import Backend
from .base import seconds_of
from .url import TIMEOUT
from .url import Target


_RUN_ID = re.compile(r"^run_id:([0-9a-f]{11,})", re.MULTILINE)
_DELETE_IF = """
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0
"""


class RedisCache(Backend):
    """A cache of bytes in Redis, in one round trip per operation.

    In a Cluster, an operation on many keys is one round trip to each of their nodes.
    Each server is asked for its ``run_id`` by each connection, for :meth:`epoch`.

    :param target: the parts of its URL.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(default_timeout=0)
        self._target = target
        self._cluster = target.kind == "cluster"
        self.spread = self._cluster
        #: The epoch of each server of a Cluster, or of the latest one under None.
        self._epochs: dict[tuple[str, int] | None, int] = {}
        self._lazy = _Lazy(lambda: _client(target, self._connected))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target.shown}>"

    @property
    def client(self) -> Any:
        """The client; that of a Cluster connects when it is made."""
        return self._lazy.client

    def close(self) -> None:
        """Close the connections of this process."""
        self._lazy.close()

    def epoch(self, key: str) -> int:
        """Return a number that is another one when the server of a key was restarted.

        The same holds for a replica that takes its place. Call this after the reading:
        a connection that the reading made is then known.
        """
        if not self._cluster:
            return self._epochs.get(None, 0)
        try:
            node = self.client.get_node_from_key(key)
        except redis.RedisError:
            return 0
        return self._epochs.get((node.host, node.port), 0)

    def _connected(self, connection: Any) -> None:
        """Note the epoch of the server of a new connection."""
        if not self._cluster:
            # In a Cluster, the client does this before it calls.
            connection.on_connect()
        connection.send_command("INFO", "server")
        try:
            found = _RUN_ID.search(_text(connection.read_response()))
        except redis.ResponseError:
            # A proxy, or a user without the right to ask.
            found = None
        epoch = int(found[1][:11], 16) if found else 0
        if self._cluster:
            self._epochs[connection.host, connection.port] = epoch
        else:
            self._epochs[None] = epoch

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        return _bytes(self.client.get(key))

    def get_many(self, *keys: str) -> list[bytes | None]:
        """Return the value of each key, or None."""
        if not keys:
            return []
        if self._cluster:
            found = self.client.mget_nonatomic(keys)
        else:
            found = self.client.mget(keys)
        return [_bytes(one) for one in found]

    def set(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value."""
        return bool(self.client.set(key, value, ex=self._seconds(timeout)))

    def set_many(
        self, mapping: dict[str, bytes], timeout: int | dt.timedelta | None = None
    ) -> list[str]:
        """Store many values, and return their keys."""
        if not mapping:
            return []
        seconds = self._seconds(timeout)
        pipe = self.client.pipeline(transaction=False)
        for key, value in mapping.items():
            pipe.set(key, value, ex=seconds)
        return [key for key, done in zip(mapping, pipe.execute(), strict=True) if done]

    def add(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value where there is none; return whether it was stored."""
        # One command, so that no crash leaves a value behind that never expires.
        return bool(self.client.set(key, value, nx=True, ex=self._seconds(timeout)))

    def add_many(self, values: dict[str, tuple[bytes, int]]) -> list[bool]:
        """Store values where there are none; return of each whether it was stored.

        :param values: each with its lifetime in seconds.
        """
        if len(values) == 1:
            return [self.add(key, *one) for key, one in values.items()]
        pipe = self.client.pipeline(transaction=False)
        for key, (value, seconds) in values.items():
            pipe.set(key, value, nx=True, ex=seconds)
        return [bool(done) for done in pipe.execute()]

    def delete_if(self, key: str, value: bytes) -> bool:
        """Remove a key if it has a value; return whether it had."""
        return bool(self.client.eval(_DELETE_IF, 1, key, value))

    def delete(self, key: str) -> bool:
        """Remove a key; return whether there was one."""
        return bool(self.client.delete(key))

    def delete_many(self, *keys: str) -> list[str]:
        """Remove keys, and return them: afterwards none of them is there."""
        self.remove(*keys)
        return list(keys)

    def remove(self, *keys: str) -> None:
        """Remove keys: afterwards none of them is there."""
        if keys:
            self.client.delete(*keys)

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return bool(self.client.exists(key))

    def clear(self) -> bool:
        """Remove everything in the database, whoever stored it."""
        return bool(self.client.flushdb())

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to a number, and return it."""
        return int(self.client.incrby(key, delta))

    def dec(self, key: str, delta: int = 1) -> int:
        """Subtract from a number, and return it."""
        return self.inc(key, -delta)

    def _seconds(self, timeout: int | dt.timedelta | None) -> int | None:
        return seconds_of(timeout) or None


class _Lazy:
    """A client made when it is first needed, by one thread while the others wait.

    Those who waited for an attempt that failed do not make another one each.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Any = None
        self._failed_at = 0.0

    @property
    def client(self) -> Any:
        if self._client is not None:
            return self._client
        began = time.monotonic()
        with self._lock:
            if self._client is None:
                if self._failed_at > began:
                    raise redis.ConnectionError("The backend cannot be reached.")
                try:
                    self._client = self._make()
                except Exception:
                    self._failed_at = time.monotonic()
                    raise
            return self._client

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _client(target: Target, connected: Callable[[Any], None]) -> Any:
    options = {
        "redis_connect_func": connected,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        # One failure is enough: the request goes on without the cache.
        "retry": Retry(NoBackoff(), 0),
        **target.options,
    }
    if target.kind == "cluster":
        node: Any = ClusterNode
        nodes = [node(host, port) for host, port in target.hosts]
        return redis.RedisCluster(startup_nodes=nodes, ssl=target.tls, **options)
    if target.kind == "sentinel":
        return _master(target, options)
    if target.path:
        return redis.Redis(unix_socket_path=target.path, **options)
    (host, port) = target.hosts[0]
    return redis.Redis(host=host, port=port, ssl=target.tls, **options)


def _master(target: Target, options: dict[str, Any]) -> Any:
    def shared(name: str) -> bool:
        return name == "retry" or name.startswith(("socket_", "ssl_"))

    own: Mapping[str, Any] = {
        **{name: value for name, value in options.items() if shared(name)},
        "username": options.pop("sentinel_username", None),
        "password": options.pop("sentinel_password", None),
        "ssl": target.tls,
    }
    make: Any = redis.Sentinel
    sentinel = make(target.hosts, sentinel_kwargs=own)
    return sentinel.master_for(target.service, ssl=target.tls, **options)


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


#: What :func:`flask_webcache._backends.connect` calls.
connect = RedisCache
