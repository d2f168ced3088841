"""Files in Google Cloud Storage and Azure, by the package obstore.

The backend itself refuses a name that is taken: ``x-goog-if-generation-match: 0`` in
Google's, ``If-None-Match: *`` in Azure. It can only do so for what is sent in one
request, so larger files get a name that nobody else can have, and go in parts.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import uuid
from collections.abc import Generator
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import Any
from typing import BinaryIO
from typing import ClassVar
from typing import Unpack

from .._attributes import Attributes
from .._attributes import SaveOptions
from .._attributes import check_signed
from .._listing import rolled_up
from .._names import is_valid
from .._obstore import OPTIONS
from .._obstore import URL
from .._obstore import Backend
from .._obstore import Reader
from .._obstore import from_fields
from .._obstore import run
from .._obstore import to_fields
from .._upload import Upload
from .._upload import rereadable
from ..config import MIB
from ..config import Config
from ..exceptions import BackendError
from ..exceptions import ConfigError
from ..exceptions import NotFoundError
from ..file_wrapper import FileWrapper
from .base import BaseStore


if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from .._tus.place import Place

#: What is sent in one request, and is in memory meanwhile.
LARGEST_PUT = 16 * MIB
PART = 8 * MIB
PARTS_AT_ONCE = 4
MOST_PARTS = 10_000
READ_SIZE = MIB
#: The longest that Google and Azure let a signature live.
WEEK = timedelta(days=7)


class ObjectStore(BaseStore):
    """Save files in a bucket or container, ``STORE_OBSTORE_URL``.

    The app serves them; ``STORE_PATH`` is what all keys start with.
    """

    register_route = True
    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = (URL,)
    OPTIONAL_CONFIGURATION: ClassVar[tuple[str, ...]] = (OPTIONS,)

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        self.prefix: str = (self.config.path or "").strip("/")
        other = self.config.other
        self._backend = Backend(other.get(URL), other.get(OPTIONS, {}))

    def territory(self) -> tuple[str, str]:
        """Return the bucket, and what all keys start with."""
        if self._backend.folder is not None:
            return "disk", os.path.realpath(Path(self._backend.folder, self.prefix))
        return self._backend.identity, self.prefix

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Send a file and wait until it is there."""
        upload = self.receive(file, name, options)
        with rereadable(upload) as (body, size):
            upload = upload.accepted(body, size)

            def create(full: str) -> bool:
                return self._create(full, body, size, upload)

            in_parts = size > LARGEST_PUT
            full = self.place(upload.name, create, always_unique=in_parts)
        return self.saved(full, size)

    def _create(self, full: str, body: IO[bytes], size: int, upload: Upload) -> bool:
        """Send a file, unless its name is taken; return whether it was sent."""
        from obstore.exceptions import AlreadyExistsError

        how: dict[str, Any] = {"mode": "create"}
        body.seek(0)
        content: bytes | Iterator[bytes] = b""
        if size > LARGEST_PUT:
            chunk = max(PART, math.ceil(size / MOST_PARTS))
            how = {"chunk_size": chunk, "max_concurrency": PARTS_AT_ONCE}
            content = iter(lambda: body.read(chunk), b"")
        elif size:
            content = body.read()
        if self._backend.folder is None:
            how["attributes"] = to_fields(upload.attributes(full), full)
        try:
            self._backend.ask("save", full, "put", self.key(full), content, **how)
        except BackendError as error:
            if isinstance(error.__cause__, AlreadyExistsError):
                return False
            raise
        return True

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; it is fetched as it is read."""
        return io.BufferedReader(
            Reader(name, functools.partial(self._get, name)), READ_SIZE
        )

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        try:
            self._get(name, head=True)
        except NotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a file; it is no error when there is none."""
        with contextlib.suppress(NotFoundError):
            self._backend.ask("delete", name, "delete", self.join(name))

    def size(self, name: str) -> int:
        """Return the number of bytes."""
        size: int = self._get(name, head=True).meta["size"]
        return size

    def modified(self, name: str) -> datetime:
        """Return when a file was written."""
        modified: datetime = self._get(name, head=True).meta["last_modified"]
        return modified

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries; on a disk, what its name implies."""
        return from_fields(name, self._get(name, head=True).attributes)

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        return self._list(start)

    def _entries(
        self, start: str, delimiter: str | None, after: str
    ) -> Iterator[FileWrapper | str]:
        return rolled_up(self._list(start, after), start, delimiter, after)

    def _list(self, start: str, after: str = "") -> Iterator[FileWrapper]:
        root, above = self.within(None), self.key("")
        # A prefix of obstore's ends where a folder does.
        folder = self.key(start).rpartition("/")[0]
        offset = self.key(after) if after else None
        wanted = {"prefix": folder or None, "offset": offset}
        chunks = iter(self._backend.ask("list", start, "list", **wanted))
        if self._backend.folder is not None:
            found = [it for chunk in chunks for it in chunk]
            chunks = iter([sorted(found, key=lambda it: it["path"])])
        while chunk := run("list", start, next, chunks, None):
            for entry in chunk:
                name = entry["path"].removeprefix(above)
                if name.startswith(start) and is_valid(name):
                    yield FileWrapper(root, name, entry["size"], entry["last_modified"])

    def join(self, *parts: str) -> str:
        """Return a file's key."""
        return self.key(self.full_name("/".join(parts)))

    def key(self, full: str) -> str:
        """Return the key of a name as the root of the store sees it."""
        return f"{self.prefix}/{full}" if self.prefix else full

    def url(
        self,
        name: str,
        expires: float | None = None,
        *,
        download_name: str | None = None,
    ) -> str:
        """Return a file's URL; a signed one is the backend's own, where it signs.

        :param expires: the seconds that a signed one works, a week at most.
        :param download_name: download the file under this name, from the app.
        """
        check_signed(expires, download_name)
        key = self.join(name)
        if expires is None or download_name or not self._backend.signs(key):
            return super().url(name, expires, download_name=download_name)
        ends = min(timedelta(seconds=int(expires)), WEEK)
        signed: str = self._backend.ask("sign", name, "sign", "GET", key, ends)
        return signed

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait: in the spool's folder."""
        from .._tus.folder import FOLDER
        from .._tus.folder import FolderPlace

        if self.config.spool_path is None:
            remedy = "set a folder for unfinished resumable uploads"
            raise ConfigError("STORE_SPOOL_PATH", None, remedy)
        # A folder for each store, as several may share the spool.
        known = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(self.territory())).hex
        path = Path(self.config.spool_path, FOLDER, known)
        return FolderPlace(path, None, durable=self.config.fsync)

    def check(self, *, clean: bool = False) -> Generator[str]:  # noqa: ARG002
        """Try out whether the backend saves, and refuses a name that is taken.

        :raises BackendError: where it does not.
        """
        name = f".check-{uuid.uuid4().hex}"
        upload = Upload.of(io.BytesIO(b"check"), "check.txt")
        made = [self._create(name, upload.stream, 5, upload) for _ in range(2)]
        self._backend.ask("delete", name, "delete", self.key(name))
        if made != [True, False]:
            raise BackendError("save", name, "the server overwrites names")
        kept = "" if self._backend.folder is None else "; attributes are not kept"
        yield f"{self._backend.url}: files can be saved, names are unique{kept}"

    def _get(self, name: str, **options: Any) -> Any:
        """Ask for a file.

        :raises NotFoundError: where there is none.
        """
        key = self.join(name)
        return self._backend.ask("read", name, "get", key, options=options)
