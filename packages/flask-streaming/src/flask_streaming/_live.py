"""The body of a response with live events, from its first block to its end.

A stream is read by the thread (or greenlet) that the server gave it. While there is
nothing to send, that thread is *parked*: it waits at a gate, without a time limit. All
else is done by one thread of the process, the post (`_post.py`), which has each stream

    pushed      when its source may have something new,
    swept       twice a second: is the client there, is a ping due, is the time over,
    stopped     when the server does not accept connections any more.

A parked stream whose connection is known to carry our bytes as they are is *direct*:
the post reads from the source in place of the parked thread, and writes to the socket
without waiting. What the socket does not take is left to the thread, which is woken.
Everything else wakes the thread, and the server writes.

The rules that make direct writing right:

* Only a parked stream is written to, under its lock: the server has then written all
  it was given, and the thread cannot go on before the lock is free.
* A stream is direct once the kernel has counted for one block exactly the bytes of the
  block, or of the block as a chunk (RFC 9112, section 7.1). TLS, compression and
  whatever else stands between the stream and the socket make another number.
* The descriptor is the server's until the stream is closed, which takes it from the
  post before the server closes it.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from collections.abc import Mapping
from time import monotonic
from typing import Any
from typing import Protocol

from . import _wire as wire
from ._chunks import close
from ._events import PING
from ._events import ServerSentEvent
from ._subscription import Gate
from .exceptions import ClientDisconnected


#: A client whose socket takes nothing is cut after so many seconds where it has fallen
#: behind the history, and in any case after as many again.
STUCK_SECONDS, DEAD_SECONDS = 3.0, 30.0
#: Clients of a worker that stops come back within such milliseconds, not all at once.
RETURN_MILLISECONDS = (500, 2500)
#: Waiting longer than this is no different.
YEAR = 365 * 86400.0


class Source(Protocol):
    """The source that a live stream reads from."""

    @property
    def behind(self) -> bool:
        """Whether the history does not hold any more what comes next."""
        ...

    @property
    def more(self) -> bool:
        """Whether another block may be there already."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call the function whenever there may be something to read."""

    def next_block(self) -> bytes | None:
        """Return what is to be sent, nothing, or None at the end."""

    def renewed(self) -> bytes:
        """Return a block that brings the client's position up to date."""
        ...

    def close(self) -> None:
        """Stop. May be called more than once, and from any thread."""


class Post(Protocol):
    """The thread that looks after streams, as a stream sees it."""

    def add(self, stream: LiveStream) -> None:
        """Look after a stream."""

    def remove(self, stream: LiveStream) -> None:
        """Forget a stream; its descriptor is not used any more."""

    def expect(self, due: float) -> None:
        """Sweep at a time, by the monotonic clock, if not before."""


