"""Stores that answer before a file is where it is to be.

What a job goes through stands in :mod:`flask_store._journal`, and when it is tried in
:mod:`flask_store._courier`; this module ties both to a provider, whose files in waiting
are read, listed and deleted as all others.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import time
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import Unpack
from typing import cast

from .. import _names
from .._attributes import Attributes
from .._attributes import SaveOptions
from .._attributes import usable
from .._courier import POLL_SECONDS
from .._courier import Courier
from .._jobs import Job
from .._jobs import JobState
from .._jobs import Target
from .._journal import Journal
from .._listing import LARGEST_PAGE
from .._listing import Page
from .._sender import Sender
from .._spool import Spool
from .._spool import system_failing_as
from ..exceptions import ConfigError
from ..exceptions import NotFoundError
from ..file_wrapper import FileWrapper
from .base import BaseStore


if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

    from .._tus.place import Place

logger: logging.Logger = logging.getLogger("flask_store")


class Background(BaseStore):
    """Mix into a provider: keep uploads on disk, and send them afterwards.

    The class calls :meth:`keep_jobs` when it is made, and implements
    :meth:`send_job`, :meth:`unsend_job` and :meth:`may_pass`.
    """

    background = True
    can_spool = True
    journal: Journal
    sender: Sender
    courier: Courier

    def keep_jobs(self, target: Target) -> None:
        """Keep uploads for a target.

        :raises ConfigError: where ``STORE_SPOOL_PATH`` cannot be used.
        """
        path = self.config.spool_path
        if path is None or not Path(path).is_absolute():
            raise ConfigError("STORE_SPOOL_PATH", path, "set a folder's absolute path")
        self.journal = Journal(Path(path), target, self.config.fsync)
        self.sender = Sender(self.journal, self)
        self.courier = Courier(
            self._due,
            self.journal.changed,
            self.sender.attempt,
            workers=self.config.spool_workers,
            limit=self.config.spool_drain,
        )
        #: The jobs of this process that may not have ended.
        self._own: set[str] = set()

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Keep what waits in the folder ``store-spool`` of the instance folder."""
        super().app_defaults(app)
        path = Path(app.instance_path, "store-spool")
        app.config.setdefault("STORE_SPOOL_PATH", str(path))

    def send_job(self, job: Job, body: IO[bytes]) -> None:
        """Send an upload to its target, where nothing else has its key."""
        raise NotImplementedError

    def unsend_job(self, job: Job) -> None:
        """Delete an upload from its target; it is no error when it is not there."""
        raise NotImplementedError

    def may_pass(self, error: Exception) -> bool:
        """Return whether an error may pass by itself."""
        raise NotImplementedError

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Keep a file on disk, to be sent; its name is unique from the start."""
        upload = self.receive(file, name, options)
        full = self.full_name(_names.unique(upload.name))
        key = self.within(None).join(full)
        with system_failing_as("save", upload.name, "STORE_SPOOL_PATH"):
            job = self.journal.add(upload, full, key)
        self._own.add(job.id)
        self._hand_over(job)
        return self.saved(full, job.size)

    def _hand_over(self, job: Job) -> None:
        """Let somebody send a job: the app's own queue, or this process."""
        if self.enqueue is None:
            self.start()
            self.courier.send(job.id)
            return
        try:
            self.enqueue(job.target.store, job.id)
        except Exception:
            # It is safe on the disk, and must not be saved again.
            logger.exception("%s is in the spool, but could not be queued", job.name)

    def spool(self, label: str) -> Spool:
        """Return a file in the making, where uploads wait."""
        with system_failing_as("save", label, "STORE_SPOOL_PATH"):
            return self.journal.spool(label)

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait: beside the jobs."""
        from .._tus.folder import FOLDER
        from .._tus.folder import FolderPlace

        return FolderPlace(
            self.journal.folder / FOLDER, None, durable=self.config.fsync
        )

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading, also while it waits."""
        if job := self._job(name):
            with contextlib.suppress(FileNotFoundError):
                return cast("BinaryIO", self.journal.open(job))
        return super().open(name)

    def exists(self, name: str) -> bool:
        """Return whether a file is there, or waits."""
        try:
            return self._job(name) is not None or super().exists(name)
        except NotFoundError:
            return False

    def delete(self, name: str) -> None:
        """Delete a file; one that waits is not sent any more."""
        job = self.journal.find(self.full_name(name))
        with system_failing_as("delete", name):
            dropped = self.journal.drop(job.id) if job else None
        if dropped is None:
            super().delete(name)
        else:
            self._hand_over(dropped)

    # What the target does by itself misses what waits.

    def copy(self, name: str, to: str) -> FileWrapper:
        """Copy a file; one that waits is read from the spool."""
        waits = self._job(name) is not None
        return BaseStore.copy(self, name, to) if waits else super().copy(name, to)

    def delete_prefix(self, prefix: str = "") -> int:
        """Delete all files whose names start with a prefix, also those that wait."""
        return BaseStore.delete_prefix(self, prefix)

    def page(
        self,
        prefix: str = "",
        *,
        delimiter: str | None = "/",
        limit: int = LARGEST_PAGE,
        after: str | None = None,
    ) -> Page:
        """Return a page of a listing, with what waits."""
        return BaseStore.page(
            self, prefix, delimiter=delimiter, limit=limit, after=after
        )

    def size(self, name: str) -> int:
        """Return the number of bytes."""
        job = self._job(name)
        return job.size if job else super().size(name)

    def modified(self, name: str) -> datetime:
        """Return when a file was saved."""
        if job := self._job(name):
            with contextlib.suppress(FileNotFoundError):
                return datetime.fromtimestamp(self.journal.modified(job), UTC)
        return super().modified(name)

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries."""
        if job := self._job(name):
            return Attributes.of(job.name, usable(job.record))
        return super().attributes(name)

    def _modified_or_none(self, job: Job) -> datetime | None:
        with contextlib.suppress(FileNotFoundError):
            return datetime.fromtimestamp(self.journal.modified(job), UTC)
        return None

    def _job(self, name: str) -> Job | None:
        """Return the job of a file that waits.

        :raises NotFoundError: where it is deleted, whatever the target still has.
        """
        job = self.journal.find(self.full_name(name))
        if job is not None and job.state is JobState.DROPPED:
            raise NotFoundError(name)
        return job

    def start(self) -> None:
        """Start sending in this process, unless a queue does it."""
        if self.enqueue is None:
            self.courier.start()

    def stop(self) -> None:
        """Stop sending in this process; what waits stays in the spool."""
        self.courier.stop()

    def pending(self) -> Sequence[Job]:
        """Return the uploads that wait, have failed, or are being deleted."""
        return self.journal.jobs()

    def retry(self, job_id: str) -> bool:
        """Let a failed upload be sent again, by any process that runs."""
        return self.journal.retry(job_id)

    def deliver(self, job_id: str) -> float | None:
        """Try a job now, unless it has ended or somebody else tries it.

        :return: the Unix time at which to try again, or None where it has ended.
        """
        return self.sender.attempt(job_id, early=True)

    def tell(self, job: Job, error: Exception | None) -> None:
        """Send the app a signal that a job has ended."""
        if self.on_end is not None:
            self.on_end(FileWrapper(self.within(None), job.name, job.size), error)

    def _due(self) -> Iterator[tuple[str, float]]:
        for job_id in self.journal.ids():
            job = self.journal.read(job_id)
            if job is not None and job.state is not JobState.FAILED:
                yield job.id, job.due

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what this process has saved is sent; return whether it is."""
        end = None if timeout is None else time.monotonic() + timeout
        while any(self._is_open(job_id) for job_id in tuple(self._own)):
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _is_open(self, job_id: str) -> bool:
        # The courier first: it is done with a job when the receivers are told.
        if self.courier.tries(job_id):
            return True
        job = self.journal.read(job_id)
        if job is None or job.state is not JobState.WAITING:
            self._own.discard(job_id)
            return False
        return True

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Check the target and the spool."""
        yield from super().check(clean=clean)
        with system_failing_as("read", "the spool"):
            jobs = self.journal.jobs()
            failed = sum(job.state is JobState.FAILED for job in jobs)
            yield f"{len(jobs) - failed} uploads wait to be sent, {failed} have failed"
            for name in self.journal.strangers():
                yield f"{name} in the spool belongs to a store at another location"
            left = [*self.journal.leftovers()]
            for path in left if clean else ():
                path.unlink(missing_ok=True)
        yield f"{len(left)} files of killed processes {'removed' if clean else 'left'}"

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        # The journal first: what is sent meanwhile is then seen twice, not never.
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        jobs = [job for job in self.journal.jobs() if job.name.startswith(start)]
        hidden = {job.name for job in jobs}
        waiting = (
            FileWrapper(
                self.within(None), job.name, job.size, self._modified_or_none(job)
            )
            for job in jobs
            if job.state is not JobState.DROPPED
        )
        stored = (file for file in super().list(prefix) if file.name not in hidden)
        yield from heapq.merge(waiting, stored, key=lambda file: file.name)
