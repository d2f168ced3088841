"""One thread in each process that looks after its live streams (see `_live.py`).

It sleeps until something is published or a stream is due, at most half a second. What
is published in between is told once, so a burst costs each stream one push. It ends
when there is nothing left to look after.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from . import _wire as wire
from ._server import Server
from ._subscription import Channel
from ._subscription import Gate


if TYPE_CHECKING:
    from ._live import LiveStream

logger = logging.getLogger("flask_streaming")

#: How long a client can be gone, or its server be stopping, before it is noticed.
SWEEP_SECONDS = 0.5
#: How long the thread rests, in any case.
SHORTEST_SECONDS = 0.005
#: How long the thread stays without work.
IDLE_SECONDS = 5.0
#: Streams that are pushed before others get their turn.
TURN = 128


class Post:
    """Push what is published to those who listen, and sweep their streams."""

    def __init__(self) -> None:
        self._gate = Gate()
        self._lock = threading.Lock()
        self._news: deque[Channel] = deque()
        self._streams: dict[LiveStream, None] = {}
        self._server = Server()
        self._sweep_at = 0.0
        self._thread: threading.Thread | None = None

    def tell(self, channel: Channel) -> None:
        """Have those who listen to a channel look."""
        self._news.append(channel)
        self._gate.open()
        if self._thread is None:
            self._start()

    def add(self, stream: LiveStream) -> None:
        """Look after a stream."""
        with self._lock:
            self._streams[stream] = None
            self._server.find(stream.descriptor)
        self._gate.open()
        if self._thread is None:
            self._start()

    def remove(self, stream: LiveStream) -> None:
        """Forget a stream; its descriptor is not used any more."""
        with self._lock:
            self._streams.pop(stream, None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="streaming-post", daemon=True
                )
                self._thread.start()

    def expect(self, due: float) -> None:
        """Sweep at a time, by the monotonic clock, if not before."""
        if due < self._sweep_at:
            self._sweep_at = due
            self._gate.open()

    def _run(self) -> None:
        used = monotonic()
        while True:
            try:
                self._gate.wait(max(SHORTEST_SECONDS, self._sweep_at - monotonic()))
                if self._news or self._streams:
                    used = monotonic()
                self._deliver()
                if monotonic() >= self._sweep_at:
                    self._sweep()
            except Exception:
                logger.exception("delivering live events failed")
            if monotonic() > used + IDLE_SECONDS and not self._streams:
                self._thread = None
                # What was told since the last look starts a thread, or is seen here.
                if not self._news and not self._streams:
                    return
                self._thread = threading.current_thread()

    def _deliver(self) -> None:
        channels = {}
        while self._news:
            channel = self._news.popleft()
            channels[channel.name] = channel
        pushed = 0
        for channel in channels.values():
            for subscription in tuple(channel.subscribers):
                subscription.wake()
                pushed += 1
                if pushed % TURN == 0:
                    # Under gevent, nobody else runs until here.
                    time.sleep(0)

    def _sweep(self) -> None:
        now = monotonic()
        self._sweep_at = now + SWEEP_SECONDS
        with self._lock:
            streams = list(self._streams)
            gone = wire.gone([it.descriptor for it in streams])
            for index in gone:
                streams[index].leave()
            stopping = self._server.stopping()
            for stream in streams:
                if stopping:
                    stream.stop()
                else:
                    stream.sweep(now)
        for stream in streams:
            self.expect(stream.due)
