"""Subscriptions: what a client of live events is promised, and why it holds.

Positions
    All events of a broker stand in one order, whatever their channel: each has a
    number, larger than all before it. Numbers are microseconds of the clock, or one
    more than the last where the clock stands still or goes back. An *epoch* names the
    history to which a number belongs. An event's id is ``epoch-number``. A *mark*,
    ``epoch-number~``, is a position at which there need not be an event. One position
    stands for all channels of a stream: everything on them up to it has been sent.

History
    Each channel has a *window*: the events after its *floor*, the last ones up to
    ``STREAMING_HISTORY``. All clients read the same window; each has only a cursor
    into it. A burst is one wake for each client, and nobody is cut for being slow.

Gap
    A client whose position lies before a floor, in another epoch, or in the future
    may have missed events that nobody can send any more. It is sent an event of the
    type ``gap``, and then all that is known. The gap has the id at which it stands,
    so that it is neither lost nor told twice when the client is cut once more. Where
    events were lost a new epoch begins, and nothing of the former one is sent any more:
    what follows a gap has no hole.

End
    A channel ends with an event of the type ``end``. A stream whose channels have all
    ended is over, and a client that comes back after having seen the end is answered
    with a 204, at which browsers stop. A channel that has ended keeps its events for a
    moment, then its last one only.

What a client meets, with every broker::

    it connects                         is sent          and then
    ----------------------------------  ---------------  ---------------------------
    without an id                       a mark           what is published from now on
    with an id or a mark it was given   a mark           what it missed, once, in order
    the same, but some is not known     gap              all that is known
    with a foreign id, or of an epoch   gap              all that is known of the
      that was lost                                      present epoch
    with what ``history`` forbids       gap, where it    what is allowed
                                        missed any
    to a channel that has ended         end              the stream ends
    after it has seen the end           204

    while it is connected
    ----------------------------------------------------------------------------------
    it falls behind the window          gap              all that is known
    it is quiet for long                a new mark       so that its position does not
                                                         become too old to be resumed
    the broker lost events              gap              all of the epoch that begins

The first block of a stream is ``event: position`` with an empty ``data`` and the mark
as its ``id``; browsers send it back in ``Last-Event-ID`` though no event was seen yet,
and a page that listens for ``position`` can read it in ``lastEventId``. Where a gap is
to be told there is no such block: the gap carries the id. A client that cannot set the
header passes ``last_event_id`` in the query; the header, which is newer, wins.

Who moves a subscription: its broker begins it and wakes it, its reader alone moves the
cursor, and anybody may close it. Reading takes no lock (see `Window`). The reader looks
first at how far the broker is, then at the windows: that is raised after the event is
in its window, so nothing up to it can be missing there. Both name their epoch, and the
cursor does: numbers of different epochs are never compared.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple
from typing import Protocol
from typing import Self
from weakref import WeakSet

from ._events import ServerSentEvent
from ._history import Entry
from ._history import Opening
from ._history import Position
from ._history import Window
from ._history import read


#: The most events that a client is sent in one piece, so that others have their turn.
LIMIT = 64
#: How many entries a window keeps for its readers where the history is shorter.
BUFFER = 256
#: How many it may have above that, so that they are dropped together.
SLACK = 64


def position_block(position: Position, retry: int | None = None) -> bytes:
    """Return the block that tells a client where it stands."""
    return ServerSentEvent("", "position", str(position), retry).encode()


class Gate:
    """A gate at which one thread waits. Opening it twice is opening it once."""

    def __init__(self) -> None:
        # Looked up now: gevent may have replaced it since this module was imported.
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the thread pass, now or when it comes."""
        try:
            self._lock.release()
        except RuntimeError:
            # It is open already.
            return

    def wait(self, timeout: float | None = None) -> bool:
        """Shut the gate once it opens; return whether it did in time, in seconds."""
        if timeout is None:
            return self._lock.acquire()
        # Threads cannot wait for longer.
        return self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class Step(NamedTuple):
    """A block of entries, and where a client stands after it.

    :param more: whether there may be another one.
    """

    block: bytes
    after: Position | None
    more: bool


class Channel:
    """A channel that somebody in this process listens to, or that has a history."""

    __slots__ = ("__weakref__", "name", "steps", "subscribers", "used", "window")

    def __init__(self, name: str, window: Window, used: float = 0.0) -> None:
        self.name: str = name
        self.window: Window = window
        #: What those who listen to this channel alone are sent at a broker's position,
        #: by where they stand: most stand at the same place.
        self.steps: tuple[Position | None, dict[Position, Step]] = None, {}
        # Weak: a view may fail between subscribing and answering.
        self.subscribers: WeakSet[Subscription] = WeakSet()
        self.used: float = used


