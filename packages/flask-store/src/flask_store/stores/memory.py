"""Files in memory, for tests."""

from __future__ import annotations

import functools
import io
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import Unpack

from .._attributes import Attributes
from .._attributes import SaveOptions
from ..config import Config
from ..exceptions import NotFoundError
from ..file_wrapper import FileWrapper
from .base import BaseStore


if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from .._tus.place import Place


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    modified: datetime
    attributes: Attributes


class _TemporaryFolder:
    """A folder that is made when it is needed, and goes with the last store."""

    @functools.cached_property
    def path(self) -> Path:
        """The folder."""
        path = tempfile.mkdtemp(prefix="flask-store-")
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return Path(path)


class MemoryStore(BaseStore):
    """Keep files in this process, so that a test leaves nothing behind."""

    register_route = True

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        self._blobs: dict[str, _Blob] = {}
        self._unfinished = _TemporaryFolder()

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Save a file in memory."""
        upload = self.receive(file, name, options)
        buffer = io.BytesIO()
        size = upload.copy_to(buffer)
        upload = upload.accepted(buffer, size)

        def create(full: str) -> bool:
            attributes = upload.attributes(full)
            blob = _Blob(buffer.getvalue(), datetime.now(UTC), attributes)
            # setdefault is atomic: of two threads one sees the other's blob.
            return self._blobs.setdefault(full, blob) is blob

        return self.saved(self.place(upload.name, create), size)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return io.BytesIO(self._find(name).data)

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        return self.full_name(name) in self._blobs

    def delete(self, name: str) -> None:
        """Delete a file; it is no error when there is none."""
        self._blobs.pop(self.full_name(name), None)

    def size(self, name: str) -> int:
        """Return the number of bytes."""
        return len(self._find(name).data)

    def modified(self, name: str) -> datetime:
        """Return when a file was saved."""
        return self._find(name).modified

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries."""
        return self._find(name).attributes

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        for name, blob in sorted(self._blobs.items()):
            if name.startswith(start):
                yield FileWrapper(
                    self.within(None), name, len(blob.data), blob.modified
                )

    def join(self, *parts: str) -> str:
        """Return the file's name in the whole store."""
        return self.full_name("/".join(parts))

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait: a temporary folder."""
        from .._tus.folder import FolderPlace

        return FolderPlace(self._unfinished.path, None, durable=False)

    def _find(self, name: str) -> _Blob:
        try:
            return self._blobs[self.full_name(name)]
        except KeyError:
            raise NotFoundError(name) from None
