"""Send what waits, in the background, with gevent."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from flask_store.journal import Job


logger = logging.getLogger("flask_store")
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0


class Courier:
    """A thread with a hub of gevent's own, which works beside any server.

    Under a server that gevent has patched, the thread is a greenlet of its hub.
    Greenlets wait and retry; what blocks runs in native threads, so the hub goes on.

    :param attempt: sends one upload; tells whether there was one to send, and raises
        when it could not.
    :param passes: tells whether an error may pass with time.
    :param end: is told how it ended: with the error, or None.
    :param workers: how many uploads go at once.
    """

    def __init__(
        self,
        attempt: Callable[[Job], bool],
        passes: Callable[[Exception], bool],
        end: Callable[[Job, Exception | None], None],
        workers: int,
    ) -> None:
        self._attempt = attempt
        self._passes = passes
        self._end = end
        self._workers = workers
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()
        self._process = 0
        self._wake: Any = None
        self._open = 0
        self._idle = threading.Event()

    def start(self) -> bool:
        """Start in this process, unless it runs; return whether it was started."""
        with self._lock:
            # A forked process has inherited the state, but not the thread.
            if self._process == os.getpid():
                return False
            self._waiting.clear()
            self._open = 0
            self._idle.set()
            ready = threading.Event()
            threading.Thread(
                target=self._run, args=(ready,), name="flask-store", daemon=True
            ).start()
            ready.wait()
            self._process = os.getpid()
        return True

    def send(self, job: Job) -> None:
        """Send an upload when its turn comes."""
        with self._lock:
            self._open += 1
            self._idle.clear()
        self._waiting.append(job)
        self._wake.send()

    def wait(self, timeout: float | None) -> bool:
        """Wait until all uploads of this process have ended; tell whether they have."""
        return self._idle.wait(timeout)

    def _run(self, ready: threading.Event) -> None:
        from gevent import get_hub
        from gevent.event import Event
        from gevent.pool import Pool
        from gevent.threadpool import ThreadPool

        # Not the hub's own pool of threads, which looks up names for everybody.
        threads = ThreadPool(self._workers)
        greenlets = Pool(self._workers)
        work = Event()
        self._wake = get_hub().loop.async_()
        self._wake.start(work.set)
        ready.set()
        while True:
            work.wait()
            work.clear()
            while self._waiting:
                greenlets.spawn(self._deliver, self._waiting.popleft(), threads)

    def _deliver(self, job: Job, threads: Any) -> None:
        from gevent import sleep

        delay = FIRST_DELAY
        while True:
            sent, error = threads.apply(self._try, (job,))
            if error is None or not self._passes(error):
                break
            logger.warning("%s; trying again in %.1f s", error, delay)
            # Not all processes at once.
            sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - no secret
            delay = min(2 * delay, LONGEST_DELAY)
        # What another process sends is its to tell.
        if sent or error is not None:
            self._tell(job, error)
        with self._lock:
            self._open -= 1
            if not self._open:
                self._idle.set()

    def _try(self, job: Job) -> tuple[bool, Exception | None]:
        """Send; return the error, as gevent prints what its threads raise."""
        try:
            return self._attempt(job), None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return False, error

    def _tell(self, job: Job, error: Exception | None) -> None:
        try:
            self._end(job, error)
        except Exception:
            logger.exception("a receiver failed for %s", job.name)
