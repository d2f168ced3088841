"""Events from those who publish to those who subscribe, in one process."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from threading import Lock
from typing import Self
from typing import TypeAlias
from weakref import WeakSet

from ._events import ServerSentEvent
from ._mailbox import Mailbox
from .config import Config


#: Where an event stands: the two numbers of its id.
Position: TypeAlias = tuple[int, int]
START: Position = (0, 0)
#: Redis holds each half in 64 bits.
ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


def parse_id(text: str) -> Position | None:
    """Return the position that an id names, or None for an id that is not ours."""
    match = ID.fullmatch(text)
    if match is None:
        return None
    position = int(match[1]), int(match[2])
    return position if max(position) < 2**64 else None


def format_id(position: Position) -> str:
    """Return the id of the event at a position."""
    return f"{position[0]}-{position[1]}"


def gap(before: Position, last_event_id: str) -> ServerSentEvent:
    """Tell a client that events after its last one are not known any more.

    :param before: where what follows begins, so that the next resume is exact.
    """
    return ServerSentEvent(last_event_id, event="gap", id=format_id(before))


class Subscription:
    """The events of a channel from one point on.

    Iterate over it, or hand it to ``event_stream``. It ends when it is closed, and
    when its reader is so slow that the queue is full; then a browser comes back
    with the id of the last event it saw.
    """

    def __init__(self, size: int) -> None:
        self._mailbox = Mailbox[tuple[Position, ServerSentEvent]](size)
        self._backlog: list[ServerSentEvent] = []
        self._after = START
        self._read: list[ServerSentEvent] = []
        self._leave: Callable[[Subscription], None] | None = None

    def begin(
        self,
        after: Position,
        backlog: Iterable[ServerSentEvent] = (),
        leave: Callable[[Subscription], None] | None = None,
    ) -> None:
        """Set where the subscription stands. For brokers.

        :param after: events up to here are not of interest, or in the backlog.
        :param leave: what to call at the end.
        """
        self._after = after
        self._backlog = list(backlog)
        self._leave = leave

    def offer(self, position: Position, event: ServerSentEvent) -> None:
        """Add an event. For brokers."""
        self._mailbox.offer((position, event))

    def receive(self, timeout: float | None = None) -> list[ServerSentEvent] | None:
        """Return the events that came, none after the timeout, or None at the end.

        :param timeout: in seconds; None waits as long as it takes.
        """
        if self._backlog:
            backlog, self._backlog = self._backlog, []
            return backlog
        items = self._mailbox.take(timeout)
        if items is None:
            return None
        return [event for position, event in items if position > self._after]

    def close(self) -> None:
        """Leave the channel."""
        self._mailbox.end()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self)

    def __iter__(self) -> Iterator[ServerSentEvent]:
        return self

    def __next__(self) -> ServerSentEvent:
        while not self._read:
            received = self.receive()
            if received is None:
                raise StopIteration
            self._read = received[::-1]
        return self._read.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class Channel:
    """What the broker in memory knows of a channel.

    :param floor: events up to this number may have been forgotten.
    :param used: when the last event came, on the monotonic clock.
    """

    floor: int
    used: float
    history: deque[tuple[int, ServerSentEvent]] = field(default_factory=deque)
    # Weak: a view may fail between subscribing and answering.
    subscribers: WeakSet[Subscription] = field(default_factory=WeakSet)


class MemoryBroker:
    """Carry events within one process.

    Ids hold the time at which the broker was made: what a client saw from an
    earlier process, or from another worker, is known for what it is. Such a client
    is sent a ``gap`` event and the whole history; nothing is skipped in silence.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._epoch = time.time_ns()
        self._number = 0
        self._forgotten = 0
        #: The channel that was used least recently comes first.
        self._channels: dict[str, Channel] = {}
        self._left: deque[tuple[str, Subscription]] = deque()
        self._lock = Lock()

    def publish(self, channel: str, data: str, event: str | None = None) -> str:
        """Send an event to a channel and return its id."""
        with self._lock:
            position = self._epoch, self._number + 1
            sent = ServerSentEvent(data, event, format_id(position))
            self._number += 1
            found = self._channel(channel)
            found.history.append((self._number, sent))
            if len(found.history) > self._config.history:
                found.floor = found.history.popleft()[0]
            for subscription in tuple(found.subscribers):
                subscription.offer(position, sent)
            return format_id(position)

    def subscribe(self, channel: str, last_event_id: str | None = None) -> Subscription:
        """Return the channel's events after the one with the id, or from now on."""
        subscription = Subscription(self._config.queue_size)
        with self._lock:
            found = self._channel(channel)
            backlog = self._missed(found, last_event_id) if last_event_id else []
            subscription.begin(START, backlog, partial(self._unsubscribe, channel))
            found.subscribers.add(subscription)
        return subscription

    def _missed(self, channel: Channel, last_event_id: str) -> list[ServerSentEvent]:
        epoch, number = parse_id(last_event_id) or START
        known = epoch == self._epoch and channel.floor <= number <= self._number
        if known:
            return [event for place, event in channel.history if place > number]
        before = self._epoch, channel.floor
        return [gap(before, last_event_id), *(event for _, event in channel.history)]

    def _channel(self, name: str) -> Channel:
        """Return a channel as the one used last, and forget those long unused."""
        self._sweep()
        now = time.monotonic()
        found = self._channels.pop(name, None) or Channel(self._forgotten, now)
        found.used = now
        self._channels[name] = found
        # At most one is made in each call, so forgetting one is enough.
        oldest, channel = next(iter(self._channels.items()))
        if channel.used < now - self._config.history_seconds:
            self._forget(oldest)
        return found

    def _forget(self, name: str) -> None:
        channel = self._channels.pop(name)
        if channel.history:
            self._forgotten = max(self._forgotten, channel.history[-1][0])
        if channel.subscribers:
            channel.floor = max(channel.floor, self._forgotten)
            channel.history.clear()
            channel.used = time.monotonic()
            self._channels[name] = channel

    def _unsubscribe(self, name: str, subscription: Subscription) -> None:
        self._left.append((name, subscription))
        # Without waiting: the garbage collector closes what it finds in any thread,
        # also in the one that holds the lock, which then sees to it later.
        if self._lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._lock.release()

    def _sweep(self) -> None:
        """Take out the subscriptions that were closed."""
        while self._left:
            name, subscription = self._left.popleft()
            channel = self._channels.get(name)
            if channel is None:
                continue
            channel.subscribers.discard(subscription)
            if not channel.history and not channel.subscribers:
                del self._channels[name]
