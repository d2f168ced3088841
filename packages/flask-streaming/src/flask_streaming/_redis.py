"""Events between processes, by Redis.

Publishing is one script: it appends to the channel's stream and tells all processes by
Pub/Sub (see `_scripts.py`). Each process has one reader (see `_reader.py`), which is
subscribed to what somebody listens to. A client's channels are subscribed to first;
then what came before is fetched, and what comes in between is in both.

A client begins in the epoch that Redis names in the answer that holds what it missed,
and only once the reader is there as well. Until then it waits, and where that takes too
long its stream ends, so that it comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Sequence
from hashlib import sha256
from secrets import token_hex
from typing import Any

from ._entries import Fetched
from ._events import ServerSentEvent
from ._history import Position
from ._history import opening
from ._post import Post
from ._reader import Reader
from ._stored import Stored
from ._subscription import Subscription
from .config import Config


logger = logging.getLogger("flask_streaming")


class RedisBroker:
    """Carry events between all processes that use the same Redis.

    :param config: whose ``redis_url`` is set.
    :param client: makes a client, in place of the URL.
    :raises ImportError: where the package ``redis`` is not installed.
    """

    def __init__(self, config: Config, client: Callable[[], Any] | None = None) -> None:
        self._config = config
        self.post = Post()
        self._stored = Stored(config, client)
        self._reader = Reader(config, self._stored, self.post)

    def publish(
        self,
        channel: str,
        data: str,
        event: str | None = None,
        *,
        key: str | None = None,
        end: float | None = None,
    ) -> str:
        """Send an event to a channel and return its id.

        :param key: publish once only: where the channel's history has an event with
            the key, return its id.
        :param end: the channel ends with the event, and its history is forgotten after
            as many seconds.
        :raises BrokerError: when Redis does not take it.
        """
        ServerSentEvent(data, event)
        token = sha256(key.encode()).hexdigest()[:24] if key else token_hex(8)
        text = f"{'' if event is None else '=' + event}\n{data}"
        seen = self._reader.now
        return self._stored.publish(
            channel, text, token, seen=seen, once=key is not None, end=end
        )

    def subscribe(
        self,
        channels: Sequence[str],
        last_event_id: str | None = None,
        history: bool | Position = True,
    ) -> Subscription:
        """Return the events after the one with the id, or from now on.

        Where Redis is unreachable the subscription ends at once, so that a browser
        comes back by itself; after an error page it would not.
        """
        subscription = Subscription(self._reader)
        try:
            # A Redis that hangs costs this half of the time, or the other one.
            listened = self._reader.listen(
                channels, subscription, self._config.redis_timeout / 2
            )
            if listened and self._begin(subscription, last_event_id, history):
                return subscription
            logger.warning("Redis is unreachable; the client must reconnect")
        except self._stored.errors as error:
            trouble = self._stored.trouble(error)
            logger.warning("%s; the client must reconnect: %s", trouble, error)
        subscription.close()
        return subscription

    def position(self) -> Position | None:
        """Return the position behind all that was published, None if unreachable."""
        try:
            return self._stored.fetch((), None, self._reader.now).now
        except self._stored.errors as error:
            trouble = self._stored.trouble(error)
            logger.warning("%s; the position is unknown: %s", trouble, error)
            return None

    def _begin(
        self,
        subscription: Subscription,
        last_event_id: str | None,
        history: bool | Position,
    ) -> bool:
        channels = subscription.channels
        names = [channel.name for channel in channels]
        found, known = self._missed(names, last_event_id)
        if found.now.epoch != self._reader.now.epoch:
            self._stored.tell(found.now)
            self._reader.wait_for(found.now.epoch, self._config.redis_timeout / 2)
            found, known = self._missed(names, last_event_id)
        windows = [it.keeping(self._config.history) for it in found.windows]
        first = opening(windows, found.now, last_event_id, history, known=known)
        subscription.begin(first, found.now, *channels)
        return found.now.epoch == self._reader.now.epoch

    def _missed(
        self, names: Sequence[str], last_event_id: str | None
    ) -> tuple[Fetched, bool]:
        """Return what came after an event, or all, and whether the event is known."""
        if not last_event_id:
            return self._stored.fetch(names, None, self._reader.now), False
        position = Position.parse(last_event_id)
        if position is not None:
            found = self._stored.fetch(names, position.number, self._reader.now)
            if found.holds(position):
                return found, True
        return self._stored.fetch(names, 0, self._reader.now), False
