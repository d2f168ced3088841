"""Events from those who publish to those who subscribe, in one process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from heapq import heappop
from heapq import heappush
from itertools import count
from secrets import token_hex
from typing import TypeAlias

from ._events import ServerSentEvent
from ._history import Position
from ._history import Window
from ._history import entry_of
from ._history import opening
from ._post import Post
from ._subscription import BUFFER
from ._subscription import SLACK
from ._subscription import Channel
from ._subscription import Subscription
from .config import Config


#: Something to be done under the lock, with the number that it has in the order.
Change: TypeAlias = Callable[[int], None]


class MemoryBroker:
    """Carry events within one process.

    The epoch names the process: a client that comes from an earlier one, or from
    another worker, is told a gap. Numbers count changes.

    Changes are made one after the other, under a lock that its holder may take again:
    the garbage collector runs other code anywhere, and a generator's ``finally`` may
    publish in the middle of a publication. Such a change waits until the one at hand
    is complete; all are made in the order of their numbers.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.post = Post()
        self.now = Position(token_hex(4), 0, mark=True)
        self._forgotten = 0
        #: The channel that was used least recently comes first.
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        #: When the events of channels that have ended are dropped, and where they end.
        self._ended: deque[tuple[float, str, int]] = deque()
        self._numbers = count(1)
        self._changes: list[tuple[int, Change]] = []
        self._changing = False
        self._lock = threading.RLock()

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
        """
        ServerSentEvent(data, event)
        number = self._change(partial(self._append, channel, data, event, key, end))
        known = self._known(channel, key) if key else None
        return known or str(Position(self.now.epoch, number))

    def subscribe(
        self,
        channels: Sequence[str],
        last_event_id: str | None = None,
        history: bool | Position = True,
    ) -> Subscription:
        """Return the events after the one with the id, or from now on."""
        subscription = Subscription(self)
        self._change(
            partial(self._begin, subscription, channels, last_event_id, history)
        )
        return subscription

    def position(self) -> Position | None:
        """Return the position behind all that was published."""
        return self.now

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._change(partial(self._leave, subscription))

    def _change(self, change: Change) -> int:
        with self._lock:
            number = next(self._numbers)
            heappush(self._changes, (number, change))
            if self._changing:
                return number
            self._changing = True
            try:
                while self._changes:
                    each, change = heappop(self._changes)
                    change(each)
                    self._raise(each)
            finally:
                self._changing = False
            return number

    def _raise(self, number: int) -> None:
        if number > self.now.number:
            self.now = Position(self.now.epoch, number, mark=True)

    def _append(
        self,
        name: str,
        data: str,
        event: str | None,
        key: str | None,
        end: float | None,
        number: int,
    ) -> None:
        if key and self._known(name, key):
            return
        channel = self._channel(name)
        sent = ServerSentEvent(data, event, str(Position(self.now.epoch, number)))
        entry = entry_of(number, sent, name if end is not None else "", key or "")
        channel.window.entries.append(entry)
        keep = self._config.history
        if channel.subscribers:
            keep = max(keep, BUFFER)
        if len(channel.window.entries) > keep + SLACK:
            channel.window = channel.window.keeping(keep)
        if end is not None:
            self._ended.append((time.monotonic() + end, name, number))
            self._drop_ended()
        # Seen by readers that look before it is: nothing is missing up to here.
        self._raise(number)
        if channel.subscribers:
            self.post.tell(channel)

    def _begin(
        self,
        subscription: Subscription,
        names: Sequence[str],
        last_event_id: str | None,
        history: bool | Position,
        _: int,
    ) -> None:
        channels = [self._channel(name) for name in names]
        windows = [it.window.keeping(self._config.history) for it in channels]
        found = opening(windows, self.now, last_event_id, history)
        for channel in channels:
            channel.subscribers.add(subscription)
        subscription.begin(found, self.now, *channels)

    def _known(self, name: str, key: str) -> str | None:
        channel = self._channels.get(name)
        if channel is not None:
            for entry in channel.window.keeping(self._config.history).entries:
                if entry.key == key:
                    return entry.event.id
        return None

    def _channel(self, name: str) -> Channel:
        """Return a channel as the one used last, and forget those long unused."""
        self._drop_ended()
        now = time.monotonic()
        found = self._channels.get(name)
        if found is None:
            found = Channel(name, Window(self.now.epoch, self._forgotten))
            self._channels[name] = found
        found.used = now
        self._channels.move_to_end(name)
        # At most one is made in each change, so forgetting one is enough.
        oldest = next(iter(self._channels.values()))
        if oldest.used < now - self._config.history_seconds:
            self._forget(oldest)
        return found

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        if channel.window.entries:
            self._forgotten = max(self._forgotten, channel.window.entries[-1].number)
        if channel.subscribers:
            channel.window = Window(self.now.epoch, self._forgotten)
            channel.used = time.monotonic()
            self._channels[channel.name] = channel

    def _drop_ended(self) -> None:
        """Keep the last event only of channels that have ended."""
        while self._ended and self._ended[0][0] <= time.monotonic():
            _, name, number = self._ended.popleft()
            channel = self._channels.get(name)
            end = channel and channel.window.ended()
            if channel and end and end.number == number:
                channel.window = channel.window.keeping(1)

    def _leave(self, subscription: Subscription, _: int) -> None:
        for channel in subscription.channels:
            channel.subscribers.discard(subscription)
            unused = not channel.window.entries and not channel.subscribers
            if unused and self._channels.get(channel.name) is channel:
                del self._channels[channel.name]
