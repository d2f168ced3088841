"""Response bodies that a server in front may send in this process's place.

A file is handed over if, and only if, the body that leaves the application is one of
these objects, untouched. Whatever replaces, compresses or copies the body of a response
puts another object in its place, and that object is what is sent. No field of a
response can therefore open a file, nor can one that survives its body.

The bodies are ordinary iterables of bytes: without the edge, or where a status or a
header keeps a file from being handed over, they yield the file themselves. They pickle
by the path, so that caches of whole responses can keep them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from typing import NamedTuple

from ._fields import Front
from ._fields import HeaderList
from ._files import File


logger: logging.Logger = logging.getLogger("flask_kaccel")
CHUNK_BYTES = 64 * 1024
#: The key of the request's latest body in the WSGI environment.
RECORD = "flask_kaccel.body"
#: And that of the internal fields that ``Kaccel.control`` has set.
CONTROL = "flask_kaccel.control"


class Handover(NamedTuple):
    """The front that can send a file, and the fields that make it do so."""

    front: Front
    target: HeaderList


class RedirectBody:
    """No bytes, in whose place nginx answers from an internal location.

    :param uri: the internal location.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.closed = False

    def __iter__(self) -> RedirectBody:
        return self

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None:
        """Note that this was the body of the response that has ended."""
        self.closed = True


class FileBody:
    """The bytes of one file.

    :param file: what was found at the path.
    :param redirect: another internal location than the mapping's.
    :param accel: settings that only nginx reads.
    :param delete: remove the file once all of it was taken from this body.
    """

    def __init__(
        self,
        file: File,
        redirect: str | None = None,
        accel: HeaderList = (),
        *,
        delete: bool = False,
        stream: BinaryIO | None = None,
    ) -> None:
        self.file = file
        self.redirect = redirect
        self.accel = accel
        self.delete = delete
        self.stream = stream
        #: Conditions and ranges that were taken from the request for the edge.
        self.asked: Mapping[str, str] = {}
        self.handover: Handover | None = None
        #: Whether ``handover`` is about the request that is being answered.
        self.decided = False
        self.closed = False

    def __reduce__(self) -> tuple[object, ...]:
        return FileBody, (self.file, self.redirect, self.accel)

    def open(self) -> BinaryIO:
        """Return the open file.

        :raises OSError: it cannot be read.
        """
        if self.stream is None:
            self.stream = Path(self.file.path).open("rb")  # noqa: SIM115 - close() does
        return self.stream

    def __iter__(self) -> FileBody:
        return self

    def __next__(self) -> bytes:
        chunk = self.open().read(CHUNK_BYTES)
        if chunk:
            return chunk
        if self.delete:
            self._remove()
        raise StopIteration

    def seekable(self) -> bool:
        """Return whether a part of it can be read, as Werkzeug asks."""
        return True

    def seek(self, offset: int) -> None:
        """Go on at an offset in bytes."""
        self.open().seek(offset)

    def tell(self) -> int:
        """Return the offset in bytes."""
        return self.open().tell()

    def close(self) -> None:
        """Close the file; the server calls it however the response ends."""
        self.closed = True
        if self.stream is not None:
            self.stream.close()

    def _remove(self) -> None:
        self.delete = False
        try:
            Path(self.file.path).unlink()
        except OSError as error:
            logger.warning("%r cannot be deleted: %s", self.file.path, error.strerror)
