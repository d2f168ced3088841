"""One S3 bucket: what boto3 is told, and what its answers mean."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import IO
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import urlsplit

from ._attributes import Attributes
from ._dialect import Dialect
from ._dialect import probe
from ._object_headers import to_headers
from ._object_headers import to_metadata
from ._s3_client import MAKING
from ._s3_client import make_client
from ._s3_client import patched_thread
from ._s3_errors import ABSENT
from ._s3_errors import FORBIDDEN
from ._s3_errors import TAKEN
from ._s3_errors import client_error
from ._s3_errors import code
from ._s3_errors import failing_as
from .config import MIB
from .config import Config
from .exceptions import BackendError


if TYPE_CHECKING:
    pass

PART_SIZE = 8 * MIB
#: After this time nobody goes on with a multipart upload.
STALE = timedelta(days=1)
#: S3's own limits.
MOST_PARTS = 10_000
LARGEST_PUT = 5 * 1024 * MIB
#: The metadata by which a save knows its own object when an answer was lost.
MARK = "flask-store"


class Bucket:
    """A bucket, whose client is made when it is first used, once per process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.name: str | None = config.s3_bucket
        self._clients: dict[tuple[int, int], Any] = {}
        self._probing = threading.Lock()
        self._dialect: Future[Dialect] | None = None

    @property
    def client(self) -> Any:
        """The boto3 client, which the threads of a process share."""
        # Two processes on one connection would mix their requests.
        thread = patched_thread()
        key = os.getpid(), thread
        if key not in self._clients:
            # A lock that gevent has patched may never wake another native thread.
            with contextlib.nullcontext() if thread else MAKING:
                if key not in self._clients:
                    self._clients[key] = make_client(self.config)
        return self._clients[key]

    @property
    def dialect(self) -> Dialect:
        """The care with which the server keeps two saves from one name."""
        with self._probing:
            found, first = self._dialect, self._dialect is None
            if found is None:
                found = self._dialect = Future()
        if first:
            try:
                found.set_result(self._find_dialect())
            except BaseException as error:  # noqa: BLE001 - it is raised below
                # Those who wait share the error; who comes later tries again.
                self._dialect = None
                found.set_exception(error)
        return found.result()

    def _find_dialect(self) -> Dialect:
        if self.config.s3_conditional == "always":
            return Dialect.ATOMIC
        if self.config.s3_conditional == "never":
            return Dialect.NONE
        host = urlsplit(self.client.meta.endpoint_url).hostname or ""
        if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            return Dialect.ATOMIC
        with failing_as("try", "a conditional write"):
            return self.probe()

    def probe(self) -> Dialect:
        """Find out how the server keeps names apart."""
        prefix = self.config.path or ""
        return probe(self.client, str(self.name), prefix, self.common)

    @property
    def common(self) -> dict[str, Any]:
        """The arguments that every object is sent with."""
        acl = {"ACL": self.config.s3_acl} if self.config.s3_acl else {}
        return {**acl, **self.config.s3_object_parameters}

    def keeps_names(self, size: int) -> bool:
        """Return whether the server lets only one of several saves have a name."""
        return self.dialect is Dialect.ATOMIC or (
            self.dialect is Dialect.PUTS and size <= LARGEST_PUT
        )

    def create(
        self,
        key: str,
        body: IO[bytes],
        size: int,
        mark: str,
        *,
        condition: bool,
        attributes: Attributes,
        name: str,
    ) -> bool:
        """Make an object, unless there is one; return whether it was made.

        :param body: a stream that can be read again.
        :param mark: what tells this save from all others.
        :param condition: whether the server is to look for one; not for unique keys.
        :param attributes: what S3 is to keep with it.
        :param name: the name of the file, which implies some of them.
        """
        arguments = self.arguments(key, mark, attributes, name)
        only = {"IfNoneMatch": "*"} if condition else {}
        in_parts = size >= self.config.s3_multipart_threshold
        if condition and self.dialect is Dialect.PUTS:
            in_parts = False
        body.seek(0)

        def write() -> bool:
            if in_parts:
                return self.put_parts(arguments, body, size, only)
            self.put(arguments, body, size, **only)
            return True

        return self.unless_taken(write, key, mark)

    def unless_taken(self, write: Callable[[], bool], key: str, mark: str) -> bool:
        """Write an object; return whether it was made, or the key was taken.

        :param mark: what the object has if it is ours.
        """
        try:
            return write()
        except client_error() as error:
            # An attempt whose answer was lost may have made it.
            if code(error) in {*TAKEN, "NoSuchUpload"}:
                return self._is_ours(key, mark)
            raise

    def arguments(
        self, key: str, mark: str, attributes: Attributes, name: str
    ) -> dict[str, Any]:
        """Return what every object is made with, in boto3's words."""
        headers = to_headers(attributes, name)
        return {
            "Bucket": self.name,
            "Key": key,
            **self.common,
            **{key.replace("-", ""): value for key, value in headers.items()},
            "Metadata": {MARK: mark, **to_metadata(attributes)},
        }

    def put(
        self, arguments: Mapping[str, Any], body: IO[bytes], size: int, **only: str
    ) -> None:
        """Send an object in one request."""
        self.client.put_object(Body=body, ContentLength=size, **arguments, **only)

    def put_parts(
        self,
        arguments: Mapping[str, Any],
        body: IO[bytes],
        size: int,
        only: dict[str, str],
    ) -> bool:
        """Send a large object in parts, one of which is in memory at a time."""
        where = {"Bucket": self.name, "Key": arguments["Key"]}
        # Better known before the bytes are sent than after.
        if only and self.look(where["Key"]) is not None:
            return False
        upload = self.client.create_multipart_upload(**arguments)
        where["UploadId"] = upload["UploadId"]
        part_size = max(PART_SIZE, math.ceil(size / MOST_PARTS))
        parts: list[dict[str, Any]] = []
        try:
            while data := body.read(part_size):
                number = len(parts) + 1
                part = self.client.upload_part(PartNumber=number, Body=data, **where)
                parts.append({"ETag": part["ETag"], "PartNumber": number})
            self.client.complete_multipart_upload(
                MultipartUpload={"Parts": parts}, **where, **only
            )
        except BaseException:
            # Parts cost money until they are aborted.
            with contextlib.suppress(Exception):
                self.abort(where)
            raise
        return True

    def _is_ours(self, key: str, mark: str) -> bool:
        found = self.look(key)
        return found is not None and found["Metadata"].get(MARK) == mark

    def look(self, key: str) -> Mapping[str, Any] | None:
        """Return what S3 lets us know of an object, or None.

        Without permission to list the bucket, one that is missing looks forbidden.
        """
        try:
            return self.head(key)
        except client_error() as error:
            if code(error) in FORBIDDEN:
                return None
            raise

    def head(self, key: str) -> Mapping[str, Any] | None:
        """Return what S3 knows of an object, or None where there is none."""
        try:
            head: Mapping[str, Any] = self.client.head_object(Bucket=self.name, Key=key)
        except client_error() as error:
            if code(error) in ABSENT:
                return None
            raise
        return head

    def presign_post(
        self, key: str, fields: dict[str, str], max_size: int, expires: int
    ) -> dict[str, Any]:
        """Sign a form that uploads one object with exactly these fields."""
        from botocore.exceptions import NoCredentialsError

        try:
            signed: dict[str, Any] = self.client.generate_presigned_post(
                self.name,
                key,
                Fields=fields,
                Conditions=[
                    *({name: value} for name, value in fields.items()),
                    ["content-length-range", 0, max_size],
                ],
                ExpiresIn=expires,
            )
        except AttributeError as error:
            # Without keys botocore stumbles here.
            raise NoCredentialsError from error
        return signed

    def promote(
        self, source: str, key: str, etag: str, attributes: Attributes, name: str
    ) -> None:
        """Copy an object within the bucket, if it is still the one that was seen.

        :param etag: the object's, as it was seen.
        """
        self.client.copy_object(
            CopySource={"Bucket": self.name, "Key": source},
            CopySourceIfMatch=etag,
            MetadataDirective="REPLACE",
            **self.arguments(key, uuid.uuid4().hex, attributes, name),
        )

    def delete_one(self, key: str) -> None:
        """Delete an object; it is no error when there is none."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def unfinished(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Yield the multipart uploads that nobody goes on with any more."""
        before = datetime.now(UTC) - STALE
        pages = self.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self.name, Prefix=prefix):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before:
                    yield upload

    def abort(self, upload: Mapping[str, Any]) -> None:
        """Drop the parts of a multipart upload."""
        self.client.abort_multipart_upload(
            Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"]
        )

    def stale(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Yield the objects under a prefix that are older than a day."""
        before = datetime.now(UTC) - STALE
        return (it for it in self.list(prefix) if it["LastModified"] < before)

    def list_page(
        self, prefix: str, delimiter: str | None, limit: int, token: str | None
    ) -> Mapping[str, Any]:
        """Return one page of a listing, as S3 gives it."""
        wanted = {"Delimiter": delimiter, "ContinuationToken": token}
        given = {key: value for key, value in wanted.items() if value}
        page: Mapping[str, Any] = self.client.list_objects_v2(
            Bucket=self.name, Prefix=prefix, MaxKeys=limit, **given
        )
        return page

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand at most, in one request.

        :raises BackendError: for the first that S3 keeps.
        """
        objects = [{"Key": key} for key in keys]
        answer = self.client.delete_objects(
            Bucket=self.name, Delete={"Objects": objects, "Quiet": True}
        )
        for error in answer.get("Errors", ()):
            raise BackendError("delete", error["Key"], f"S3 said {error['Code']}")

    def list(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Yield what S3 knows of all objects whose keys start with a prefix."""
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.name, Prefix=prefix):
            yield from page.get("Contents", ())
