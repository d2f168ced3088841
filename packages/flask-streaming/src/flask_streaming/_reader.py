"""The thread by which a process hears what others publish.

It has one connection to Redis, subscribed by Pub/Sub to every channel that somebody in
this process listens to, and ends when nobody does. It alone writes the windows and
`now`, the position up to which every window is complete::

    it meets                               and then
    -------------------------------------  ------------------------------------------
    an event, the channel's next one       appends it; `now` is the event's number
    an event that names another before it  fetches what is between; a floor, and so a
                                           gap, where Redis has not kept it
    a tick, which somebody sends every     `now` is its number
      five seconds, or an event in between
    a connection that broke, also one that connects; fetches what came after `now` on
      the client mended by itself          all channels
    another epoch, by whatever said so     empties the windows, goes on in the epoch,
                                           fetches its events; clients are told a gap

**What a connection carries is complete and in order**, so a number that came by it is a
number up to which all was received. This does not hold for a replica, which may be sent
a new copy of everything while its own listeners stay: events in the copy are never
heard. There, what is heard only says that it is time to look: all channels are fetched
from `now` on, with every tick too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from typing import TypeVar
from typing import cast

from ._entries import parse
from ._entries import text_of
from ._history import Entry
from ._history import Position
from ._history import Window
from ._post import Post
from ._stored import Stored
from ._subscription import BUFFER
from ._subscription import SLACK
from ._subscription import Channel
from ._subscription import Subscription
from .config import Config


logger = logging.getLogger("flask_streaming")

T = TypeVar("T")

#: How long the reader waits for an answer at a time, in seconds.
POLL_SECONDS = 0.25
#: How often it makes sure that the connection lives and that positions are fresh.
TICK_SECONDS = 5.0
RETRY_SECONDS = 0.25
#: Channels that are fetched, or subscribed to, in one step.
BATCH = 200


class RedisChannel(Channel):
    """A channel that the reader has subscribed to, or is about to.

    `last` is the number up to which its events were received. `ready` is set once it
    is subscribed to, or the connection has `failed`.
    """

    __slots__ = ("failed", "last", "ready")

    def __init__(self, name: str, epoch: str) -> None:
        # Whoever listens begins behind what it has not heard.
        super().__init__(name, Window(epoch, 0))
        self.last = 0
        self.failed = False
        self.ready = threading.Event()

    def begin(self, epoch: str, number: int) -> None:
        """Forget everything and go on in another epoch."""
        self.window = Window(epoch, number)
        self.last = number

    def add(self, entry: Entry, keep: int) -> None:
        """Append an entry, unless it is there."""
        if entry.number <= self.last:
            return
        self.last = entry.number
        self.window.entries.append(entry)
        if len(self.window.entries) > keep + SLACK:
            self.window = self.window.keeping(keep)


class Reader:
    """Hear what is published, for all who listen in this process."""

    def __init__(self, config: Config, stored: Stored, post: Post) -> None:
        self._stored = stored
        self._post = post
        self._timeout = config.redis_timeout
        self._keep = max(config.history, BUFFER)
        self.now = Position("", 0, mark=True)
        #: Replaced and set when another epoch begins.
        self._moved = threading.Event()
        self._channels: dict[str, RedisChannel] = {}
        self._left: deque[Subscription] = deque()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._pubsub: Any = None

    # This is called by those who listen.

    def listen(
        self, names: Sequence[str], subscription: Subscription, timeout: float
    ) -> bool:
        """Subscribe to channels; return whether Redis confirmed it in time."""
        deadline = time.monotonic() + timeout
        with self._lock:
            new = [name for name in names if name not in self._channels]
            epoch = self.now.epoch
            self._channels.update((name, RedisChannel(name, epoch)) for name in new)
            found = [self._channels[name] for name in names]
            subscription.channels = tuple(found)
            for channel in found:
                channel.subscribers.add(subscription)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="streaming-reader", daemon=True
                )
                self._thread.start()
            elif new and self._pubsub is not None:
                self._subscribe(new)
        for channel in found:
            channel.ready.wait(max(0.0, deadline - time.monotonic()))
        return all(it.ready.is_set() and not it.failed for it in found)

    def wait_for(self, epoch: str, timeout: float) -> None:
        """Wait until the reader has come to an epoch."""
        moved = self._moved
        if self.now.epoch != epoch:
            moved.wait(timeout)

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        # Without the lock: the garbage collector closes what it finds in any thread,
        # also in the one that holds it.
        self._left.append(subscription)

    # The rest is the reader's own.

    def _run(self) -> None:
        known = None
        while self._anybody(every=True):
            try:
                self._connect()
                known = None
                self._receive()
            except Exception as error:
                trouble = self._stored.trouble(error)
                if not isinstance(error, self._stored.errors):
                    logger.exception("the reader of events failed and is restarting")
                elif trouble != known:
                    logger.warning(
                        "%s; clients wait until it is back: %s", trouble, error
                    )
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
                        self._pubsub.unsubscribe(self._stored.spoken(channel.name))
            if not self._channels:
                self._thread = None
            return bool(self._channels)

    def _subscribe(self, names: Sequence[str]) -> None:
        for some in batched(names):
            self._pubsub.subscribe(*map(self._stored.spoken, some))

    def _disconnect(self) -> None:
        with self._lock:
            pubsub, self._pubsub = self._pubsub, None
            for channel in self._channels.values():
                # Who waits for it does not wait any longer.
                channel.failed = True
                channel.ready.set()
        if pubsub is not None:
            with suppress(*self._stored.errors):
                pubsub.close()

    def _connect(self) -> None:
        """Subscribe to all channels, and fetch what came while nobody read."""
        with self._lock:
            channels = dict(self._channels)
            for channel in channels.values():
                channel.failed = False
                channel.ready.clear()
            self._pubsub = self._stored.pubsub()
            self._pubsub.subscribe(self._stored.tick_name)
            self._subscribe(list(channels))
        missing, messages = set(channels), []
        deadline = time.monotonic() + max(self._timeout, 1.0)
        while missing:
            message = self._pubsub.get_message(timeout=POLL_SECONDS)
            if message:
                messages.append(message)
            if message and message["type"] == "subscribe":
                missing.discard(self._stored.channel_of(message["channel"]))
            if time.monotonic() > deadline:
                raise TimeoutError("it does not answer")
        self._catch_up()
        for message in messages:
            self._handle(message)

    def _catch_up(self) -> None:
        """Take what Redis has after `now`; tell everybody a gap in another epoch."""
        found = self._stored.fetch((), None, self.now)
        # A channel that comes later is subscribed to behind what was found.
        with self._lock:
            channels = list(self._channels.values())
            before = self.now
            if found.now.epoch != before.epoch:
                # Who has begun nowhere yet begins behind what is known.
                since = found.since - 1 if before.epoch else found.now.number
                for channel in channels:
                    channel.begin(found.now.epoch, since)
                self.now = found.now._replace(number=since)
                moved, self._moved = self._moved, threading.Event()
                moved.set()
        for some in batched(channels):
            self._fetch(some, self.now.number)
        self._raise(found.now, channels)

    def _fetch(self, channels: Sequence[RedisChannel], after: int) -> None:
        found = self._stored.fetch([it.name for it in channels], after, self.now)
        for channel, window in zip(channels, found.windows, strict=True):
            if window.epoch != self.now.epoch:
                raise ConnectionError("the epoch changed while it was read")
            if window.floor > max(after, channel.last):
                channel.begin(window.epoch, window.floor)
            for entry in window.entries:
                channel.add(entry, self._keep)

    def _raise(self, now: Position, channels: Iterable[Channel] = ()) -> None:
        if now.epoch == self.now.epoch and now.number > self.now.number:
            self.now = now
        for channel in channels:
            self._post.tell(channel)

    def _receive(self) -> None:
        ticked, heard, looked = 0.0, time.monotonic(), time.monotonic()
        while True:
            message = self._pubsub.get_message(timeout=POLL_SECONDS)
            now = time.monotonic()
            if message and self._handle(message):
                heard = now
            if now - looked > POLL_SECONDS:
                looked = now
                if not self._anybody(every=now - ticked > TICK_SECONDS):
                    return
            if now - ticked > TICK_SECONDS:
                if ticked > heard:
                    raise TimeoutError("it does not answer")
                ticked = time.monotonic()
                self._stored.tick(self.now)

    def _handle(self, message: Mapping[str, Any]) -> bool:
        """Take a message; return whether it was a tick."""
        name = message["channel"]
        if message["type"] == "subscribe":
            self._confirm(self._stored.channel_of(name))
        if message["type"] != "message":
            return False
        if text_of(name) != self._stored.tick_name:
            self._hear(self._stored.channel_of(name), message["data"])
            return False
        epoch, _, number = text_of(message["data"]).partition(" ")
        if self._stored.is_copy or epoch != self.now.epoch:
            self._catch_up()
        else:
            self._raise(Position(epoch, int(number), mark=True))
        return True

    def _confirm(self, name: str) -> None:
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            if channel.ready.is_set():
                # What the connection missed was said while it was broken.
                raise ConnectionError("the Redis client reconnected by itself")
            channel.last = max(channel.last, self.now.number)
            channel.ready.set()

    def _hear(self, name: str, data: Any) -> None:
        channel = self._channels.get(name)
        found = parse(data, name)
        if channel is None or found is None:
            return
        position = Position(found.epoch, found.entry.number, mark=True)
        if position.epoch != self.now.epoch:
            self._catch_up()
        elif not self._stored.is_copy:
            if found.before > channel.last:
                self._fetch([channel], channel.last)
            channel.add(found.entry, self._keep)
            self._raise(position, [channel])
        elif position.number > self.now.number:
            self._catch_up()


def batched(items: Collection[T]) -> Iterator[Sequence[T]]:
    """Yield items in groups that Redis takes in one step."""
    items = list(items)
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
