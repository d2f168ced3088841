"""Positions, and what of a history lies after one: pure rules, without I/O.

The theory is at the head of `_subscription.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from operator import attrgetter
from typing import NamedTuple
from typing import Self

from ._events import ServerSentEvent


#: Lua, which counts in Redis, is exact up to here: microseconds until the year 2255.
LARGEST = 2**53
ID = re.compile(r"([0-9a-f]{8})-(\d{1,16})(~?)", re.ASCII)


class Position(NamedTuple):
    """A point in the order of all events of a broker.

    :param epoch: names the history in which the number was given.
    :param number: events up to this one come before the position.
    :param mark: there need not be an event with this number.
    """

    epoch: str
    number: int
    mark: bool = False

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position that an id names, or None for a foreign id."""
        match = ID.fullmatch(text)
        if match is None or int(match[2]) >= LARGEST:
            return None
        return cls(match[1], int(match[2]), bool(match[3]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}{'~' * self.mark}"


class Entry(NamedTuple):
    """An event in a history, and the bytes by which it is sent.

    :param ends: the channel that ends with this event, or an empty string.
    :param key: under which it is published once only, or an empty string.
    """

    number: int
    event: ServerSentEvent
    frame: bytes
    ends: str = ""
    key: str = ""


def entry_of(
    number: int, event: ServerSentEvent, ends: str = "", key: str = ""
) -> Entry:
    """Encode an event once, for everybody."""
    return Entry(number, event, event.encode(), ends, key)


def gap(position: Position, last_event_id: str) -> Entry:
    """Return the event that says that events before a position are not known."""
    event = ServerSentEvent(last_event_id, event="gap", id=str(position))
    return entry_of(position.number, event)


@dataclass(slots=True)
class Window:
    """What is known of a channel: every entry after the floor.

    Readers take no lock. Entries are only appended; what forgets some of them makes a
    new window, so an index stays valid in the list that it was found in.
    """

    floor: int
    entries: list[Entry] = field(default_factory=list)

    def after(self, number: int, until: int = LARGEST) -> Sequence[Entry]:
        """Return the entries after a number, up to another."""
        entries = self.entries
        # Most readers are at the end.
        if not entries or entries[-1].number <= number:
            return ()
        if entries[-1].number <= until and (
            len(entries) == 1 or entries[-2].number <= number
        ):
            return entries[-1:]
        start = bisect_right(entries, number, key=_number)
        end = bisect_right(entries, until, start, key=_number)
        return entries[start:end]

    def ended(self) -> Entry | None:
        """Return the entry by which the channel ended, if it did."""
        entries = self.entries
        return entries[-1] if entries and entries[-1].ends else None

    def keeping(self, count: int) -> Window:
        """Return a window with the last entries only; an end is kept."""
        dropped = len(self.entries) - (max(count, 1) if self.ended() else count)
        if dropped <= 0:
            return self
        return Window(self.entries[dropped - 1].number, self.entries[dropped:])


class Read(NamedTuple):
    """Entries in order, up to where everything has been read.

    :param lost: whether a gap is among them.
    """

    entries: Sequence[Entry]
    after: int
    lost: bool = False


class Opening(NamedTuple):
    """How a subscription begins.

    :param position: where the client stands, or None where it is told a gap.
    :param entries: what it missed.
    :param over: whether it has seen the end of every channel.
    """

    position: Position | None
    entries: Sequence[Entry]
    over: bool


def opening(
    windows: Sequence[Window],
    epoch: str,
    head: int,
    last_event_id: str | None,
    history: bool | Position,
    *,
    known: bool = True,
) -> Opening:
    """Return what a client is sent first: everything up to the head that it missed.

    :param epoch: the current one; `head`: its last number.
    :param history: whether the client may have what was published before; a position:
        only what came after.
    :param known: whether the event with the id is there, where that was looked for.
    """
    if not last_event_id:
        ends = [end for window in windows if (end := window.ended())]
        return Opening(Position(epoch, head, mark=True), ends, over=False)
    bound = 0 if history is True else head
    if isinstance(history, Position) and history.epoch == epoch:
        bound = min(history.number, head)
    last = Position.parse(last_event_id) if known else None
    if (
        last is None
        or last.epoch != epoch
        or last.number > head
        or (last.number < bound and _missed(windows, last.number, bound))
    ):
        found = _with_gap(windows, epoch, bound, last_event_id)
    else:
        after = max(last.number, bound)
        found = read(windows, epoch, after, head, LARGEST, last_event_id)
        seen = [(end := it.ended()) and end.number <= after for it in windows]
        if not found.lost:
            position = last if after == last.number else Position(epoch, after, True)
            return Opening(position, found.entries, all(seen))
    rest = _merged(windows, found.after, head, LARGEST)
    return Opening(None, [*found.entries, *rest.entries], over=False)


def _missed(windows: Sequence[Window], after: int, until: int) -> bool:
    return after < until and any(
        it.floor > after or it.after(after, until) for it in windows
    )


def read(
    windows: Sequence[Window],
    epoch: str,
    after: int,
    head: int,
    limit: int,
    last_event_id: str | None = None,
) -> Read:
    """Return what comes next in several channels.

    Where a window does not reach back far enough, what is known before its floor comes
    first, then a gap.

    :param head: every window holds all of its entries up to this number.
    :param limit: of the entries; those before a gap are not limited.
    """
    if len(windows) == 1 and windows[0].floor <= after:
        # Most streams are of one channel.
        found = windows[0].after(after, head)
        if len(found) <= limit:
            return Read(found, max(after, head))
    if all(window.floor <= after for window in windows):
        return _merged(windows, after, head, limit)
    last = last_event_id or str(Position(epoch, after, mark=True))
    return _with_gap(windows, epoch, after, last)


def _with_gap(
    windows: Sequence[Window], epoch: str, after: int, last_event_id: str
) -> Read:
    floor = max(after, *(window.floor for window in windows))
    before = _merged(windows, after, floor, LARGEST).entries
    told = gap(Position(epoch, floor, mark=True), last_event_id)
    return Read([*before, told], floor, lost=True)


def _merged(windows: Sequence[Window], after: int, until: int, limit: int) -> Read:
    if len(windows) == 1:
        found = windows[0].after(after, until)
    else:
        parts = [window.after(after, until) for window in windows]
        found = sorted((entry for part in parts for entry in part), key=_number)
    if len(found) > limit:
        found = found[:limit]
        return Read(found, found[-1].number)
    return Read(found, max(after, until))


_number = attrgetter("number")
