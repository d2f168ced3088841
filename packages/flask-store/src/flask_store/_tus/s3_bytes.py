"""The bytes of an upload that wait in S3: parts, a tail, and what is made of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import IO
from typing import TYPE_CHECKING
from typing import Any

from .._s3_errors import failing_as
from .._server_copy import Source
from ..exceptions import NotFoundError
from .place import host_lock
from .upload import MovedError
from .upload import Upload


if TYPE_CHECKING:
    from ..stores.s3 import S3Store

FOLDER = ".tus/"
RECORD = ".json"


@dataclass(frozen=True, slots=True)
class State:
    """The part of an upload that S3 has.

    :param sizes: bytes of each part.
    :param tail: bytes after them.
    :param touched: when the last of them came, in seconds since the epoch.
    :param etags: of each part, and ``numbers`` what S3 calls it.
    """

    sizes: tuple[int, ...]
    tail: int
    touched: float
    etags: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def start(self) -> int:
        """The offset at which the tail begins."""
        return sum(self.sizes)

    @property
    def offset(self) -> int:
        """The offset at which the upload ends."""
        return self.start + self.tail


class Bytes:
    """The bytes of a store's uploads."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._bucket = store.bucket

    def state(self, upload: Upload) -> State:
        """Ask S3 what there is."""
        sizes, etags, times, numbers = [], [], [0.0], []
        with failing_as("find", upload.id):
            try:
                pages = self._bucket.client.get_paginator("list_parts")
                for page in pages.paginate(**self.where(upload)):
                    for part in page.get("Parts", ()):
                        sizes.append(part["Size"])
                        etags.append(part["ETag"])
                        numbers.append(part["PartNumber"])
                        times.append(part["LastModified"].timestamp())
            except self._bucket.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchUpload":
                    raise
                return self._completed(upload)
            tail = self._bucket.head(self.key(upload, f".tail-{sum(sizes)}"))
        if tail is not None:
            times.append(tail["LastModified"].timestamp())
        size = tail["ContentLength"] if tail else 0
        return State(tuple(sizes), size, max(times), tuple(etags), tuple(numbers))

    def _completed(self, upload: Upload) -> State:
        head = self._bucket.head(self.key(upload))
        if head is None:
            raise NotFoundError(upload.id)
        return State((head["ContentLength"],), 0, head["LastModified"].timestamp())

    def read_tail(self, upload: Upload, state: State) -> bytes:
        if not state.tail:
            return b""
        key = self.key(upload, f".tail-{state.start}")
        with failing_as("read", upload.id):
            found = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            data: bytes = found["Body"].read()
        return data

    def send_part(
        self, upload: Upload, waiting: IO[bytes], number: int, start: int, size: int
    ) -> None:
        """Send the first bytes of what waits as a part, and keep the rest waiting."""
        waiting.seek(0)
        data, rest = waiting.read(size), waiting.read()
        with host_lock(upload.id), failing_as("save", upload.id):
            self._check_end(upload, start)
            self._bucket.client.upload_part(
                **self.where(upload), PartNumber=number, Body=data
            )
        waiting.seek(0)
        waiting.truncate()
        waiting.write(rest)

    def send_tail(self, upload: Upload, waiting: IO[bytes], start: int) -> None:
        with host_lock(upload.id):
            self._check_end(upload, start)
            self.put(self.key(upload, f".tail-{start}"), waiting.read())

    def _check_end(self, upload: Upload, start: int) -> None:
        if self.state(upload).start != start:
            raise MovedError

    def complete(self, upload: Upload) -> Source:
        """Make one hidden object of all parts, unless that was done."""
        state = self.state(upload)
        tail = self.read_tail(upload, state)
        key = self.key(upload)
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
                        **self.where(upload), PartNumber=number, Body=tail
                    )
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
                client.complete_multipart_upload(
                    **self.where(upload), MultipartUpload={"Parts": parts}
                )
            elif not state.sizes:
                # Too small for parts, of which S3 wants at least one.
                self.put(key, tail)
                self._bucket.abort(self.where(upload))
            head = self._bucket.head(key)
        if head is None:
            raise NotFoundError(upload.id)
        return Source(key, head["ETag"], head["ContentLength"])

    def drop_bytes(self, upload: Upload) -> None:
        with failing_as("delete", upload.id):
            if upload.handle:
                with contextlib.suppress(self._bucket.client.exceptions.ClientError):
                    self._bucket.abort(self.where(upload))
            # One by one, as they are few and some servers let only owners of a bucket
            # delete many at once.
            for entry in self._bucket.list(self.key(upload)):
                if not entry["Key"].endswith(RECORD):
                    self._bucket.delete_one(entry["Key"])

    def key(self, upload: Upload, suffix: str = "") -> str:
        return self._store.key(FOLDER + upload.id + suffix)

    def where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": str(self._bucket.name),
            "Key": self.key(upload),
            "UploadId": upload.handle.partition(":")[2],
        }

    def arguments(self, key: str) -> dict[str, Any]:
        parameters = self._store.config.s3_object_parameters
        return {"Bucket": self._bucket.name, "Key": key, **parameters}

    def put(self, key: str, body: bytes) -> None:
        with failing_as("save", key.rpartition("/")[2]):
            self._bucket.client.put_object(**self.arguments(key), Body=body)


def part_size(upload: Upload, number: int) -> int:
    """Return the bytes of a part. Without a length they grow, as S3 counts parts."""
    size = int(upload.handle.partition(":")[0])
    return size * (1 + number // 1000) if upload.handle.startswith("+") else size
