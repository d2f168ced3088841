"""Events between processes, by Redis.

Publishing is one script: it appends to the channel's stream and tells all processes by
Pub/Sub (see `_scripts.py`). Each process has one reader, a thread with one connection,
which ends when nobody listens. A subscriber's channels are subscribed to first; then
what came before is fetched, and what comes in between is in both.

What was lost is noticed

* at each event, which names the one before it in its channel,
* when the reader's connection broke: everything since its last number is fetched,
* at each subscription and each new connection, which compare the server's replication
  id with the one of the epoch. A restart without a complete append-only file, a
  restored snapshot, a failover and FLUSHALL begin a new epoch, and clients of the old
  one are told a gap. Where the user may not ask (INFO), the client's event
  is all that is looked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Any
from typing import TypeVar
from typing import cast

from . import _scripts as scripts
from ._connect import client_of
from ._connect import database_of
from ._entries import Fetched
from ._entries import parse
from ._entries import text_of
from ._entries import window_of
from ._events import ServerSentEvent
from ._history import Entry
from ._history import Position
from ._history import Window
from ._history import opening
from ._post import Post
from ._subscription import BUFFER
from ._subscription import SLACK
from ._subscription import Channel
from ._subscription import Subscription
from .config import Config
from .exceptions import BrokerError


logger = logging.getLogger("flask_streaming")

T = TypeVar("T")

#: How long the reader waits for an answer at a time, in seconds.
POLL_SECONDS = 0.25
#: How often it makes sure that the connection lives and that positions are fresh.
TICK_SECONDS = 5.0
RETRY_SECONDS = 0.25
#: Where Redis has none, and takes no writes.
NO_EPOCH = "0" * 8
#: Channels that are fetched, or subscribed to, in one step.
BATCH = 200


class RedisChannel(Channel):
    """A channel that the reader has subscribed to, or is about to.

    `last` is the number of the last event that was received, or 0.
    """

    __slots__ = ("failed", "last", "ready")

    def __init__(self, name: str) -> None:
        super().__init__(name, 0)
        self.last = 0
        self.failed = False
        self.ready = threading.Event()


class RedisBroker:
    """Carry events between all processes that use the same Redis.

    :param config: whose ``redis_url`` is set.
    :param client: makes a client, in place of the URL.
    :raises ImportError: where the package ``redis`` is not installed.
    """

    def __init__(self, config: Config, client: Callable[[], Any] | None = None) -> None:
        import redis

        self._config = config
        self.post = Post()
        self._errors = (redis.RedisError, OSError)
        self._timeouts = (redis.TimeoutError, TimeoutError)
        self._refusals = (redis.ResponseError, redis.AuthenticationError)
        self._redis = client() if client else self._client(str(config.redis_url))
        reading = None if client else config.redis_read_url
        self._reading = self._client(reading) if reading else self._redis
        # Its connection waits, and is not to be taken from those of requests.
        url = reading or str(config.redis_url)
        self._listening = client() if client else self._client(url)
        self._publish, self._join, self._tick = map(
            self._redis.register_script, (scripts.PUBLISH, scripts.JOIN, scripts.TICK)
        )
        self._fetch = self._reading.register_script(scripts.FETCH)
        self._suffix = f"@{database_of(self._redis)}"
        self._head_key = f"{config.redis_prefix}head"
        self._tick_name = f"{config.redis_prefix}tick{self._suffix}"
        self.epoch = ""
        self.head = 0
        self._may_ask = True
        self._channels: dict[str, RedisChannel] = {}
        self._left: deque[Subscription] = deque()
        self._lock = threading.RLock()
        self._reader: threading.Thread | None = None
        self._pubsub: Any = None

    def _client(self, url: str) -> Any:
        config = self._config
        return client_of(url, config.redis_timeout, config.redis_connections)

    def _keys(self, name: str) -> tuple[str, str]:
        prefix = self._config.redis_prefix
        return f"{prefix}channel:{name}", f"{prefix}end:{name}"

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
        keys = [self._head_key, *self._keys(channel)]
        kind = "-" if end is None else "end"
        rest = [
            token, kind, f"{'' if event is None else '=' + event}\n{data}",
            self._config.history, self._config.history_seconds,
            keys[1] + self._suffix, end or 0,
        ]  # fmt: skip
        new = token_hex(4)
        try:
            try:
                found = self._publish(keys, [new, int(key is not None), *rest])
            except self._errors as error:
                if isinstance(error, (*self._refusals, *self._timeouts)):
                    raise
                # A connection that had died in the pool. Where the event did arrive,
                # it is found by its token.
                found = self._publish(keys, [new, 1, *rest])
        except self._errors as error:
            raise BrokerError(f"Redis did not take the event: {error}") from error
        return f"{text_of(found[1])}-{text_of(found[0])}"

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
        subscription = Subscription(self)
        try:
            found = self._listen(channels, subscription)
            if all(self._wait(channel) for channel in found):
                self._begin(subscription, found, last_event_id, history)
                return subscription
            logger.warning("Redis is unreachable; the client must reconnect")
        except self._errors as error:
            trouble = self._trouble(error)
            logger.warning("%s; the client must reconnect: %s", trouble, error)
        subscription.close()
        return subscription

    def position(self) -> Position | None:
        """Return the position behind all that was published, None if unreachable."""
        try:
            found = self._current([], None)
        except self._errors as error:
            logger.warning("%s; there is no position: %s", self._trouble(error), error)
            return None
        return Position(found.epoch, found.head, mark=True)

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        # Without the lock: the garbage collector closes what it finds in any thread,
        # also in the one that holds it.
        self._left.append(subscription)

    def _trouble(self, error: Exception) -> str:
        refused = isinstance(error, self._refusals)
        return "Redis refuses" if refused else "Redis is unreachable"

    def _listen(
        self, names: Sequence[str], subscription: Subscription
    ) -> list[RedisChannel]:
        with self._lock:
            new = [name for name in names if name not in self._channels]
            self._channels.update((name, RedisChannel(name)) for name in new)
            found = [self._channels[name] for name in names]
            subscription.channels = tuple(found)
            for channel in found:
                channel.subscribers.add(subscription)
            if self._reader is None or not self._reader.is_alive():
                self._reader = threading.Thread(
                    target=self._read, name="streaming-reader", daemon=True
                )
                self._reader.start()
            elif new and self._pubsub is not None:
                self._subscribe(new)
        return found

    def _wait(self, channel: RedisChannel) -> bool:
        channel.ready.wait(self._config.redis_timeout)
        return channel.ready.is_set() and not channel.failed

    def _begin(
        self,
        subscription: Subscription,
        channels: list[RedisChannel],
        last_event_id: str | None,
        history: bool | Position,
    ) -> None:
        position = Position.parse(last_event_id or "")
        found = self._current([it.name for it in channels], last_event_id, position)
        if found.epoch != self.epoch:
            self._adopt(found.epoch, found.head)
        windows = [it.keeping(self._config.history) for it in found.windows]
        first = opening(
            windows, found.epoch, found.head, last_event_id, history, known=found.known
        )
        subscription.begin(first, found.head, *channels)

    def _current(
        self,
        names: Sequence[str],
        last_event_id: str | None,
        position: Position | None = None,
    ) -> Fetched:
        """Return what Redis knows, in an epoch that is certain to go on."""
        after = None if not last_event_id else position.number if position else 0
        server = self._server()
        found = self._fetched(names, after)
        if (server and found.server != server) or not found.epoch:
            # A Redis that takes no writes can be listened to; what was lost is unknown.
            with suppress(*self._refusals):
                self._join_epoch()
            found = self._fetched(names, after)
            found = found._replace(epoch=found.epoch or NO_EPOCH)
            certain = not server or found.server == self._server()
            found = found._replace(known=certain)
        if position and (position.epoch != found.epoch or position.number > found.head):
            found, position = self._fetched(names, 0)._replace(known=False), None
        if position is None or position.mark or not found.known:
            return found
        return found._replace(known=self._is_there(position.number, found.windows))

    def _is_there(self, number: int, windows: Iterable[Window]) -> bool:
        return any(
            window.floor == number or number in (it.number for it in window.entries[:1])
            for window in windows
        )

    def _fetched(self, names: Sequence[str], after: int | None) -> Fetched:
        keys = [key for name in names for key in self._keys(name)]
        answer = self._fetch([self._head_key, *keys], ["" if after is None else after])
        epoch, server, head, now, *rest = answer
        oldest = int(now) - self._config.history_seconds * 1_000_000
        windows = [
            window_of(each, name, oldest)
            for name, each in zip(names, rest, strict=True)
        ]
        return Fetched(text_of(epoch), text_of(server), int(head), windows, known=True)

    def _server(self) -> str:
        """Return the replication id of the server that is read from."""
        if not self._may_ask:
            return ""
        try:
            return text_of(self._reading.info("replication")["master_replid"])
        except (KeyError, *self._refusals) as error:
            self._may_ask = False
            logger.warning(
                "Redis does not say whether it has lost events (INFO): %s", error
            )
            return ""

    def _join_epoch(self) -> tuple[str, int]:
        """Return the epoch and its head, after a new server was made known."""
        server, trusted = "", False
        if self._may_ask:
            info = self._redis.info("replication")
            server = text_of(info["master_replid"])
            # Of a server that was not promoted it is 0.
            before = text_of(info.get("master_replid2", "0")).strip("0")
            complete = self._redis.info("persistence").get("aof_enabled") == 1
            trusted = complete and not before
        epoch, head = self._join(
            [self._head_key],
            [server, int(trusted), token_hex(4), self.epoch, self.head],
        )
        return text_of(epoch), int(head)

    # The rest is the reader's.

    def _read(self) -> None:
        known = None
        while self._anybody(every=True):
            try:
                self._connect()
                known = None
                self._receive()
            except Exception as error:
                trouble = self._trouble(error)
                if not isinstance(error, self._errors):
                    logger.exception("The reader failed and starts again")
                elif trouble != known:
                    logger.warning("%s; clients wait: %s", trouble, error)
                known = trouble
                self._disconnect()
                time.sleep(RETRY_SECONDS)
        self._disconnect()

    def _anybody(self, *, every: bool = False) -> bool:
        """Return whether somebody listens; unsubscribe from channels without listeners.

        :param every: look at all channels, also for those who left without a word.
        """
        with self._lock:
            suspects = set(self._channels.values()) if every else set()
            while self._left:
                subscription = self._left.popleft()
                for channel in subscription.channels:
                    channel.subscribers.discard(subscription)
                    suspects.add(cast(RedisChannel, channel))
            # Not before Redis has confirmed it: the next confirmation of the same
            # channel would be taken for that of the next subscription.
            idle = [it for it in suspects if not it.subscribers and it.ready.is_set()]
            for channel in idle:
                if self._channels.get(channel.name) is channel:
                    del self._channels[channel.name]
                    if self._pubsub is not None:
                        self._pubsub.unsubscribe(self._name(channel.name))
            if not self._channels:
                self._reader = None
            return bool(self._channels)

    def _name(self, name: str) -> str:
        """Return a channel's name in Pub/Sub, which knows no databases."""
        return self._keys(name)[0] + self._suffix

    def _subscribe(self, names: Sequence[str]) -> None:
        for some in batched(names):
            self._pubsub.subscribe(*map(self._name, some))

    def _disconnect(self) -> None:
        with self._lock:
            pubsub, self._pubsub = self._pubsub, None
            for channel in self._channels.values():
                # Who waits for it does not wait any longer.
                channel.failed = True
                channel.ready.set()
        if pubsub is not None:
            with suppress(*self._errors):
                pubsub.close()

    def _connect(self) -> None:
        """Subscribe to all channels, and fetch what came while nobody read."""
        with self._lock:
            channels = dict(self._channels)
            for channel in channels.values():
                channel.failed = False
                channel.ready.clear()
            self._pubsub = self._listening.pubsub()
            self._pubsub.subscribe(self._tick_name)
            self._subscribe(list(channels))
        waiting = []
        deadline = time.monotonic() + max(self._config.redis_timeout, 1.0)
        while not all(it.ready.is_set() for it in channels.values()):
            message = self._pubsub.get_message(timeout=POLL_SECONDS)
            if message and not self._confirmed(message):
                waiting.append(message)
            if time.monotonic() > deadline:
                raise TimeoutError("it does not answer")
        if self.epoch:
            self._catch_up(list(channels.values()))
        for message in waiting:
            self._handle(message)

    def _catch_up(self, channels: list[RedisChannel]) -> None:
        """Take what Redis has after the last number, or tell everybody a gap."""
        found = self._current([], None)
        if found.epoch != self.epoch:
            self._adopt(found.epoch, found.head)
            return
        since = self.head
        for some in batched(channels):
            answer = self._fetched([it.name for it in some], since)
            for channel, window in zip(some, answer.windows, strict=True):
                if window.floor > since:
                    channel.window = Window(window.floor)
                for entry in window.after(since):
                    self._add(channel, entry)
        self._raise_head(found.head, channels)

    def _adopt(self, epoch: str, head: int) -> None:
        """Go on in another epoch: what was not read of the one before is lost."""
        with self._lock:
            if self.epoch == epoch:
                return
            channels = list(self._channels.values()) if self.epoch else []
            for channel in channels:
                channel.last = head
                channel.window = Window(head)
            self.epoch = epoch
        self._raise_head(head, channels)

    def _raise_head(self, head: int, channels: Iterable[Channel] = ()) -> None:
        self.head = max(self.head, head)
        for channel in channels:
            self.post.tell(channel)

    def _receive(self) -> None:
        ticked, heard, looked = 0.0, time.monotonic(), time.monotonic()
        while True:
            message = self._pubsub.get_message(timeout=POLL_SECONDS)
            now = time.monotonic()
            if message and not self._confirmed(message) and self._handle(message):
                heard = now
            if now - looked > POLL_SECONDS:
                looked = now
                if not self._anybody(every=now - ticked > TICK_SECONDS):
                    return
            if now - ticked > TICK_SECONDS:
                if ticked > heard:
                    raise TimeoutError("it does not answer")
                ticked = time.monotonic()
                self._send_tick()

    def _send_tick(self) -> None:
        """Have Redis send its head: what comes before it has been received by then."""
        with suppress(*self._refusals):
            self._tick([self._head_key])
        head = self._fetched([], None).head
        self._reading.publish(self._tick_name, f"{self.epoch} {head}")

    def _confirmed(self, message: Mapping[str, Any]) -> bool:
        if message["type"] != "subscribe":
            return False
        with self._lock:
            channel = self._channels.get(self._channel_of(message))
            if channel is not None:
                channel.ready.set()
        return True

    def _channel_of(self, message: Mapping[str, Any]) -> str:
        name = text_of(message["channel"]).removesuffix(self._suffix)
        return name.removeprefix(self._keys("")[0])

    def _handle(self, message: Mapping[str, Any]) -> bool:
        """Take a message; return whether it was a tick."""
        if message["type"] != "message":
            return False
        if text_of(message["channel"]) == self._tick_name:
            epoch, _, head = text_of(message["data"]).partition(" ")
            if epoch == self.epoch:
                self._raise_head(int(head))
            return True
        name = self._channel_of(message)
        channel = self._channels.get(name)
        found = parse(message["data"], name)
        if channel is None or found is None:
            return False
        if found.epoch != self.epoch:
            self._check_epoch()
            return False
        if channel.last and found.before > channel.last:
            channel.window = Window(found.before)
        self._add(channel, found.entry)
        self._raise_head(found.entry.number, [channel])
        return False

    def _check_epoch(self) -> None:
        """Go on in another epoch; the event that told of it comes before its head."""
        # Before the first epoch, whoever has subscribed will fetch the event.
        if self.epoch:
            found = self._current([], None)
            self._adopt(found.epoch, found.head)

    def _add(self, channel: RedisChannel, entry: Entry) -> None:
        if entry.number <= channel.last:
            return
        channel.last = entry.number
        channel.window.entries.append(entry)
        keep = max(self._config.history, BUFFER)
        if len(channel.window.entries) > keep + SLACK:
            channel.window = channel.window.keeping(keep)


def batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in groups that Redis takes in one step."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
