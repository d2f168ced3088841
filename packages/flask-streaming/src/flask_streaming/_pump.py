"""An iterable that is read by a thread of its own, as the source of a live stream."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from contextvars import copy_context
from typing import Any

from ._chunks import close
from ._events import as_event


#: How long the end of a stream waits for the iterable that a thread reads.
GRACE_SECONDS = 1.0


class Pump:
    """Read an iterable in a thread, so that its reader can do without for a while.

    The thread starts when the first block is asked for, and runs in the context in
    which the pump was made. After :meth:`close`, which waits for it a moment, it ends
    with the next item: nothing can wake an iterable that waits.

    :param dumps: makes text of what is neither text nor an event.
    :param size: the most items that wait for the client.
    """

    #: What a client missed is not kept, and what waits is read at once.
    behind = more = False

    def __init__(
        self, iterable: Iterable[Any], dumps: Callable[[Any], str], size: int = 100
    ) -> None:
        self._iterable = iterable
        self._dumps = dumps
        self._size = size
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._wake: Callable[[], None] = lambda: None
        # Now, not in the thread: it is the caller's request that it belongs to.
        context = copy_context()
        self._thread: threading.Thread | None = threading.Thread(
            target=context.run, args=(self._run,), name="streaming-pump", daemon=True
        )

    def listen(self, wake: Callable[[], None]) -> None:
        """Call the function whenever there may be something to read."""
        self._wake = wake

    def next_block(self) -> bytes | None:
        """Return what came, or None at the end; raise what the iterable raised."""
        if self._thread is not None and self._thread.ident is None:
            self._thread.start()
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            over = self._ended and not items
        if over and self._error is not None:
            raise self._error
        if over:
            return None
        return b"".join([as_event(item, self._dumps).encode() for item in items])

    def renewed(self) -> bytes:
        """Return nothing: the iterable alone knows where the client stands."""
        return b""

    def close(self) -> None:
        """Stop reading."""
        thread, self._thread = self._thread, None
        self._end()
        if thread is None:
            return
        if thread.ident is None:
            close(self._iterable)
        else:
            # What follows is the end of the context that the iterable may be using.
            thread.join(GRACE_SECONDS)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._wake()

    def _put(self, item: Any) -> bool:
        """Add an item as soon as there is room; return False after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._items) < self._size)
            if self._ended:
                return False
            self._items.append(item)
        self._wake()
        return True

    def _run(self) -> None:
        iterator: Any = None
        try:
            iterator = iter(self._iterable)
            for item in iterator:
                if not self._put(item):
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where it is read
            self._error = error
        finally:
            try:
                close(iterator, self._iterable)
            finally:
                self._end()
