"""Server-sent events, by the WHATWG's HTML standard, section 9.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


#: Events start anew at these alone, not at every line end that Unicode knows.
LINE_END = re.compile("\r\n|\n|\r")
#: A comment: the client ignores it, but the connection is not silent.
PING = b":\n\n"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream.

    :param data: the text; several lines arrive as they are. An event without data
        only sets what else it holds.
    :param event: the type, for which the page listens by ``addEventListener``.
    :param id: what the client sends back as ``Last-Event-ID`` when it reconnects.
    :param retry: milliseconds that the client waits before it reconnects.
    :param comment: text that the client ignores.
    :raises TypeError: for what is no text.
    :raises ValueError: for a value that would break out of its line.
    """

    data: str | None = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for name in ("data", "event", "id", "comment"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is {value!r}: it must be text")
        if self.event is not None and LINE_END.search(self.event):
            raise ValueError(f"event is {self.event!r}: it must be one line")
        # "If the field value does not contain U+0000 NULL, then set the last event
        # ID buffer": a client would ignore such an id.
        if self.id is not None and (LINE_END.search(self.id) or "\0" in self.id):
            raise ValueError(f"id is {self.id!r}: it must be one line without NUL")
        if self.retry is not None and type(self.retry) is not int:
            raise TypeError(f"retry is {self.retry!r}: it must be an int, in ms")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"retry is {self.retry!r}: it must be at least 0 ms")

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        lines = []
        if self.comment is not None:
            lines += [f": {line}" for line in LINE_END.split(self.comment)]
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            lines += [f"data: {line}" for line in LINE_END.split(self.data)]
        # A lone surrogate is no character and has no UTF-8; the stream must go on.
        return ("\n".join(lines) + "\n\n").encode(errors="replace")


def as_event(item: Any, dumps: Callable[[Any], str]) -> ServerSentEvent:
    """Return an event as it is, and anything else as the data of one."""
    if isinstance(item, ServerSentEvent):
        return item
    return ServerSentEvent(item if isinstance(item, str) else dumps(item))
