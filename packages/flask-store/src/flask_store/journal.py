"""Uploads that wait on disk to be sent, and outlive the process."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import IO
from typing import Any

from flask_store.exceptions import StoreError
from flask_store.spool import Spool
from flask_store.spool import leftovers
from flask_store.spool import lock
from flask_store.spool import make_folder
from flask_store.spool import sync_folder
from flask_store.upload import Upload


logger = logging.getLogger("flask_store")

#: No save is that slow between its two files.
STALE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """An upload that waits.

    :param id: what tells it from all others.
    :param bucket: where it is to go.
    :param name: its name as the root of the store sees it.
    :param size: bytes.
    """

    id: str
    bucket: str
    name: str
    size: int
    #: What it carries beside what its name implies.
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """A folder of uploads, each with a record of what it is.

    :param durable: whether a power cut may not lose them.
    """

    folder: Path
    durable: bool

    def spool(self, label: str) -> Spool:
        """Return a file in the making, in this folder."""
        make_folder(self.folder, durable=self.durable)
        return Spool(str(self.folder), label)

    def add(self, upload: Upload, bucket: str, name: str) -> Job:
        """Keep an upload; when this returns, it will be sent."""
        job_id = uuid.uuid4().hex
        if isinstance(upload.stream, Spool) and not upload.stream.linked:
            upload, size = self._keep_upload(upload, upload.stream, f"{job_id}.data")
        else:
            with self.spool(name) as spool:
                upload.copy_to(spool)
                upload, size = self._keep_upload(upload, spool, f"{job_id}.data")
        job = Job(job_id, bucket, name, size, upload.attributes(name).record(name))
        with self.spool(name) as record:
            record.write(json.dumps(asdict(job)).encode())
            self._keep(record, f"{job_id}.json")
        if self.durable:
            sync_folder(self.folder)
        return job

    def _keep_upload(
        self, upload: Upload, spool: Spool, filename: str
    ) -> tuple[Upload, int]:
        upload = upload.accepted(spool, spool.seek(0, io.SEEK_END))
        return upload, self._keep(spool, filename)

    def _keep(self, spool: Spool, filename: str) -> int:
        spool.settle(durable=self.durable)
        size = spool.seek(0, io.SEEK_END)
        if not spool.link(str(self.folder / filename)):
            raise StoreError(f"{filename} is there already")  # pragma: no cover
        return size

    def pending(self) -> list[Job]:
        """Return the uploads that wait, the oldest first."""
        jobs = []
        for path in self.folder.glob("*.json"):
            # Another process may have sent it just now.
            with contextlib.suppress(FileNotFoundError):
                try:
                    job = Job(**json.loads(path.read_bytes()))
                except (TypeError, ValueError):
                    # After a power cut, where STORE_FSYNC is off: the others go on.
                    logger.warning("%s in the spool is not readable", path.name)
                else:
                    jobs.append((path.stat().st_mtime_ns, job))
        return [job for _, job in sorted(jobs, key=lambda pair: pair[0])]

    @contextlib.contextmanager
    def claim(self, job: Job) -> Iterator[IO[bytes] | None]:
        """Open an upload for one sender; None where it is sent, or being sent."""
        try:
            file = self._data(job).open("rb")
        except FileNotFoundError:
            yield None
            return
        with file:
            free = lock(file.fileno())
            yield file if free and self._data(job).exists() else None

    def remove(self, job: Job) -> None:
        """Forget an upload that was sent."""
        # The record first: what has none is never sent again.
        (self.folder / f"{job.id}.json").unlink(missing_ok=True)
        self._data(job).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Yield what a process left that was killed before it had acknowledged."""
        yield from leftovers(self.folder)
        before = time.time() - STALE_SECONDS
        for path in self.folder.glob("*.data"):
            with contextlib.suppress(FileNotFoundError):
                record = path.with_suffix(".json")
                if not record.exists() and path.stat().st_mtime < before:
                    yield path

    def _data(self, job: Job) -> Path:
        return self.folder / f"{job.id}.data"
