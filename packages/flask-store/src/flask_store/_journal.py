"""Uploads that wait on disk to be sent, and outlive the process.

The rule: whatever changes the state of a job stands in this module.

A job is an upload that was acknowledged and is not known to be in its bucket. It is two
files in the folder of its :class:`Target`: ``<id>.data``, the bytes, and ``<id>.json``,
the record. The id is made from the name, so a name is looked up with one system call.
Only stores with the same target look into the folder: another tenant's, another
environment's or another server's uploads are not theirs to send.

=========  ===================================  ========================================
state      meaning                              what moves it
=========  ===================================  ========================================
waiting    to be sent once its time ``due`` is  ``finish``: sent, both files are removed
           there                                ``postpone``: the error may pass
                                                ``fail``: it will not pass by itself
                                                ``drop``: the file is deleted
failed     refused; kept for an operator        ``retry``: waiting again; ``drop``
dropped    deleted; an attempt may have reached ``forget``: the object was deleted, both
           the bucket all the same              files are removed
=========  ===================================  ========================================

Two locks, both released by the kernel when their process dies:

* the *claim*, on ``<id>.data``, is held by the one sender of a job for a whole attempt.
  ``finish``, ``postpone``, ``fail`` and ``forget`` are for its holder only;
* the *mutex*, on ``.mutex``, is held for one change of a record, by anybody.

So ``drop`` never waits for a slow upload: it marks the record, and the sender, which
looks again when it finishes, deletes what it has just sent. A process that is killed
anywhere leaves the record, and so the work, to the next one that looks.

Promises: after ``add`` the bytes are sent until they have arrived or ``fail`` was
told; a dropped file is not in the bucket once its record is gone; a record is replaced
whole. Signals are sent after the change: a kill in between loses the signal, never the
file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import IO

from ._jobs import Job
from ._jobs import JobState
from ._jobs import Target
from ._jobs import digest
from ._offload import off_the_hub
from ._spool import HIDDEN_PREFIX
from ._spool import Spool
from ._spool import leftovers
from ._spool import lock
from ._spool import make_folder
from ._spool import sync_folder
from ._upload import Upload
from .exceptions import StoreError


logger: logging.Logger = logging.getLogger("flask_store")

#: No save takes longer between its two files.
STALE_SECONDS = 3600
MUTEX = ".mutex"


@dataclass(frozen=True, slots=True)
class Journal:
    """The jobs of one target.

    :param spool_path: the folder of all targets.
    :param durable: whether a power cut may not lose them.
    :param warned: what was logged already.
    """

    spool_path: Path
    target: Target
    durable: bool
    warned: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The folder with the files of the jobs."""
        return self.spool_path / self.target.folder

    def spool(self, label: str) -> Spool:
        """Return a file in the making, in this folder."""
        folder = str(self.folder)
        try:
            return Spool(folder, label)
        except FileNotFoundError:
            make_folder(self.folder, durable=self.durable)
            return Spool(folder, label)

    def add(self, upload: Upload, name: str, key: str) -> Job:
        """Keep an upload; when this returns, it will be sent.

        :param name: a name that no other file has or will have.
        """
        job_id = digest(name)
        if isinstance(upload.stream, Spool) and not upload.stream.linked:
            upload, size = self._keep(upload, upload.stream, job_id)
        else:
            with self.spool(name) as spool:
                upload.copy_to(spool)
                upload, size = self._keep(upload, spool, job_id)
        record = upload.attributes(name).record(name)
        job = Job(job_id, self.target, key, name, size, record)
        try:
            self._write(job, durable=self.durable)
        except BaseException:
            self._remove(job_id)
            raise
        return job

    def _keep(self, upload: Upload, spool: Spool, job_id: str) -> tuple[Upload, int]:
        size = spool.seek(0, io.SEEK_END)
        upload = upload.accepted(spool, size)
        spool.settle(durable=self.durable)
        if not spool.link(str(self._data(job_id))):
            raise StoreError(f"{job_id}.data already exists")  # pragma: no cover
        return upload, size

    # What there is.

    def find(self, name: str) -> Job | None:
        """Return the job of a file, if it waits."""
        return self.read(digest(name))

    def read(self, job_id: str) -> Job | None:
        """Return a job as it is now; None where it has ended."""
        try:
            job = Job.from_json(self._record(job_id).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (TypeError, ValueError):
            # After a power cut, where STORE_FSYNC is off: the others go on.
            self._warn(f"{job_id}.json in the spool is not readable")
            return None
        if job.target != self.target:
            self._warn(f"{job_id}.json in the spool belongs to another store")
            return None
        return job

    def _warn(self, what: str) -> None:
        if what not in self.warned:
            self.warned.add(what)
            logger.warning(what)

    def ids(self) -> list[str]:
        """Return the ids of all jobs."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        return [name[:-5] for name in names if name.endswith(".json")]

    def jobs(self) -> list[Job]:
        """Return all jobs, by name."""
        found = (self.read(job_id) for job_id in self.ids())
        return sorted((job for job in found if job), key=lambda job: job.name)

    def changed(self) -> int:
        """Return when a job last came, went or changed, or 0 where there is none."""
        try:
            return self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def open(self, job: Job) -> IO[bytes]:
        """Open the bytes of a job.

        :raises FileNotFoundError: where it has ended.
        """
        return self._data(job.id).open("rb")

    def modified(self, job: Job) -> float:
        """Return when a job was added, as a Unix time."""
        return self._data(job.id).stat().st_mtime

    # For one sender at a time.

    @contextlib.contextmanager
    def claim(self, job_id: str) -> Iterator[tuple[Job, IO[bytes] | None] | None]:
        """Claim a job for one attempt; None where it has ended or has its sender.

        A record without bytes, which somebody has removed, is claimed without a lock.
        """
        try:
            # On NFS an exclusive lock needs a descriptor that can write.
            file = self._data(job_id).open("r+b")
        except FileNotFoundError:
            # The bytes come before the record and go after it, so this is no moment
            # of another process's work.
            lost = self.read(job_id)
            yield (lost, None) if lost else None
            return
        with file:
            job = self.read(job_id) if lock(file.fileno()) else None
            yield (job, file) if job else None

    def finish(self, job: Job) -> bool:
        """Remove a job that was sent, unless it was dropped meanwhile."""
        with self.changing():
            now = self.read(job.id)
            if now is not None and now.state is JobState.DROPPED:
                return False
            self._remove(job.id)
        return True

    def postpone(self, job: Job, error: str, delay: float) -> None:
        """Note an error that may pass; another attempt is due after some seconds."""
        due = time.time() + delay
        self._change(
            job.id,
            lambda now: dataclasses.replace(
                now, attempts=now.attempts + 1, due=due, error=error
            ),
            durable=False,
        )

    def fail(self, job: Job, error: str) -> bool:
        """Note an error that will not pass.

        :return: whether that is news: the job was neither dropped nor failed.
        """

        def change(now: Job) -> Job | None:
            if now.state is JobState.DROPPED or now.state is not job.state:
                return None
            attempts = now.attempts + 1
            return dataclasses.replace(
                now, state=JobState.FAILED, attempts=attempts, error=error
            )

        return self._change(job.id, change) is not None

    def forget(self, job: Job) -> None:
        """Remove a job that was dropped and whose object is deleted."""
        with self.changing():
            self._remove(job.id)

    # For anybody.

    def drop(self, job_id: str) -> Job | None:
        """Mark a job as deleted; return it, or None where it has ended."""
        return self._change(
            job_id,
            lambda now: dataclasses.replace(now, state=JobState.DROPPED, due=0.0),
        )

    def retry(self, job_id: str) -> bool:
        """Let a job be tried again now; return whether there is such a job."""

        def change(now: Job) -> Job | None:
            if now.state is JobState.FAILED:
                now = dataclasses.replace(now, state=JobState.WAITING)
            return dataclasses.replace(now, due=0.0)

        return self._change(job_id, change) is not None

    def leftovers(self) -> Iterator[Path]:
        """Yield what a process left that was killed before it had acknowledged."""
        yield from leftovers(self.folder)
        before = time.time() - STALE_SECONDS
        for path in self.folder.glob("*.data"):
            with contextlib.suppress(FileNotFoundError):
                record = path.with_suffix(".json")
                if not record.exists() and path.stat().st_mtime < before:
                    yield path

    def strangers(self) -> list[str]:
        """Return the folders of other targets in the spool in which jobs wait."""
        return sorted(
            path.name
            for path in self.spool_path.glob("*/")
            if path.name != self.target.folder and any(path.glob("*.json"))
        )

    def _change(
        self, job_id: str, change: Callable[[Job], Job | None], *, durable: bool = True
    ) -> Job | None:
        if not self._record(job_id).exists():
            return None
        with self.changing():
            now = self.read(job_id)
            new = change(now) if now else None
            if new:
                self._write(new, durable=durable and self.durable)
        return new

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the mutex: nobody else changes a record meanwhile."""
        with (self.folder / MUTEX).open("ab") as file:
            lock(file.fileno(), wait=True)
            yield

    def _write(self, job: Job, *, durable: bool) -> None:
        hidden = self.folder / f"{HIDDEN_PREFIX}{uuid.uuid4().hex}"
        with hidden.open("xb") as file:
            try:
                file.write(job.to_json())
                file.flush()
                if durable:
                    off_the_hub(os.fsync, file.fileno())
                hidden.replace(self._record(job.id))
            except BaseException:
                hidden.unlink(missing_ok=True)
                raise
        if durable:
            sync_folder(self.folder)

    def _remove(self, job_id: str) -> None:
        # The record first: what has none is never sent again.
        self._record(job_id).unlink(missing_ok=True)
        self._data(job_id).unlink(missing_ok=True)

    def _record(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.json"

    def _data(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.data"
