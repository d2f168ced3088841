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
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from .._bucket import MARK
from .._bucket import MOST_PARTS
from .._offload import take_turns
from .._s3_errors import failing_as
from .._s3_reader import ObjectReader
from .._server_copy import Source
from ..config import MIB
from ..exceptions import NotFoundError
from .place import Part
from .place import host_lock
from .s3_bytes import FOLDER as FOLDER
from .s3_bytes import RECORD
from .s3_bytes import Bytes
from .s3_bytes import part_size
from .upload import MovedError
from .upload import Upload


if TYPE_CHECKING:
    from ..stores.s3 import S3Store

#: The least bytes of a part, but of the last, for S3 itself and for us.
LEAST_PART = 5 * MIB
PART = 8 * MIB


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
        self._bytes = Bytes(store)

    def create(self, upload: Upload) -> None:
        """Begin an upload."""
        size = PART
        if upload.length is not None:
            size = max(PART, math.ceil(upload.length / MOST_PARTS))
        with failing_as("save", upload.id):
            made = self._bucket.client.create_multipart_upload(
                **self._bytes.arguments(self._bytes.key(upload))
            )
        grows = upload.length is None
        handle = f"{'+' if grows else ''}{size}:{made['UploadId']}"
        self.keep(replace(upload, handle=handle))

    def keep(self, upload: Upload) -> None:
        """Replace the record of an upload."""
        if not upload.handle and upload.file is None:
            # The caller has it as it was before it was created.
            upload = replace(upload, handle=self.find(upload.id).handle)
        body = json.dumps(asdict(upload)).encode()
        self._bytes.put(self._bytes.key(upload, RECORD), body)

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
        return self._bytes.state(upload).offset

    def touched(self, upload: Upload) -> float:
        """Return when the last byte came, in seconds since the epoch."""
        if upload.file is not None:
            return upload.created
        return max(upload.created, self._bytes.state(upload).touched)

    def append(self, upload: Upload, offset: int, blocks: Iterable[bytes]) -> int:
        """Append bytes and return where the upload ends now.

        :param offset: where they begin.
        :raises MovedError: it does not end there, or somebody else appends.
        """
        upload = self.find(upload.id)
        state = self._bytes.state(upload)
        if state.offset != offset:
            raise MovedError
        with tempfile.SpooledTemporaryFile(PART) as waiting:
            waiting.write(self._bytes.read_tail(upload, state))
            start, number = state.start, len(state.sizes) + 1
            try:
                for block in blocks:
                    take_turns()
                    waiting.write(block)
                    while waiting.tell() >= part_size(upload, number):
                        size = part_size(upload, number)
                        self._bytes.send_part(upload, waiting, number, start, size)
                        start, number = start + size, number + 1
            finally:
                end = start + waiting.tell()
                if waiting.tell() and (end, start) != (state.offset, state.start):
                    waiting.seek(0)
                    self._bytes.send_tail(upload, waiting, start)
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
                take_turns()
                body.write(block)
            check()
            body.seek(0)
            return self.append(upload, offset, iter(lambda: body.read(MIB), b""))

    def concatenate(self, upload: Upload, parts: Iterable[Upload]) -> None:
        """Begin an upload with the bytes of others."""
        self.create(upload)
        upload = self.find(upload.id)
        sources = [self._bytes.complete(self.find(part.id)) for part in parts]
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
                    **self._bytes.where(upload),
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
        with host_lock(upload.id, wait=False) as alone:
            upload = self.find(upload.id)
            if not alone or upload.file is not None:
                return
            name = self._named(upload)
            if name is None:
                source = self._bytes.complete(upload)

                def attempt(full: str) -> None:
                    self.keep(replace(upload, attempt=full))

                reader = ObjectReader(self._bucket, source.key, upload.id)
                with StoredPart(reader, source, upload, attempt) as part:
                    name = save(part)
            announce(name)
            self.keep(replace(upload, file=name))
            self._bytes.drop_bytes(upload)

    def delete(self, upload: Upload) -> None:
        """Drop an upload; a file that it became stays."""
        with contextlib.suppress(NotFoundError):
            self._bytes.drop_bytes(self.find(upload.id))
        with failing_as("delete", upload.id):
            self._bucket.delete_one(self._bytes.key(upload, RECORD))

    def uploads(self) -> Iterator[Upload]:
        """Yield all uploads."""
        with failing_as("list", FOLDER):
            entries = list(self._bucket.list(self._store.key(FOLDER)))
        for entry in entries:
            name = entry["Key"].rpartition("/")[2]
            if name.endswith(RECORD):
                with contextlib.suppress(NotFoundError):
                    yield self.find(name.removesuffix(RECORD))

    def _named(self, upload: Upload) -> str | None:
        """Return the name of the file, if an earlier attempt got as far as that."""
        if upload.attempt is None:
            return None
        with failing_as("find", upload.id):
            found = self._bucket.head(self._store.key(upload.attempt))
        ours = found is not None and found["Metadata"].get(MARK) == upload.id
        return upload.attempt if ours else None

    # Uploads in parts.

    def part_url(self, upload: Upload, number: int, expires: int) -> str | None:
        """Return where a client sends a part itself."""
        with failing_as("sign", upload.id):
            signed: str = self._bucket.client.generate_presigned_url(
                "upload_part",
                Params={**self._bytes.where(upload), "PartNumber": number},
                ExpiresIn=expires,
            )
        return signed

    def receive_part(self, upload: Upload, *_: object) -> Part:
        """Refuse: clients send parts to S3."""
        raise NotFoundError(upload.id)

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts that are there, by number."""
        state = self._bytes.state(upload)
        found = zip(state.numbers, state.sizes, state.etags, strict=False)
        return [Part(number, size, etag.strip('"')) for number, size, etag in found]

    def join(self, upload: Upload, parts: Iterable[Part]) -> None:
        """Do nothing: S3 makes one of the parts when the upload is finished."""
