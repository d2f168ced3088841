"""When each upload that waits is tried, in the background of one process.

The courier knows ids and times, and nothing of uploads. Its one loop looks at the
journal, which other processes share, and gives each job that is due to a free worker.
A job holds a worker for one attempt only, so none waits behind another's delay.

======================  ================================================================
a job is due            what happens
======================  ================================================================
at once                 it was just saved here, or found in the journal
at its own time ``due``  it failed in some process; the time is kept in the journal
after ``BUSY_SECONDS``  another process sends it, and may die of it
never                   it was sent, has failed for good, or is gone
======================  ================================================================

The journal is read when its folder has changed, looked at every ``LOOK_SECONDS``: so
what another process leaves, or an operator retries, is sent by one that runs. At exit,
:meth:`Courier.drain` tries what is left again and again, for a limited time.

The loop and the workers are threads, which are greenlets under a server that gevent has
patched. All are there from the start, as Python starts none while it ends, and none
holds anything that the end of the interpreter could not take from it.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from typing import Protocol

from ._offload import off_the_hub
from ._outage import Outage


logger: logging.Logger = logging.getLogger("flask_store")
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
LOOK_SECONDS = 2.0
BUSY_SECONDS = 3.0
#: A folder that changed so recently may have changed again within one tick.
TICK_SECONDS = 2.0
POLL_SECONDS = 0.02


def backoff(attempts: int) -> float:
    """Return how many seconds to wait after so many attempts that failed."""
    delay: float = min(FIRST_DELAY * 2 ** min(attempts, 16), LONGEST_DELAY)
    # Not all processes at once.
    return delay * random.uniform(0.5, 1)  # noqa: S311 - no secret


class Attempt(Protocol):
    """A call that tries a job."""

    def __call__(self, job_id: str, /, *, early: bool) -> float | None:
        """Try a job; return the Unix time of the next attempt, or None."""


class Courier:
    """Try jobs when they are due.

    :param look: returns the ids and due times of all jobs that wait.
    :param changed: returns a number that changes with them.
    :param attempt: tries one, when it is due or ``early``; returns the Unix time of the
        next attempt, or None.
    :param workers: how many are tried at once.
    :param limit: the seconds that :meth:`drain` waits at exit.
    """

    def __init__(
        self,
        look: Callable[[], Iterable[tuple[str, float]]],
        changed: Callable[[], int],
        attempt: Attempt,
        *,
        workers: int,
        limit: float,
    ) -> None:
        self._look = look
        self._changed = changed
        self._attempt = attempt
        self._workers = workers
        self._limit = limit
        self._lock = threading.Lock()
        self._process = 0
        self._outage = Outage("scans of the spool")
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Event()
        self._new: deque[str] = deque()
        #: Of the jobs that are known: when they are due. The heap may have old times.
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._active: set[str] = set()
        #: What the workers are to try, and what came of it; None ends a worker.
        self._given: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._tried: deque[tuple[str, float | None]] = deque()
        self._seen = -1
        self._next_look = 0.0
        #: Since a drain has begun, nothing waits for its time.
        self._hurrying = False
        self._draining = False
        self._stopping = False

    def start(self) -> None:
        """Start in this process, unless it runs."""
        if self._process == os.getpid():
            return
        with self._lock:
            # A forked process has inherited the state, but not the threads.
            if self._process == os.getpid():
                return
            self._reset()
            targets = [self._run, *[self._work] * self._workers]
            self._threads = [
                threading.Thread(target=target, name="flask-store", daemon=True)
                for target in targets
            ]
            for thread in self._threads:
                thread.start()
            self._process = os.getpid()
            atexit.register(self._at_exit, self._process)

    def stop(self) -> None:
        """Stop in this process, when what is being tried has been tried."""
        if self._process != os.getpid():
            return
        atexit.unregister(self._at_exit)
        self._stopping = True
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._process = 0

    def send(self, job_id: str) -> None:
        """Try a job as soon as a worker is free."""
        self._new.append(job_id)
        self._wake.set()

    def tries(self, job_id: str) -> bool:
        """Return whether a worker of this process has a job."""
        return job_id in self._active

    def drain(self, limit: float) -> bool:
        """Try all jobs that are known, and wait for them; return whether none is left.

        :param limit: seconds.
        """
        if self._process != os.getpid():
            return True
        self._hurrying = self._draining = True
        self._wake.set()
        deadline = time.monotonic() + limit
        while self._draining or self._new or self._due or self._active:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _at_exit(self, process: int) -> None:
        if process != os.getpid():
            return
        drained = not self._limit or self.drain(self._limit)
        # Nothing more begins; what is being tried is not waited for.
        self._stopping = True
        self._wake.set()
        if not drained:
            left = len(self._active | self._due.keys())
            logger.warning("%d uploads stay in the spool", left)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._take_tried()
            self._take_new()
            if self._draining or time.monotonic() >= self._next_look:
                self._read_journal()
            while self._is_free() and (job_id := self._pop()):
                self._given.put(job_id)
            self._wake.wait(self._pause())
        for _ in range(self._workers):
            self._given.put(None)

    def _work(self) -> None:
        while job_id := self._given.get():
            self._tried.append((job_id, self._deliver(job_id)))
            self._wake.set()

    def _is_free(self) -> bool:
        return len(self._active) < self._workers

    def _take_tried(self) -> None:
        while self._tried:
            job_id, due = self._tried.popleft()
            # In this order, for drain() to see it in one of them.
            if due is not None:
                self._schedule(job_id, due)
            self._active.discard(job_id)

    def _take_new(self) -> None:
        while self._new:
            # In this order, for drain() to see it in one of them.
            self._schedule(self._new[0], 0.0)
            self._new.popleft()

    def _read_journal(self) -> None:
        draining = self._draining
        begun = time.monotonic()
        found: list[tuple[str, float]] = []
        try:
            found = off_the_hub(self._read, again=draining)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._outage.failed("spool", error)
        else:
            self._outage.ended("spool")
        for job_id, due in found:
            if job_id not in self._active:
                self._schedule(job_id, 0.0 if draining else due)
        # A long list is not read all the time.
        took = time.monotonic() - begun
        self._next_look = begun + max(LOOK_SECONDS, 20 * took)
        if draining:
            self._draining = False

    def _read(self, *, again: bool) -> list[tuple[str, float]]:
        changed = self._changed()
        if changed == self._seen and not again:
            return []
        found = list(self._look())
        if time.time() - changed / 1e9 > TICK_SECONDS:
            self._seen = changed
        return found

    def _schedule(self, job_id: str, due: float) -> None:
        if self._due.get(job_id) != due:
            self._due[job_id] = due
            heapq.heappush(self._heap, (due, job_id))

    def _pop(self) -> str | None:
        """Return a job that is due, if there is one."""
        while self._heap:
            due, job_id = self._heap[0]
            if due > time.time():
                return None
            heapq.heappop(self._heap)
            if self._due.get(job_id) != due:
                continue
            if job_id not in self._active:
                # In this order, as above.
                self._active.add(job_id)
                del self._due[job_id]
                return job_id
            self._schedule(job_id, time.time() + FIRST_DELAY)
        return None

    def _pause(self) -> float:
        """Return the seconds until there may be something to do."""
        pause = self._next_look - time.monotonic()
        # With all workers at work, the first that is free wakes the loop.
        if self._heap and self._is_free():
            pause = min(pause, self._heap[0][0] - time.time())
        # Whatever the clock has done, not for ever.
        return min(max(pause, POLL_SECONDS), LONGEST_DELAY)

    def _deliver(self, job_id: str) -> float | None:
        try:
            due = self._attempt(job_id, early=self._hurrying)
        except Exception:
            logger.exception("an upload was not sent")
            due = time.time() + LONGEST_DELAY
        if due is not None and self._hurrying:
            due = min(due, time.time() + FIRST_DELAY)
        return due
