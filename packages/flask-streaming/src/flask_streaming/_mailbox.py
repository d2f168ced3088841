"""What waits for one reader."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextvars import copy_context
from typing import Any
from typing import Generic
from typing import Protocol
from typing import TypeVar

from ._chunks import close


T = TypeVar("T")

#: How long the end of a stream waits for the iterable that a thread reads.
GRACE_SECONDS = 1.0


class Source(Protocol):
    """What a live stream reads from."""

    def receive(self, timeout: float | None = None) -> list[Any] | None:
        """Return what came, at least one item, or nothing after the timeout.

        :param timeout: in seconds; None waits as long as it takes.
        :return: None at the end.
        """

    def close(self) -> None:
        """Stop. May be called more than once, and from any thread."""


class Mailbox(Generic[T]):
    """A bounded queue whose reader takes all that waits at once.

    :param size: the most items that wait.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def offer(self, item: T) -> bool:
        """Add an item; when there is no room, end instead.

        :return: whether the item was added.
        """
        with self._changed:
            if len(self._items) >= self._size:
                self._ended = True
            elif not self._ended:
                self._items.append(item)
            self._changed.notify_all()
            return not self._ended

    def put(self, item: T) -> bool:
        """Add an item as soon as there is room.

        :return: whether the item was added, which it is not after the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._items) < self._size)
            return self.offer(item)

    def end(self) -> None:
        """Let the reader have what waits, and nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self, timeout: float | None = None) -> list[T] | None:
        """Return what waits, nothing after the timeout, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended, timeout)
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items if items or not self._ended else None


class Pump:
    """Read an iterable in a thread, so that its reader can do without for a while.

    The thread starts at the first :meth:`receive` and runs in the context in which
    the pump was made. After :meth:`close`, which waits for it a moment, it ends with
    the next item: nothing can wake an iterable that waits.
    """

    def __init__(self, iterable: Iterable[Any], size: int = 100) -> None:
        self._iterable = iterable
        self._mailbox = Mailbox[Any](size)
        self._error: BaseException | None = None
        # Now, not in the thread: it is the caller's request that it belongs to.
        context = copy_context()
        self._thread: threading.Thread | None = threading.Thread(
            target=context.run, args=(self._run,), name="streaming-pump", daemon=True
        )

    def receive(self, timeout: float | None = None) -> list[Any] | None:
        """Return what came; raise what the iterable raised."""
        if self._thread is not None and self._thread.ident is None:
            self._thread.start()
        items = self._mailbox.take(timeout)
        if items is None and self._error is not None:
            raise self._error
        return items

    def close(self) -> None:
        """Stop reading."""
        thread, self._thread = self._thread, None
        self._mailbox.end()
        if thread is None:
            return
        if thread.ident is None:
            close(self._iterable)
        else:
            # What follows is the end of the context that the iterable may be using.
            thread.join(GRACE_SECONDS)

    def _run(self) -> None:
        iterator: Any = None
        try:
            iterator = iter(self._iterable)
            for item in iterator:
                if not self._mailbox.put(item):
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where it is read
            self._error = error
        finally:
            try:
                close(iterator, self._iterable)
            finally:
                self._mailbox.end()