class Feed(Protocol):
    """The source of a subscription's events: a broker, as a subscription sees it."""

    #: Every channel's window is of its epoch and holds all of its events up to its
    #: number, or is just being replaced; then whoever listens is told afterwards.
    now: Position

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription. May be called from any thread, at any time."""


class Subscription:
    """The events of one or more channels from one point on.

    Iterate over it, or pass it to ``event_stream``. It ends when it is closed, and when
    all of its channels have ended.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._gate = Gate()
        self._wake: Callable[[], None] = self._gate.open
        self._after: Position | None = None
        self._pending: Sequence[Entry] = ()
        self._ends: dict[str, int] = {}
        self._read: deque[ServerSentEvent] = deque()
        self._closed = False
        self.channels: tuple[Channel, ...] = ()
        #: Where the client stood; None where it is told a gap, or nothing is known.
        self.position: Position | None = None
        #: Whether there may be more than was taken last.
        self.more: bool = False
        #: Whether every channel has ended, and the client has seen it.
        self.over: bool = False

    def begin(self, opening: Opening, now: Position, *channels: Channel) -> None:
        """Set where the subscription starts. For brokers.

        :param now: where the windows of the channels are read from; what comes before
            is in the opening.
        """
        self.position, self._pending, self.over, self._ends = opening
        self.channels = channels
        self._after = now
        self._wake()

    @property
    def mark(self) -> Position | None:
        """The position behind all that was received, while nothing is pending."""
        if self._after is None or self._pending:
            return None
        return self._after._replace(mark=True)

    def take(self) -> Sequence[Entry] | None:
        """Return the next entries without waiting, or None at the end."""
        if self._closed or self.over:
            return None
        if self._after is None:
            return ()
        found: Sequence[Entry]
        if self._pending:
            found, self._pending = self._pending[:LIMIT], self._pending[LIMIT:]
        else:
            now = self._feed.now
            windows = [channel.window for channel in self.channels]
            for window in windows:
                if window.epoch != now.epoch:
                    return ()
            if now.epoch != self._after.epoch:
                self._ends = {}
            found, self._after, _ = read(windows, self._after, now, LIMIT)
        self.more = len(found) == LIMIT
        if found and found[-1].ends:
            self.over = not self._pending and all(map(self._has_ended, self.channels))
        return found

    def _has_ended(self, channel: Channel) -> bool:
        """Return whether the client has seen the end of a channel."""
        entries = channel.window.entries
        known = self._ends.get(channel.name, 0)
        if entries and entries[-1].number > known:
            last, after = entries[-1], self._after
            return bool(last.ends) and after is not None and last.number <= after.number
        # What ended before the subscription began need not be in the window.
        return known > 0

    @property
    def behind(self) -> bool:
        """Whether the history does not hold any more what comes next."""
        after = self._after
        return after is not None and any(
            it.window.epoch != after.epoch or it.window.floor > after.number
            for it in self.channels
        )

    def next_block(self) -> bytes | None:
        """Return what is to be sent, nothing, or None at the end."""
        before, now = self._after, self._feed.now
        ended = self._closed or self.over
        if ended or before is None or self._pending or len(self.channels) != 1:
            return self._own_block()
        channel = self.channels[0]
        known, steps = channel.steps
        if known is not now:
            steps = {}
        elif step := steps.get(before):
            block, self._after, self.more = step
            return block
        found = self._own_block()
        # An end is for each to see, and so is another epoch.
        if found and not self.over and before.epoch == now.epoch:
            steps[before] = Step(found, self._after, self.more)
            channel.steps = now, steps
        return found

    def _own_block(self) -> bytes | None:
        entries = self.take()
        if entries is None:
            return None
        return b"".join([entry.frame for entry in entries])

    def renewed(self) -> bytes:
        """Return a block that brings the client's position up to date."""
        mark = self.mark
        return position_block(mark) if mark is not None else b""

    def receive(self, timeout: float | None = None) -> list[ServerSentEvent] | None:
        """Return the events that came, none after the timeout, or None at the end.

        :param timeout: in seconds; None waits as long as it takes.
        """
        if self._read:
            found = list(self._read)
            self._read.clear()
            return found
        while True:
            entries = self.take()
            if entries is None:
                return None
            if entries or not self._gate.wait(timeout):
                return [entry.event for entry in entries]

    def listen(self, wake: Callable[[], None]) -> None:
        """Have a function called whenever :meth:`take` may return something new."""
        self._wake = wake

    def wake(self) -> None:
        """Have the reader look. For brokers."""
        self._wake()

    def close(self) -> None:
        """Leave the channels."""
        if not self._closed:
            self._closed = True
            self._feed.leave(self)
            self._wake()

    def __iter__(self) -> Iterator[ServerSentEvent]:
        return self

    def __next__(self) -> ServerSentEvent:
        while not self._read:
            received = self.receive()
            if received is None:
                raise StopIteration
            self._read.extend(received)
        return self._read.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
