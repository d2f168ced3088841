"""One upload that waits, and the only place to which it may go."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """The one place where the uploads of a folder may go.

    :param store: the name of the store in the app.
    :param endpoint: the server, or None for Amazon's.
    :param region: the bucket's, or None for the default one.
    :param bucket: the bucket.
    :param prefix: what the keys start with.
    """

    store: str
    endpoint: str | None
    region: str | None
    bucket: str
    prefix: str

    @property
    def folder(self) -> str:
        """The name of its folder in the spool."""
        return f"{self.store}-{digest(json.dumps(dataclasses.astuple(self)))}"


class JobState(enum.StrEnum):
    """The state of a job; see the table in ``_journal.py``."""

    WAITING = "waiting"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Job:
    """An upload that was acknowledged.

    :param id: made from the name.
    :param target: where it goes.
    :param key: its whole key in the bucket.
    :param name: its name as the root of the store sees it.
    :param size: bytes.
    :param record: what it carries beside what its name implies.
    :param state: what becomes of it.
    :param attempts: how often sending it has failed.
    :param due: the Unix time before which it is not tried again.
    :param error: the last one.
    """

    id: str
    target: Target
    key: str
    name: str
    size: int
    record: dict[str, Any] = field(default_factory=dict)
    state: JobState = JobState.WAITING
    attempts: int = 0
    due: float = 0.0
    error: str = ""

    @classmethod
    def from_json(cls, text: bytes) -> Job:
        """Read a record.

        :raises TypeError, ValueError: for what is none.
        """
        made = cls(**json.loads(text))
        target: object = made.target
        if not isinstance(target, dict):
            raise TypeError("no target")
        return dataclasses.replace(
            made, target=Target(**target), state=JobState(made.state)
        )

    def to_json(self) -> bytes:
        """Return the record."""
        return json.dumps(asdict(self)).encode()


def digest(text: str) -> str:
    """Return what stands for a text in the name of a file."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
