"""The keys of this extension in Redis, and the calls that read and write them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any

from . import _scripts as scripts
from ._connect import client_of
from ._connect import database_of
from ._entries import Fetched
from ._entries import text_of
from ._entries import window_of
from ._history import Position
from .config import Config
from .exceptions import BrokerError


logger = logging.getLogger("flask_streaming")

#: How often a replica is asked whether it has what the Redis above it has.
REPLICA_SECONDS = 0.02
#: Where Redis has no epoch, and takes no writes.
NO_EPOCH = "0" * 8


class Stored:
    """Call Redis, as the configuration says.

    :param client: makes a client, in place of the URL.
    :raises ImportError: where the package ``redis`` is not installed.
    """

    def __init__(self, config: Config, client: Callable[[], Any] | None = None) -> None:
        import redis

        self._config = config
        self.errors = (redis.RedisError, OSError)
        self.refusals = (redis.ResponseError, redis.AuthenticationError)
        self._timeouts = (redis.TimeoutError, TimeoutError)
        self._redis = client() if client else self._client(str(config.redis_url))
        above = None if client else config.redis_read_url
        #: Whether what is read is a copy, which comes later and may come in one piece.
        self.is_copy = above is not None
        self._reading = self._client(above) if above else self._redis
        # Its connection waits, and is not to be taken from those of requests.
        url = above or str(config.redis_url)
        self._listening = client() if client else self._client(url)
        self._publish, self._tick, self._prove = map(
            self._redis.register_script, (scripts.PUBLISH, scripts.TICK, scripts.FETCH)
        )
        self._fetch = self._reading.register_script(scripts.FETCH)
        self._suffix = f"@{database_of(self._redis)}"
        self._head_key = f"{config.redis_prefix}head"
        self.tick_name = f"{config.redis_prefix}tick{self._suffix}"
        self._may_ask = True

    def _client(self, url: str) -> Any:
        config = self._config
        return client_of(url, config.redis_timeout, config.redis_connections)

    def pubsub(self) -> Any:
        """Return what listens, on a connection of its own."""
        return self._listening.pubsub()

    def trouble(self, error: Exception) -> str:
        """Return what is wrong with Redis, for the log."""
        refused = isinstance(error, self.refusals)
        return "Redis refuses" if refused else "Redis is unreachable"

    def _keys(self, name: str) -> tuple[str, str]:
        prefix = self._config.redis_prefix
        return f"{prefix}channel:{name}", f"{prefix}end:{name}"

    def spoken(self, name: str) -> str:
        """Return a channel's name in Pub/Sub, which knows no databases."""
        return self._keys(name)[0] + self._suffix

    def channel_of(self, spoken: Any) -> str:
        """Return the channel that a name in Pub/Sub stands for."""
        name = text_of(spoken).removesuffix(self._suffix)
        return name.removeprefix(self._keys("")[0])

    def _history(self, seen: Position) -> list[Any]:
        return [token_hex(4), int(self._may_ask), seen.epoch, seen.number]

    def publish(
        self,
        channel: str,
        text: str,
        token: str,
        *,
        seen: Position,
        once: bool,
        end: float | None,
    ) -> str:
        """Add an event and tell everybody; return its id.

        :param token: names the event.
        :param once: only where the history has none with the token.
        :raises BrokerError: when Redis does not take it.
        """
        keys = [self._head_key, *self._keys(channel)]
        rest = [
            token, "-" if end is None else "end", text,
            self._config.history, self._config.history_seconds,
            self.spoken(channel), end or 0,
        ]  # fmt: skip
        history = self._history(seen)
        try:
            try:
                found = self._publish(keys, [*history, int(once), *rest])
            except self.errors as error:
                if isinstance(error, (*self.refusals, *self._timeouts)):
                    raise
                # A connection that had died in the pool. Where the event did arrive,
                # it is found by its token.
                found = self._publish(keys, [*history, 1, *rest])
        except self.errors as error:
            raise BrokerError(f"Redis did not take the event: {error}") from error
        return f"{text_of(found[1])}-{text_of(found[0])}"

    def fetch(self, names: Sequence[str], after: int | None, seen: Position) -> Fetched:
        """Return what is known of channels, from a number on.

        A copy that lags behind is waited for.
        """
        found = self._ask(self._fetch, names, after, seen)
        if found.proven or not self.is_copy:
            return found
        deadline = time.monotonic() + self._config.redis_timeout / 2
        try:
            above = self._ask(self._prove, (), None, seen).now
        except self.errors:
            return found
        while time.monotonic() < deadline:
            time.sleep(REPLICA_SECONDS)
            found = self._ask(self._fetch, names, after, above)
            if found.proven:
                break
        return found

    def _ask(
        self, script: Any, names: Sequence[str], after: int | None, seen: Position
    ) -> Fetched:
        keys = [key for name in names for key in self._keys(name)]
        further = "" if after is None else after
        answer = script([self._head_key, *keys], [*self._history(seen), further])
        epoch, since, head, now, proven, refused, *rest = answer
        if refused:
            self._may_ask = False
            logger.warning(
                "Redis refuses INFO, so it is unknown whether it has lost events"
            )
        position = Position(text_of(epoch) or NO_EPOCH, int(head), mark=True)
        oldest = int(now) - self._config.history_seconds * 1_000_000
        windows = [
            window_of(each, name, position.epoch, int(since), oldest)
            for name, each in zip(names, rest, strict=True)
        ]
        return Fetched(position, int(since), windows, bool(proven))

    def tick(self, seen: Position) -> None:
        """Have Redis raise its number, and tell everybody."""
        # A copy can be listened to without the Redis above it.
        with suppress(*(self.errors if self.is_copy else self.refusals)):
            self._tick([self._head_key], self._history(seen))
        self.tell(self.fetch((), None, seen).now)

    def tell(self, now: Position) -> None:
        """Have everybody look. What comes before it has been received by then."""
        self._reading.publish(self.tick_name, f"{now.epoch} {now.number}")
