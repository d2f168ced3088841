"""Unfinished uploads in S3: a record, the parts of a multipart upload, and a tail.

Keys are hidden, as names with a dot are neither listed nor served:

======================  ============================================================
key                     holds
======================  ============================================================
``.tus/ID.json``        the record
``.tus/ID``             the multipart upload, and its object once it is completed
``.tus/ID.tail-START``  bytes that are too few for a part, as they follow START
======================  ============================================================

The offset is the size of all parts, and of the tail that begins there: a tail that a
killed request left behind begins elsewhere and does not count. Parts have the same size
for the same number, so a part that is sent again holds the same range. Before each part
the sizes are asked for again, under a lock of this host: two requests on one host never
interleave. Two on different hosts that send different bytes for the same range at the
same moment can; a client that does so harms its own upload only.

A complete upload becomes an object under its hidden key, which S3 copies to the name of
the file, with the conditions and attributes of any save. No byte passes through the app
twice. The mark of the copy is the upload's id, by which a killed finish finds its file.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import Any

from .._bucket import MARK
from .._bucket import MOST_PARTS
from .._s3_errors import failing_as
from .._s3_reader import ObjectReader
from .._server_copy import Source
from .._spool import lock
from ..config import MIB
from ..exceptions import NotFoundError
from .protocol import MovedError
from .protocol import Upload


if TYPE_CHECKING:
    from ..stores.s3 import S3Store

FOLDER = ".tus/"
RECORD = ".json"
#: The least bytes of a part, but of the last, for S3 itself and for us.
LEAST_PART = 5 * MIB
PART = 8 * MIB


@dataclass(frozen=True, slots=True)
class _State:
    """What S3 has of an upload.

    :param sizes: bytes of each part.
    :param tail: bytes after them.
    :param touched: when the last of them came, in seconds since the epoch.
    """

    sizes: tuple[int, ...]
    tail: int
    touched: float
    etags: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """Where the tail begins."""
        return sum(self.sizes)

    @property
    def offset(self) -> int:
        """Where the upload ends."""
        return self.start + self.tail


class StoredPart(io.BufferedReader):
    """A complete upload in S3, as a stream that S3 itself can copy.

    :param source: the object.
    :param mark: what its copy is marked with.
    :param attempt: is called with a name before the copy is made under it.
    """

    def __init__(
        self,
        reader: ObjectReader,
        source: Source,
        upload: Upload,
        attempt: Callable[[str], None],
    ) -> None:
        super().__init__(reader, 256 * 1024)
        self.source = source
        self.mark = upload.id
        self.filename = upload.filename
        self.attempt = attempt


class S3Place:
    """Keep unfinished uploads in a bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._bucket = store.bucket

    def create(self, upload: Upload) -> None:
        """Begin an upload."""
        size = PART
        if upload.length is not None:
            size = max(PART, math.ceil(upload.length / MOST_PARTS))
        with failing_as("save", upload.id):
            made = self._bucket.client.create_multipart_upload(
                **self._arguments(self._key(upload))
            )
        grows = upload.length is None
        handle = f"{'+' if grows else ''}{size}:{made['UploadId']}"
        self.keep(replace(upload, handle=handle))

    def keep(self, upload: Upload) -> None:
        """Replace the record of an upload."""
        if not upload.handle:
            # The caller has it as it was before it was created.
            upload = replace(upload, handle=self.find(upload.id).handle)
        body = json.dumps(asdict(upload)).encode()
        self._put(self._key(upload, RECORD), body)

    def find(self, upload_id: str) -> Upload:
        """Return an upload.

        :raises NotFoundError: there is none.
        """
        key = self._store.key(FOLDER + upload_id + RECORD)
        with failing_as("find", upload_id):
            found = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            text = found["Body"].read()
        return Upload(**json.loads(text))

    def offset(self, upload: Upload) -> int:
        """Return how many bytes there are."""
        if upload.file is not None:
            return upload.length or 0
        return self._state(upload).offset

    def touched(self, upload: Upload) -> float:
        """Return when the last byte came, in seconds since the epoch."""
        if upload.file is not None:
            return upload.created
        return max(upload.created, self._state(upload).touched)

    def append(self, upload: Upload, offset: int, blocks: Iterable[bytes]) -> int:
        """Append bytes and return where the upload ends now.

        :param offset: where they begin.
        :raises MovedError: it does not end there, or somebody else appends.
        """
        upload = self.find(upload.id)
        state = self._state(upload)
        if state.offset != offset:
            raise MovedError
        with tempfile.SpooledTemporaryFile(PART) as waiting:
            waiting.write(self._read_tail(upload, state))
            start, number = state.start, len(state.sizes) + 1
            try:
                for block in blocks:
                    waiting.write(block)
                    while waiting.tell() >= _size(upload, number):
                        size = _size(upload, number)
                        self._send_part(upload, waiting, number, start, size)
                        start, number = start + size, number + 1
            finally:
                end = start + waiting.tell()
                if waiting.tell() and (end, start) != (state.offset, state.start):
                    waiting.seek(0)
                    self._send_tail(upload, waiting, start)
        return end

    def append_checked(
        self,
        upload: Upload,
        offset: int,
        blocks: Iterable[bytes],
        check: Callable[[], None],
    ) -> int:
        """Append bytes all at once, if they pass a check when all have come."""
        with tempfile.SpooledTemporaryFile(PART) as body:
            for block in blocks:
                body.write(block)
            check()
            body.seek(0)
            return self.append(upload, offset, iter(lambda: body.read(MIB), b""))

    def concatenate(self, upload: Upload, parts: Iterable[Upload]) -> None:
        """Begin an upload with the bytes of others."""
        self.create(upload)
        upload = self.find(upload.id)
        sources = [self._complete(self.find(part.id)) for part in parts]
        if any(source.size < LEAST_PART for source in sources[:-1]):
            offset = 0
            for source in sources:
                with ObjectReader(self._bucket, source.key, upload.id) as reader:
                    blocks = iter(lambda: reader.read(MIB) or b"", b"")
                    offset = self.append(upload, offset, blocks)
            return
        for number, source in enumerate(filter(lambda it: it.size, sources), 1):
            with failing_as("save", upload.id):
                self._bucket.client.upload_part_copy(
                    **self._where(upload),
                    PartNumber=number,
                    CopySource={"Bucket": self._bucket.name, "Key": source.key},
                )

    def finish(
        self,
        upload: Upload,
        save: Callable[[Any], str],
        announce: Callable[[str], None],
    ) -> None:
        """Make a file of a complete upload, unless somebody else does so now.

        :param save: saves a stream and returns the file's name.
        :param announce: is called with the name, at least once for each upload.
        """
        with self._locked(upload, wait=False) as alone:
            upload = self.find(upload.id)
            if not alone or upload.file is not None:
                return
            name = self._named(upload)
            if name is None:
                source = self._complete(upload)

                def attempt(full: str) -> None:
                    self.keep(replace(upload, attempt=full))

                reader = ObjectReader(self._bucket, source.key, upload.id)
                with StoredPart(reader, source, upload, attempt) as part:
                    name = save(part)
            announce(name)
            self.keep(replace(upload, file=name))
            self._drop_bytes(upload)

    def delete(self, upload: Upload) -> None:
        """Drop an upload; a file that it became stays."""
        with contextlib.suppress(NotFoundError):
            self._drop_bytes(self.find(upload.id))
        with failing_as("delete", upload.id):
            self._bucket.delete([self._key(upload, RECORD)])

    def uploads(self) -> Iterator[Upload]:
        """Yield all uploads."""
        with failing_as("list", FOLDER):
            entries = list(self._bucket.list(self._store.key(FOLDER)))
        for entry in entries:
            name = entry["Key"].rpartition("/")[2]
            if name.endswith(RECORD):
                with contextlib.suppress(NotFoundError):
                    yield self.find(name.removesuffix(RECORD))

    # Parts.

    def _state(self, upload: Upload) -> _State:
        """Ask S3 what there is."""
        sizes, etags, times = [], [], [0.0]
        with failing_as("find", upload.id):
            try:
                pages = self._bucket.client.get_paginator("list_parts")
                for page in pages.paginate(**self._where(upload)):
                    for part in page.get("Parts", ()):
                        sizes.append(part["Size"])
                        etags.append(part["ETag"])
                        times.append(part["LastModified"].timestamp())
            except self._bucket.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchUpload":
                    raise
                return self._completed(upload)
            tail = self._bucket.head(self._key(upload, f".tail-{sum(sizes)}"))
        if tail is not None:
            times.append(tail["LastModified"].timestamp())
        size = tail["ContentLength"] if tail else 0
        return _State(tuple(sizes), size, max(times), tuple(etags))

    def _completed(self, upload: Upload) -> _State:
        head = self._bucket.head(self._key(upload))
        if head is None:
            raise NotFoundError(upload.id)
        return _State((head["ContentLength"],), 0, head["LastModified"].timestamp())

    def _read_tail(self, upload: Upload, state: _State) -> bytes:
        if not state.tail:
            return b""
        key = self._key(upload, f".tail-{state.start}")
        with failing_as("read", upload.id):
            found = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            data: bytes = found["Body"].read()
        return data

    def _send_part(
        self, upload: Upload, waiting: IO[bytes], number: int, start: int, size: int
    ) -> None:
        """Send the first bytes of what waits as a part, and keep the rest waiting."""
        waiting.seek(0)
        data, rest = waiting.read(size), waiting.read()
        with self._locked(upload), failing_as("save", upload.id):
            self._check_end(upload, start)
            self._bucket.client.upload_part(
                **self._where(upload), PartNumber=number, Body=data
            )
        waiting.seek(0)
        waiting.truncate()
        waiting.write(rest)

    def _send_tail(self, upload: Upload, waiting: IO[bytes], start: int) -> None:
        with self._locked(upload):
            self._check_end(upload, start)
            self._put(self._key(upload, f".tail-{start}"), waiting.read())

    def _check_end(self, upload: Upload, start: int) -> None:
        if self._state(upload).start != start:
            raise MovedError

    def _complete(self, upload: Upload) -> Source:
        """Make one hidden object of all parts, unless that was done."""
        state = self._state(upload)
        tail = self._read_tail(upload, state)
        key = self._key(upload)
        with failing_as("save", upload.id):
            client = self._bucket.client
            if state.sizes and state.etags:
                parts = [
                    {"PartNumber": number, "ETag": etag}
                    for number, etag in enumerate(state.etags, 1)
                ]
                if tail:
                    number = len(parts) + 1
                    sent = client.upload_part(
                        **self._where(upload), PartNumber=number, Body=tail
                    )
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
                client.complete_multipart_upload(
                    **self._where(upload), MultipartUpload={"Parts": parts}
                )
            elif not state.sizes:
                # Too small for parts, of which S3 wants at least one.
                self._put(key, tail)
                self._bucket.abort(self._where(upload))
            head = self._bucket.head(key)
        if head is None:
            raise NotFoundError(upload.id)
        return Source(key, head["ETag"], head["ContentLength"])

    def _named(self, upload: Upload) -> str | None:
        """Return the name of the file, if an earlier attempt got as far as that."""
        if upload.attempt is None:
            return None
        with failing_as("find", upload.id):
            found = self._bucket.head(self._store.key(upload.attempt))
        ours = found is not None and found["Metadata"].get(MARK) == upload.id
        return upload.attempt if ours else None

    def _drop_bytes(self, upload: Upload) -> None:
        with failing_as("delete", upload.id):
            with contextlib.suppress(self._bucket.client.exceptions.ClientError):
                self._bucket.abort(self._where(upload))
            found = [entry["Key"] for entry in self._bucket.list(self._key(upload))]
            keys = [key for key in found if not key.endswith(RECORD)]
            if keys:
                self._bucket.delete(keys)

    # Requests.

    def _key(self, upload: Upload, suffix: str = "") -> str:
        return self._store.key(FOLDER + upload.id + suffix)

    def _where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": str(self._bucket.name),
            "Key": self._key(upload),
            "UploadId": upload.handle.partition(":")[2],
        }

    def _arguments(self, key: str) -> dict[str, Any]:
        parameters = self._store.config.s3_object_parameters
        return {"Bucket": self._bucket.name, "Key": key, **parameters}

    def _put(self, key: str, body: bytes) -> None:
        with failing_as("save", key.rpartition("/")[2]):
            self._bucket.client.put_object(**self._arguments(key), Body=body)

    @contextlib.contextmanager
    def _locked(self, upload: Upload, *, wait: bool = True) -> Iterator[bool]:
        """Keep this host's other requests for the upload out; yield whether it did."""
        # A few files for all uploads, as one that is in use cannot be removed.
        path = Path(tempfile.gettempdir(), f"flask-store-tus-{upload.id[:2]}.lock")
        with path.open("a+b") as file:
            yield lock(file.fileno(), wait=wait)


def _size(upload: Upload, number: int) -> int:
    """Return the bytes of a part. Without a length they grow, as S3 counts parts."""
    size = int(upload.handle.partition(":")[0])
    return size * (1 + number // 1000) if upload.handle.startswith("+") else size
