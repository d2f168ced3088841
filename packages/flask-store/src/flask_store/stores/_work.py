"""Work that is left when a save has answered; most providers have none."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import ClassVar

from .._jobs import Job
from ..file_wrapper import FileWrapper


class Work:
    """The part of a provider that works after the answer."""

    #: Whether it has such work: :meth:`start`.
    background: ClassVar[bool] = False
    #: Is told of the end of each: the file, and the error or None.
    on_end: Callable[[FileWrapper, Exception | None], None] | None = None
    #: Takes the store and the id of each upload that waits, in the app's own queue.
    enqueue: Callable[[str, str], object] | None = None

    def start(self) -> None:
        """Start the work in the background in this process, where ``background``."""

    def stop(self) -> None:
        """Stop that work in this process; what is left of it is kept."""

    def pending(self) -> Sequence[Job]:
        """Return the uploads that are acknowledged and wait to be sent."""
        return ()

    def deliver(self, job_id: str) -> float | None:
        """Try to send one of them now.

        :return: the Unix time at which to try again, or None where it has ended.
        """
        raise NotImplementedError

    def retry(self, job_id: str) -> bool:  # noqa: ARG002
        """Let a failed one be sent again; return whether there is such a job."""
        return False

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """Wait until what this process has saved is sent; return whether it is.

        :param timeout: seconds, or None to wait for ever.
        """
        return True