class LiveStream:
    """An iterator of blocks of events.

    :param start: the first block, at once, so that the headers leave.
    :param ping: seconds of silence after which a comment is sent.
    :param duration: seconds after which the stream ends.
    :param renew: seconds after which the client is sent its position anew.
    :param environ: that of the request, in which the connection is.
    :param ending: what to close at the end.
    """

    def __init__(
        self,
        source: Source,
        post: Post,
        environ: Mapping[str, Any],
        ending: object,
        *,
        start: bytes,
        ping: float,
        duration: float | None,
        renew: float,
    ) -> None:
        now = monotonic()
        self._source = source
        self._post = post
        self._ending = ending
        self._gate = Gate()
        self._lock = threading.Lock()
        self._parked = False
        self._silence = ping
        self._renew, self._renew_at = renew, now + renew
        self._until = now + (duration or YEAR)
        self._ping_at = now + self._silence
        self._farewell = b""
        self._over = self._left = self._closed = False
        #: Since when the server, or this thread, is writing.
        self._writing: float | None = None
        #: What was given to the socket in part, as it goes over the wire.
        self._rest = b""
        self._framed: Callable[[bytes], bytes] | None = None
        self._measured: tuple[int, int] | None = None
        self._environ = environ
        self.descriptor = wire.descriptor(environ)
        may_be_direct = wire.may_write(environ)
        # The second block is measured; the headers are written with the first.
        self._ahead = [start, PING] if may_be_direct and start != PING else [start]
        self._measuring = may_be_direct
        #: What was written directly.
        self.bytes = self.chunks = 0
        source.listen(self.push)

    def __iter__(self) -> LiveStream:
        return self

    def __next__(self) -> bytes:
        if self._ahead:
            if self._writing is None:
                self._post.add(self)
            return self._given(self._ahead.pop())
        self._look_at_measure()
        while True:
            self._writing = None
            if self._rest:
                self._write_rest()
            if self._left:
                raise ClientDisconnected
            if self._over:
                farewell, self._farewell = self._farewell, b""
                if farewell:
                    wire.end_requests(self.descriptor)
                    return self._given(farewell)
                raise StopIteration
            block = self._source.next_block()
            if block is None:
                raise StopIteration
            block = block or self._due(monotonic())
            if block:
                return self._given(block)
            with self._lock:
                self._parked = True
            self._post.expect(self.due)
            self._gate.wait()
            with self._lock:
                self._parked = False

    def close(self) -> None:
        """End the stream; the server calls this before it closes the connection."""
        self._closed = True
        self._post.remove(self)
        close(self._ending)

    def _given(self, block: bytes) -> bytes:
        self._writing = monotonic()
        self._ping_at = self._writing + self._silence
        if self._measuring and not self._ahead and self._measured is None:
            sent = wire.sent(self.descriptor)
            if sent is not None:
                self._measured = sent, len(block)
        return block

    def _look_at_measure(self) -> None:
        if self._measured is None:
            return
        before, size = self._measured
        self._measured, self._measuring = None, False
        after = wire.sent(self.descriptor)
        for framed in (bytes, wire.chunk):
            if after is not None and after - before == len(framed(bytes(size))):
                self._framed = framed

    def _due(self, now: float) -> bytes:
        """Return what is to be sent though nothing has happened."""
        if now < self._ping_at:
            return b""
        if now >= self._renew_at:
            self._renew_at = now + self._renew
            return self._source.renewed() or PING
        return PING

    # The rest is called by the post.

    @property
    def due(self) -> float:
        """When the stream is to be swept, by the monotonic clock."""
        if self._over or self._left:
            return math.inf
        return min(self._ping_at, self._until) if self._parked else self._until

    def push(self) -> None:
        """Send what the source has, or wake the thread that does."""
        with self._lock:
            framed = self._framed if self._parked and not self._rest else None
            while framed is not None and not self._rest:
                block = self._source.next_block()
                if block is None:
                    self._over = True
                    break
                if block:
                    self._write(framed, block)
                if not self._source.more and not self._rest:
                    return
        self._gate.open()

    def sweep(self, now: float) -> None:
        """Send a ping where one is due; end what is over, cut what does not read."""
        writing = self._writing
        if now >= self._until:
            self._stop()
        elif writing is not None:
            since = now - writing
            if since > DEAD_SECONDS or (since > STUCK_SECONDS and self._source.behind):
                wire.reset(self._environ)
        elif self._parked and now >= self._ping_at:
            self._ping(now)

    def _ping(self, now: float) -> None:
        with self._lock:
            framed = self._framed if self._parked and not self._rest else None
            if framed is None:
                self._gate.open()
            elif block := self._due(now):
                self._write(framed, block)

    def leave(self) -> None:
        """End the stream: its client is gone."""
        self._left = True
        self._gate.open()

    def stop(self) -> None:
        """End the stream: its server is about to go. The client comes back."""
        retry = random.randint(*RETURN_MILLISECONDS)  # noqa: S311 - spreads clients
        self._farewell = ServerSentEvent(retry=retry).encode()
        self._stop()

    def _stop(self) -> None:
        self._over = True
        self._gate.open()

    def _write(self, framed: Callable[[bytes], bytes], block: bytes) -> None:
        """Write without waiting; what is left is for the thread."""
        data = framed(block)
        written = wire.write(self.descriptor, data)
        self.bytes += len(block)
        self.chunks += 1
        self._ping_at = monotonic() + self._silence
        if written < len(data):
            self._rest = data[written:]
            self._writing = monotonic()
            self._gate.open()

    def _write_rest(self) -> None:
        """Write what the post could not, waiting as the server does."""
        self._writing = monotonic()
        rest, self._rest = self._rest, b""
        try:
            wire.write_all(self._environ, rest)
        except OSError as error:
            raise ClientDisconnected from error
        self._writing = None
