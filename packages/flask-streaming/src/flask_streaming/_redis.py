"""Events between processes, by Redis Streams.

An entry's id is the event's id. Each process has one reader, a thread with one
connection that waits for all channels at once; it ends when nobody listens.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from threading import Lock
from threading import Thread
from typing import Any
from typing import TypeAlias
from uuid import uuid4
from weakref import WeakSet

from ._events import ServerSentEvent
from ._memory import START
from ._memory import Position
from ._memory import Subscription
from ._memory import format_id
from ._memory import gap
from ._memory import parse_id
from .config import Config
from .exceptions import BrokerError


logger = logging.getLogger("flask_streaming")

Entries: TypeAlias = Iterable[tuple[str, Mapping[str, str]]]

#: How long the reader waits at a time, in milliseconds, and how many entries of a
#: channel it takes at once.
BLOCK, COUNT = 5000, 1000
RETRY_SECONDS = 0.25
TIMEOUT = 10.0


def position_of(entry_id: str) -> Position:
    """Return the position of an entry."""
    return parse_id(entry_id) or START


def decoded(entries: Entries) -> Iterator[tuple[Position, ServerSentEvent]]:
    """Return the events that entries hold, without those that are none."""
    for entry_id, fields in entries:
        try:
            event = ServerSentEvent(fields["data"], fields.get("event"), entry_id)
        except (KeyError, ValueError) as error:
            logger.warning("The entry %s is no event: %r", entry_id, error)
        else:
            yield position_of(entry_id), event


def before(entry_id: str) -> Position:
    """Return the last position before an entry."""
    first, sequence = position_of(entry_id)
    return (first, sequence - 1) if sequence else (first - 1, 2**64 - 1)


def missed(
    oldest: str | None, newest: Position, last: Position | None
) -> tuple[Position, bool]:
    """Return where a resume begins, and whether events before it may be missing.

    :param oldest: the first entry that is left, if there is one.
    :param last: the client's last event; None for an id that is not ours.
    """
    begin = START if oldest is None else before(oldest)
    # An older id may be of a stream that has expired: what came after it is unknown.
    if oldest is None or last is None or not begin <= last <= newest:
        return begin, True
    return last, False


@dataclass(slots=True)
class Channel:
    """What the reader knows of a channel.

    :param cursor: the last entry that it read.
    :param doubtful: whether its connection broke since then: Redis may have lost
        later ones.
    """

    cursor: str
    doubtful: bool = False
    subscribers: WeakSet[Subscription] = field(default_factory=WeakSet)


class RedisBroker:
    """Carry events between all processes that use the same Redis.

    :param config: whose ``redis_url`` is set.
    :raises ImportError: where the package ``redis`` is not installed.
    """

    def __init__(self, config: Config) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._config = config
        # One more: while it is there, none of the others is missing.
        self._kept = config.history + 1
        self._errors = (redis.RedisError, OSError)
        self._refusals = (redis.ResponseError, redis.AuthenticationError)
        options: dict[str, Any] = {
            "url": str(config.redis_url),
            "decode_responses": True,
            # What another program wrote must not stop the reader.
            "encoding_errors": "replace",
            "socket_timeout": TIMEOUT,
        }
        self._redis: Any = redis.Redis(
            connection_pool=redis.BlockingConnectionPool.from_url(
                max_connections=config.redis_connections,
                timeout=TIMEOUT,
                # One, for a connection that has died in the pool: a request must not
                # wait for Redis to come back.
                retry=Retry(NoBackoff(), 1),
                **options,
            )
        )
        # None: the reader must know when its connection broke.
        self._connect = partial(
            redis.Redis.from_url, retry=Retry(NoBackoff(), 0), **options
        )
        self._wake = f"{config.redis_prefix}wake:{uuid4()}"
        self._channels: dict[str, Channel] = {}
        self._left: deque[tuple[str, Subscription]] = deque()
        self._lock = Lock()
        self._reader: Thread | None = None

    def publish(self, channel: str, data: str, event: str | None = None) -> str:
        """Send an event to a channel and return its id.

        :raises BrokerError: when Redis does not take it.
        """
        ServerSentEvent(data, event)
        fields = {"data": data} if event is None else {"data": data, "event": event}
        key = self._config.redis_prefix + channel
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(key, fields, maxlen=self._kept)
                pipe.expire(key, self._config.history_seconds)
                entry_id, _ = pipe.execute()
        except self._errors as error:
            raise BrokerError(f"Redis did not take the event: {error}") from error
        return str(entry_id)

    def subscribe(self, channel: str, last_event_id: str | None = None) -> Subscription:
        """Return the channel's events after the one with the id, or from now on.

        Where Redis is away, the subscription ends at once, so that a browser comes
        back by itself; after an error page it would not.
        """
        subscription = Subscription(self._config.queue_size)
        key = self._config.redis_prefix + channel
        try:
            self._begin(subscription, key, last_event_id)
        except self._errors as error:
            logger.warning(
                "%s, a client will have to come back: %s", self._trouble(error), error
            )
            subscription.close()
        return subscription

    def _trouble(self, error: Exception) -> str:
        refused = isinstance(error, self._refusals)
        return "Redis refuses" if refused else "Redis is away"

    def _begin(
        self, subscription: Subscription, key: str, last_event_id: str | None
    ) -> None:
        newest = self._redis.xrevrange(key, count=1)
        tail: str = newest[0][0] if newest else "0-0"
        # First listen, then read what came before: what comes in between is in
        # both, and the subscription drops it.
        self._listen(key, tail, subscription)
        begin, lost = position_of(tail), False
        if last_event_id:
            oldest = self._redis.xrange(key, count=1)
            first = oldest[0][0] if oldest else None
            begin, lost = missed(first, begin, parse_id(last_event_id))
        entries: Entries = self._redis.xrange(key, min=f"({format_id(begin)}")
        backlog = [(begin, gap(begin, str(last_event_id)))] if lost else []
        backlog += decoded(entries)
        after = backlog[-1][0] if backlog else begin
        subscription.begin(
            after, [event for _, event in backlog], partial(self._unsubscribe, key)
        )

    def _listen(self, key: str, tail: str, subscription: Subscription) -> None:
        with self._lock:
            added = key not in self._channels
            self._channels.setdefault(key, Channel(tail)).subscribers.add(subscription)
            if self._reader is None or not self._reader.is_alive():
                self._reader = Thread(
                    target=self._read, name="streaming-reader", daemon=True
                )
                self._reader.start()
        if added:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(self._wake, {"": ""}, maxlen=1)
                pipe.expire(self._wake, 60)
                pipe.execute()

    def _unsubscribe(self, key: str, subscription: Subscription) -> None:
        # Without the lock: the garbage collector closes what it finds in any thread,
        # also in the one that holds it.
        self._left.append((key, subscription))

    def _cursors(self) -> dict[str, str]:
        """Return where to read on; nothing when nobody listens any more."""
        with self._lock:
            while self._left:
                key, subscription = self._left.popleft()
                if key in self._channels:
                    self._channels[key].subscribers.discard(subscription)
            for key in [k for k, v in self._channels.items() if not v.subscribers]:
                del self._channels[key]
            if not self._channels:
                self._reader = None
            return {key: channel.cursor for key, channel in self._channels.items()}

    def _read(self) -> None:
        with self._connect() as reading:
            self._read_with(reading)

    def _read_with(self, reading: Any) -> None:
        woken = "0-0"
        known = None
        while cursors := self._cursors():
            try:
                answer = reading.xread(
                    {**cursors, self._wake: woken}, count=COUNT, block=BLOCK
                )
                for key, entries in answer:
                    if key == self._wake:
                        woken = entries[-1][0]
                    else:
                        self._dispatch(reading, key, entries)
            except self._errors as error:
                trouble = self._trouble(error)
                if trouble != known:
                    logger.warning("%s, clients wait: %s", trouble, error)
                known = trouble
                for key in cursors:
                    self._channels[key].doubtful = True
                time.sleep(RETRY_SECONDS)
            else:
                known = None

    def _dispatch(
        self, reading: Any, key: str, entries: list[tuple[str, Mapping[str, str]]]
    ) -> None:
        channel = self._channels[key]
        events = list(decoded(entries))
        if self._lost(reading, key, channel, len(entries)):
            logger.warning("Events of %s may be gone before they were read", key)
            # Who has subscribed since, and knows the first entry, drops this.
            begin = before(entries[0][0])
            events.insert(0, (begin, gap(begin, channel.cursor)))
        with self._lock:
            channel.cursor = entries[-1][0]
            channel.doubtful = False
            subscribers = tuple(channel.subscribers)
        for position, event in events:
            for subscription in subscribers:
                subscription.offer(position, event)

    def _lost(self, reading: Any, key: str, channel: Channel, count: int) -> bool:
        """Tell whether entries after the cursor may be gone without being read."""
        # Redis drops the oldest, and only where so many later ones are there.
        if count < min(self._kept, COUNT) and not channel.doubtful:
            return False
        return not reading.xrange(key, max=channel.cursor, count=1)
