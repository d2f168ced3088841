"""The scripts' text and answers, as windows and entries (see `_scripts.py`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from typing import NamedTuple

from ._events import ServerSentEvent
from ._history import Entry
from ._history import Position
from ._history import Window
from ._history import entry_of


logger = logging.getLogger("flask_streaming")


def text_of(value: Any) -> str:
    """Return text, whether or not the client decodes answers."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class Message(NamedTuple):
    """An entry as the scripts write it."""

    before: int
    epoch: str
    entry: Entry


def parse(line: Any, channel: str) -> Message | None:
    """Return what a script wrote, or None for what it did not."""
    try:
        head, kind, data = text_of(line).split("\n", 2)
        number, before, epoch, token, ends = head.split(" ")
        position = str(Position(epoch, int(number)))
        event = ServerSentEvent(data, kind[1:] if kind else None, position)
        end = channel if ends == "end" else ""
        return Message(int(before), epoch, entry_of(int(number), event, end, token))
    except ValueError as error:
        logger.warning("an entry of the channel %r is not an event: %s", channel, error)
        return None


class Fetched(NamedTuple):
    """An answer of Redis about some channels.

    :param since: the number with which the epoch began; its events come after it.
    :param proven: whether the history is known to go on.
    """

    now: Position
    since: int
    windows: list[Window]
    proven: bool

    def holds(self, position: Position) -> bool:
        """Return whether a client that was there can be sent all that it missed."""
        known = self.since - 1 <= position.number <= self.now.number
        if not self.proven or position.epoch != self.now.epoch or not known:
            return False
        return position.mark or any(
            window.floor == position.number
            or position.number in (it.number for it in window.entries[:1])
            for window in self.windows
        )


def window_of(
    answer: Sequence[Any], name: str, epoch: str, since: int, oldest: int
) -> Window:
    """Return what is known of a channel.

    A channel that ended in a former epoch has its end as the first event of this one.

    :param answer: the entries from a number on, the last one, and the end.
    :param since: the number with which the epoch began; no other event has it.
    :param oldest: events up to here have expired.
    """
    lines, last, end = answer
    start = since - 1
    found = [each for line in lines if (each := parse(line, name))]
    if found:
        before = min(found[0].before, found[0].entry.number)
        floor = before if before > since else start
        return Window(epoch, floor, [each.entry for each in found])
    newest = parse(last[0], name) if last else parse(end, name) if end else None
    if newest is None:
        return Window(epoch, max(start, oldest))
    if not newest.entry.ends:
        return Window(epoch, start)
    if newest.entry.number > since:
        return Window(epoch, newest.before, [newest.entry])
    event = replace(newest.entry.event, id=str(Position(epoch, since)))
    return Window(epoch, start, [entry_of(since, event, name)])
