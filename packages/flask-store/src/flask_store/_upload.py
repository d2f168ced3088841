"""An upload, from the request to its name.

The rule: a file gets its name last. Before that nobody sees any of it, and whatever
ends the save, an error, a hook or a kill, leaves nothing that has a name.

=====  ========================================  =======================================
step   by whom                                   a failure there
=====  ========================================  =======================================
take   :meth:`Upload.of`: the stream, a clean    ``NoFileError``, ``InvalidNameError``,
       name and the options                      ``InvalidAttributeError``; nothing read
copy   :meth:`Upload.copy_to`: to an unnamed     the source's error, such as
       file, to memory, or not at all where the  ``DisconnectedError``; or the target's,
       bytes already are where they belong       such as a full disk
check  :meth:`Upload.accepted`, once: checksums  ``DigestError``, or what the hook
       are compared, hooks see the whole file    raises
keep   the store: attributes are written, bytes  ``BackendError``
       made durable
name   the store: the kernel or S3 itself gives  a taken name becomes unique, and is
       the name, if it is free                   tried again
=====  ========================================  =======================================

An error of the source is told from one of the target, as the one is the client's and
the other the operator's. A stream that can be read again is read from its start,
whatever the app has read of it; one that cannot, such as a raw body, is read once, and
kept in a temporary file where the store needs it again.

In a store in the background the name comes before the bytes are in the bucket. The
save ends in the journal then, and what follows is told in ``_journal.py``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import IO
from typing import Any
from typing import Self

from werkzeug.datastructures import FileStorage

from . import _attributes
from . import _names
from ._accept import Accept
from ._accept import Incoming
from ._accept import ReadOnly
from ._attributes import Attributes
from ._attributes import SaveOptions
from ._checksums import Checksums
from ._offload import off_the_hub
from ._parts import Part
from ._spool import Spool
from .exceptions import BackendError
from .exceptions import NoFileError
from .exceptions import StoreError


CHUNK = 64 * 1024
#: A raw body up to this size is kept in memory.
IN_MEMORY = 1024 * 1024
#: From here on, data that Werkzeug received has a file descriptor.
LARGE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A binary stream with the name that it is to have.

    :param record: the attributes that differ from what the name implies.
    :param hooks: what has to accept the file, in this order.
    """

    stream: IO[bytes]
    name: str
    filename: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    hooks: tuple[Accept, ...] = ()
    checksums: Checksums = field(default_factory=Checksums)

    @classmethod
    def of(
        cls,
        file: FileStorage | IO[bytes] | None,
        name: str | None,
        options: SaveOptions | None = None,
        accept: Accept | None = None,
    ) -> Self:
        """Take an uploaded file, or any binary stream.

        :param name: the name; without it the client's, of which the last part counts.
        :param options: the keyword arguments of ``save``.
        :param accept: the store's own hook.
        :raises NoFileError: where a form was sent without a file.
        :raises InvalidAttributeError: for an attribute that cannot be kept.
        """
        stream: Any = file.stream if isinstance(file, FileStorage) else file
        if isinstance(stream, Part):
            stream = stream.current
        filename = getattr(file, "filename", None)
        path = getattr(stream, "name", None)
        if filename is None and isinstance(path, str):
            # A file opened by the app is called what it is called on its disk.
            filename = path
        if file is None or (filename == "" and _is_empty(stream)):
            raise NoFileError
        if not callable(getattr(stream, "read", None)) or hasattr(stream, "encoding"):
            kind = type(file).__name__
            raise TypeError(f"save() takes an upload or a binary stream, not {kind}")
        chosen = _names.clean(filename) if name is None else _names.clean_path(name)
        options = options or {}
        _refuse_unknown(options)
        digest = options.get("content_digest")
        if digest is None and isinstance(file, FileStorage):
            digest = file.headers.get("Content-Digest")
        given = {key: value for key, value in options.items() if key != "sha256"}
        return cls(
            stream,
            chosen,
            _attributes.original_name(filename, chosen),
            _attributes.checked(given),
            tuple(hook for hook in (accept, options.get("accept")) if hook),
            Checksums(sha256=options.get("sha256", False), expected=digest),
        )

    def attributes(self, name: str) -> Attributes:
        """Return what the file carries under the name that it gets."""
        download_name = self.record.get("download_name", self.filename)
        return Attributes.of(name, {**self.record, "download_name": download_name})

    def kept(self, name: str) -> bytes:
        """Return the record in JSON for a name; nothing where there is none."""
        if not self.record and self.filename in {None, name.rpartition("/")[2]}:
            return b""
        record = self.attributes(name).record(name)
        return _attributes.dump(record) if record else b""

    def accepted(self, body: IO[bytes], size: int) -> Self:
        """Check the bytes, which are complete, and return the upload as accepted.

        :param body: a stream of them that can be read again.
        :raises DigestError: where they are not what the client announced.
        :raises Exception: whatever an accept hook raises to refuse them.
        """
        if self.checksums:
            off_the_hub(self.checksums.read, body)
        self.checksums.check()
        record = dict(self.record)
        if sha256 := self.checksums.sha256:
            record["sha256"] = sha256
        for hook in self.hooks:
            if found := self._ask(hook, body, size, record):
                record |= _attributes.checked({"content_type": found})
        mimetype = Attributes.of(self.name, record).content_type
        _attributes.check_disposition(record, mimetype)
        return dataclasses.replace(self, record=record, hooks=())

    def _ask(
        self, hook: Accept, body: IO[bytes], size: int, record: Mapping[str, Any]
    ) -> str | None:
        body.seek(0)
        mimetype = Attributes.of(self.name, record).content_type
        metadata = record.get("metadata", {})
        with io.BufferedReader(ReadOnly(body)) as stream:
            return hook(
                Incoming(self.name, self.filename, size, mimetype, metadata, stream)
            )

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
            if size >= LARGE and _has_descriptor(self.stream):
                return off_the_hub(self._copy_large, target, size)
            self.stream.seek(0)
        return self._copy(target)

    def _copy_large(self, target: IO[bytes], size: int) -> int:
        if not self.checksums and (sent := _send(self.stream, target, size)):
            return sent
        self.stream.seek(0)
        return self._copy(target)

    def _read(self) -> bytes:
        try:
            return self.stream.read(CHUNK)
        except StoreError:
            raise
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise BackendError("read", self.name, reason) from error

    def _copy(self, target: IO[bytes]) -> int:
        written = 0
        while chunk := self._read():
            target.write(chunk)
            if self.checksums:
                self.checksums.update(chunk)
            written += len(chunk)
        self.checksums.finish()
        return written


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = SaveOptions.__annotations__
    for key in options.keys() - known.keys():
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"save() got an unexpected keyword argument {key!r}{hint}")


def _measure(stream: IO[bytes]) -> int:
    return stream.seek(0, os.SEEK_END)


def _has_descriptor(stream: IO[bytes]) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError):
        return False


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


@contextlib.contextmanager
def rereadable(upload: Upload) -> Iterator[tuple[IO[bytes], int]]:
    """Give a stream that can be read again, and its size; a raw body is spooled."""
    if upload.seekable:
        yield upload.stream, upload.size()
    else:
        folder = tempfile.gettempdir()
        made: Any = Part(lambda: Spool(folder, upload.name), IN_MEMORY)
        with made as part:
            size = upload.copy_to(part)
            yield part.current, size
