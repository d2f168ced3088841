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
    """The known part of a channel: every entry of an epoch after the floor.

    Readers take no lock. Entries are only appended; what forgets some of them makes a
    new window, so an index stays valid in the list that it was found in.
    """

    epoch: str
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
        floor = self.entries[dropped - 1].number
        return Window(self.epoch, floor, self.entries[dropped:])


class Read(NamedTuple):
    """Entries in order, up to where everything has been read.

    :param lost: whether a gap is among them.
    """

    entries: Sequence[Entry]
    after: Position
    lost: bool = False


class Opening(NamedTuple):
    """The beginning of a subscription.

    :param position: where the client stands, or None where it is told a gap.
    :param entries: what it missed.
    :param over: whether it has seen the end of every channel.
    :param ends: the numbers by which channels have ended.
    """

    position: Position | None
    entries: Sequence[Entry]
    over: bool
    ends: dict[str, int]


def opening(
    windows: Sequence[Window],
    now: Position,
    last_event_id: str | None,
    history: bool | Position,
    *,
    known: bool = True,
) -> Opening:
    """Return what a client is sent first: everything up to now that it missed.

    :param history: whether the client may have what was published before; a position:
        only what came after.
    :param known: whether the event with the id is there, where that was looked for.
    """
    now = now._replace(mark=True)
    last_entries = [end for window in windows if (end := window.ended())]
    ends = {end.ends: end.number for end in last_entries}
    if not last_event_id:
        return Opening(now, last_entries, over=False, ends=ends)
    bound = now._replace(number=0) if history is True else now
    if isinstance(history, Position) and history.epoch == now.epoch:
        bound = now._replace(number=min(history.number, now.number))
    last = Position.parse(last_event_id) if known else None
    if (
        last is None
        or last.epoch != now.epoch
        or last.number > now.number
        or (last.number < bound.number and _missed(windows, last, bound))
    ):
        found = _with_gap(windows, bound, last_event_id)
    else:
        after = last if last.number >= bound.number else bound
        found = read(windows, after, now, LARGEST, last_event_id)
        if not found.lost:
            seen = [end for end in last_entries if end.number <= after.number]
            return Opening(after, found.entries, len(seen) == len(windows), ends)
    rest = _merged(windows, found.after, now, LARGEST)
    return Opening(None, [*found.entries, *rest.entries], over=False, ends=ends)


def _missed(windows: Sequence[Window], after: Position, until: Position) -> bool:
    return any(
        it.floor > after.number or it.after(after.number, until.number)
        for it in windows
    )


def read(
    windows: Sequence[Window],
    after: Position,
    now: Position,
    limit: int,
    last_event_id: str | None = None,
) -> Read:
    """Return what comes next in several channels.

    Where a window does not reach back far enough, what is known before its floor comes
    first, then a gap. Of another epoch, all that is known comes after the gap.

    :param now: every window is of its epoch, and holds all of its entries up to it.
    :param limit: of the entries; those before a gap are not limited.
    """
    start = after if after.epoch == now.epoch else now._replace(number=0)
    if start is after:
        if len(windows) == 1 and windows[0].floor <= after.number:
            # Most streams are of one channel, and most reads are of few events.
            found = windows[0].after(after.number, now.number)
            if len(found) <= limit:
                return Read(found, now if now.number > after.number else after)
        if all(window.floor <= after.number for window in windows):
            return _merged(windows, after, now, limit)
    return _with_gap(windows, start, last_event_id or str(after._replace(mark=True)))


def _with_gap(windows: Sequence[Window], after: Position, last_event_id: str) -> Read:
    floor = max(after.number, *(window.floor for window in windows))
    told = after._replace(number=floor, mark=True)
    before = _merged(windows, after, told, LARGEST).entries
    return Read([*before, gap(told, last_event_id)], told, lost=True)


def _merged(
    windows: Sequence[Window], after: Position, until: Position, limit: int
) -> Read:
    parts = [window.after(after.number, until.number) for window in windows]
    found = sorted((entry for part in parts for entry in part), key=_number)
    if len(found) > limit:
        found = found[:limit]
        return Read(found, after._replace(number=found[-1].number))
    return Read(found, until if until.number > after.number else after)


_number = attrgetter("number")
