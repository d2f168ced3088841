"""What the scripts write and return, as windows and entries (see `_scripts.py`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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
        logger.warning("An entry of %r is not an event: %s", channel, error)
        return None


class Fetched(NamedTuple):
    """What Redis knows of some channels."""

    epoch: str
    server: str
    head: int
    windows: list[Window]
    known: bool


def window_of(answer: Sequence[Any], name: str, oldest: int) -> Window:
    """Return what is known of a channel.

    :param answer: the entries from a number on, the last one, and the end.
    :param oldest: events up to here have expired.
    """
    lines, last, end = answer
    found = [each for line in lines if (each := parse(line, name))]
    entries = [each.entry for each in found]
    if found:
        return Window(min(found[0].before, found[0].entry.number), entries)
    newest = parse(last[0], name) if last else None
    if newest is not None:
        ends = newest.entry.ends
        return Window(newest.before if ends else 0, [newest.entry] if ends else [])
    ended = parse(end, name) if end else None
    return Window(ended.before, [ended.entry]) if ended else Window(oldest)
