"""One attempt to send an upload that waits, and what follows from how it ends.

The rule: an attempt is made by whoever holds the job's claim, and ends in one of these.

=============================  ==========================  ===========================
the attempt                    the journal                 the app is told
=============================  ==========================  ===========================
succeeds                       ``finish``                  ``upload_finished``
succeeds, but was dropped      the object is deleted,      nothing
while it ran, or before        ``forget``
fails, and may work later      ``postpone``, with a        nothing; the log hears of
                               growing delay               the outage
fails for good, or the bytes   ``fail``: kept for an       ``upload_failed``
are gone from the spool        operator
=============================  ==========================  ===========================

The job is settled before the app is told. The receivers run in the thread of the
attempt, and what they raise is logged.
"""

from __future__ import annotations

import logging
import time
from typing import IO
from typing import Protocol

from ._courier import BUSY_SECONDS
from ._courier import backoff
from ._jobs import Job
from ._jobs import JobState
from ._journal import Journal
from ._outage import Outage
from .exceptions import BackendError


logger: logging.Logger = logging.getLogger("flask_store")


class Destination(Protocol):
    """The provider, to the sender of its uploads."""

    def send_job(self, job: Job, body: IO[bytes], /) -> None:
        """Send an upload to its target, where nothing else has its key."""

    def unsend_job(self, job: Job, /) -> None:
        """Delete an upload from its target; it is no error when it is not there."""

    def may_pass(self, error: Exception, /) -> bool:
        """Return whether an error may pass by itself."""
        ...

    def tell(self, job: Job, error: Exception | None, /) -> None:
        """Send the app a signal that a job has ended."""


class Sender:
    """Try jobs of a journal."""

    def __init__(self, journal: Journal, destination: Destination) -> None:
        self._journal = journal
        self._destination = destination
        self._outage = Outage("uploads")

    def attempt(self, job_id: str, *, early: bool = False) -> float | None:
        """Try a job, unless it has ended or somebody else tries it.

        :param early: try it before it is due, and one that has failed for good.
        :return: the Unix time at which to try again, or None where it has ended.
        """
        due, error = self._attempt(job_id, early=early)
        if due is None or error is None:
            self._outage.ended(job_id)
        else:
            self._outage.failed(job_id, error)
        return due

    def _attempt(
        self, job_id: str, *, early: bool
    ) -> tuple[float | None, Exception | None]:
        """Try a job; return when to try it again, and the error that may pass."""
        with self._journal.claim(job_id) as claimed:
            if claimed is None:
                ended = self._journal.read(job_id) is None
                return None if ended else time.time() + BUSY_SECONDS, None
            job, body = claimed
            # Another process may have tried it, or an operator, since it was looked at.
            if not early and job.state is JobState.FAILED:
                return None, None
            if not early and job.due > time.time():
                return job.due, None
            try:
                sent = self._settle(job, body)
            except Exception as error:  # noqa: BLE001 - the job keeps it
                return self._failed(job, error)
        if sent:
            self._tell(job, None)
        return None, None

    def _settle(self, job: Job, body: IO[bytes] | None) -> bool:
        """Send a job, or delete what was sent of a dropped one; return which."""
        if job.state is not JobState.DROPPED:
            if body is None:
                raise BackendError("send", job.name, "its data is missing")
            self._destination.send_job(job, body)
            if self._journal.finish(job):
                return True
        self._destination.unsend_job(job)
        self._journal.forget(job)
        return False

    def _failed(
        self, job: Job, error: Exception
    ) -> tuple[float | None, Exception | None]:
        if self._destination.may_pass(error) or job.state is JobState.DROPPED:
            delay = backoff(job.attempts)
            self._journal.postpone(job, str(error), delay)
            return time.time() + delay, error
        if not self._journal.fail(job, str(error)):
            # Deleted in the meantime, or another process was faster.
            return time.time(), None
        logger.error("%s; it stays in the spool, see flask store jobs", error)
        self._tell(job, error)
        return None, None

    def _tell(self, job: Job, error: Exception | None) -> None:
        try:
            self._destination.tell(job, error)
        except Exception:
            logger.exception("a receiver failed for %s", job.name)
