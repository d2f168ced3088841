"""What is to be saved, whichever way it came."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO
from typing import Any
from typing import Self

from werkzeug.datastructures import FileStorage

from flask_store import names
from flask_store import serving
from flask_store.exceptions import NoFileError


CHUNK = 64 * 1024
#: From here on, data that Werkzeug received has a file descriptor.
LARGE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A binary stream with the name that it is to have."""

    stream: IO[bytes]
    name: str

    @classmethod
    def of(cls, file: FileStorage | IO[bytes] | None, name: str | None) -> Self:
        """Take an uploaded file, or any binary stream.

        :param name: the name; without it the client's, of which the last part counts.
        :raises NoFileError: where a form was sent without a file.
        """
        stream: Any = file.stream if isinstance(file, FileStorage) else file
        filename = getattr(file, "filename", None)
        if file is None or (filename == "" and _is_empty(stream)):
            raise NoFileError
        if not callable(getattr(stream, "read", None)) or hasattr(stream, "encoding"):
            kind = type(file).__name__
            raise TypeError(f"save() takes an upload or a binary stream, not {kind}")
        chosen = names.clean(filename) if name is None else names.clean_path(name)
        return cls(stream, chosen)

    @property
    def content_type(self) -> str:
        """What the name tells; what the client claims does not count."""
        return serving.content_type(self.name)

    @property
    def seekable(self) -> bool:
        """Whether the stream can be read again."""
        seekable = getattr(self.stream, "seekable", None)
        return bool(seekable and seekable())

    def size(self) -> int:
        """Return the bytes of a stream that can be read again."""
        return _measure(self.stream)

    def copy_to(self, target: IO[bytes]) -> int:
        """Write all of the stream, whatever was read of it; return the bytes."""
        if self.seekable:
            size = self.size()
            if size >= LARGE and (sent := _send(self.stream, target, size)):
                return sent
            self.stream.seek(0)
        written = 0
        while chunk := self.stream.read(CHUNK):
            target.write(chunk)
            written += len(chunk)
        return written


def _measure(stream: IO[bytes]) -> int:
    return stream.seek(0, os.SEEK_END)


def _is_empty(stream: IO[bytes]) -> bool:
    return _measure(stream) == 0


def _send(stream: IO[bytes], target: IO[bytes], size: int) -> int:
    """Copy from file to file within the kernel; return 0 where that cannot be."""
    try:
        stream.flush()
        target.flush()
        source, sink = stream.fileno(), target.fileno()
        offset = 0
        while offset < size and (
            sent := os.sendfile(sink, source, offset, size - offset)
        ):
            offset += sent
    except (AttributeError, OSError):
        target.seek(0)
        return 0
    target.seek(0, os.SEEK_END)
    return offset
