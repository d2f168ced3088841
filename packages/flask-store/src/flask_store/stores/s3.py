"""Files in an S3 bucket."""

from __future__ import annotations

import functools
import importlib.util
import io
import uuid
from collections.abc import Generator
from datetime import datetime
from typing import IO
from typing import TYPE_CHECKING
from typing import Any
from typing import BinaryIO
from typing import ClassVar
from typing import Unpack

from .. import _names
from .. import _server_copy
from .._attributes import Attributes
from .._attributes import SaveOptions
from .._attributes import check_signed
from .._attributes import usable
from .._bucket import Bucket
from .._dialect import Dialect
from .._jobs import Job
from .._jobs import Target
from .._object_headers import content_disposition
from .._object_headers import from_head
from .._s3_check import check
from .._s3_errors import failing_as
from .._s3_errors import is_transient
from .._s3_reader import ObjectReader
from .._server_copy import Source
from .._tus.s3 import S3Place
from .._tus.s3 import StoredPart
from .._upload import Upload
from .._upload import rereadable
from ..config import Config
from ..exceptions import BackendError
from ..exceptions import MissingDependencyError
from ..exceptions import NotConfiguredError
from ..exceptions import NotFoundError
from ..file_wrapper import FileWrapper
from ._background import Background
from ._direct import READ_SIZE
from ._direct import WEEK
from ._direct import DirectUpload as DirectUpload
from ._direct import DirectUploads
from ._listings import Listings


if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from .._tus.place import Place


class S3Store(Listings, DirectUploads):
    """Save files in a bucket; ``STORE_PATH`` is what all keys start with."""

    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = ("STORE_S3_BUCKET",)

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        require("boto3", "s3")
        if not self.config.s3_bucket:
            raise NotConfiguredError("STORE_S3_BUCKET", None, "set the bucket's name")
        self.bucket: Bucket = Bucket(self.config)
        self.prefix: str = (self.config.path or "").strip("/")

    def territory(self) -> tuple[str, str]:
        """Return the bucket, and what all keys start with."""
        return f"{self.config.s3_endpoint_url}/{self.bucket.name}", self.prefix

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Send a file to S3 and wait until it is there."""
        upload = self.receive(file, name, options)
        with rereadable(upload) as (body, size):
            upload = upload.accepted(body, size)
            with failing_as("save", upload.name):
                return self._send(upload, body, size)

    def _send(self, upload: Upload, body: IO[bytes], size: int) -> FileWrapper:
        if isinstance(upload.stream, StoredPart):
            return self._copy_part(upload, upload.stream, size)
        condition = self.bucket.keeps_names(size)
        create = functools.partial(
            self._create, body=body, size=size, upload=upload, condition=condition
        )
        created = self.place(upload.name, create, always_unique=not condition)
        return self.saved(created, size)

    def _copy_part(self, upload: Upload, part: StoredPart, size: int) -> FileWrapper:
        """Let S3 copy a complete upload that resumed to its name."""
        # In parts, which alone can be told to overwrite nothing.
        condition = self.bucket.dialect is Dialect.ATOMIC

        def create(full: str) -> bool:
            part.attempt(full)
            return _server_copy.copy(
                self.bucket,
                part.source,
                self.key(full),
                part.mark,
                condition=condition,
                attributes=upload.attributes(full),
                name=full,
            )

        created = self.place(upload.name, create, always_unique=not condition)
        return self.saved(created, size)

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait: parts in the bucket."""
        return S3Place(self)

    def _create(
        self, full: str, *, body: IO[bytes], size: int, upload: Upload, condition: bool
    ) -> bool:
        return self.bucket.create(
            self.key(full),
            body,
            size,
            uuid.uuid4().hex,
            condition=condition,
            attributes=upload.attributes(full),
            name=full,
        )

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; it is fetched as it is read."""
        reader = ObjectReader(self.bucket, self.join(name), name)
        return io.BufferedReader(reader, READ_SIZE)

    def copy(self, name: str, to: str) -> FileWrapper:
        """Let S3 copy a file, with what it carries; no byte passes through here."""
        head = self._head(name)
        attributes = from_head(name, head)
        source = Source(self.join(name), head["ETag"], head["ContentLength"])
        with failing_as("copy", name):
            # In parts, which alone can be told to overwrite nothing.
            condition = self.bucket.dialect is Dialect.ATOMIC
            mark = uuid.uuid4().hex

            def create(full: str) -> bool:
                return _server_copy.copy(
                    self.bucket,
                    source,
                    self.key(full),
                    mark,
                    condition=condition,
                    attributes=attributes.moved(name, full),
                    name=full,
                )

            target = _names.clean_path(to)
            full = self.place(target, create, always_unique=not condition)
        return self.saved(full, source.size)

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        with failing_as("find", name):
            return self.bucket.head(self.join(name)) is not None

    def delete(self, name: str) -> None:
        """Delete a file; it is no error when there is none."""
        key = self.join(name)
        with failing_as("delete", name):
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)

    def size(self, name: str) -> int:
        """Return the number of bytes."""
        return int(self._head(name)["ContentLength"])

    def modified(self, name: str) -> datetime:
        """Return when a file was written."""
        modified: datetime = self._head(name)["LastModified"]
        return modified

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries."""
        return from_head(name, self._head(name))

    def join(self, *parts: str) -> str:
        """Return a file's key."""
        return self.key(self.full_name("/".join(parts)))

    def key(self, full: str) -> str:
        """Return the key of a name as the root of the store sees it."""
        return f"{self.prefix}/{full}" if self.prefix else full

    def relative_url(self, name: str) -> str:
        """Return a file's URL below the bucket's."""
        return self.url_join(self.join(name))

    def absolute_url(self, name: str) -> str:
        """Return a file's URL, with ``STORE_DOMAIN`` or the bucket's own address."""
        return (self.config.domain or self.address()) + self.relative_url(name)

    def url(
        self,
        name: str,
        expires: float | None = None,
        *,
        download_name: str | None = None,
    ) -> str:
        """Return a file's URL, or one that S3 lets in for some time.

        :param expires: the seconds that a signed one works, a week at most.
        :param download_name: download the file under this name; only signed URLs can.
        """
        chosen = check_signed(expires, download_name)
        if expires is None:
            return self.absolute_url(name)
        override = {}
        if chosen:
            field = content_disposition("attachment", chosen)
            override["ResponseContentDisposition"] = field
        with failing_as("sign", name):
            signed: str = self.bucket.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket.name, "Key": self.join(name), **override},
                ExpiresIn=min(int(expires), WEEK),
            )
        return signed

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Try each request that the store makes, and find what was left behind.

        :raises BackendError: where files cannot be saved.
        """
        yield from check(self, clean=clean)

    def _head(self, name: str) -> Any:
        with failing_as("find", name):
            head = self.bucket.head(self.join(name))
        if head is None:
            raise NotFoundError(name)
        return head

    def address(self) -> str:
        """Return the bucket's own address."""
        bucket, region = self.bucket.name, self.config.s3_region
        if self.config.s3_endpoint_url:
            return f"{self.config.s3_endpoint_url}/{bucket}"
        host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
        # A certificate for *.s3 does not fit a bucket with dots.
        if "." in str(bucket):
            return f"https://{host}/{bucket}"
        return f"https://{bucket}.{host}"


class S3GeventStore(Background, S3Store):
    """Answer at once, and send the file to S3 in the background.

    An upload is first kept on disk, in ``STORE_SPOOL_PATH``, under a name that nobody
    else has. It is sent until S3 has it, by this process or another; the signals
    ``upload_finished`` and ``upload_failed`` tell how that ended. Until then the file
    is read, listed and deleted like any other.
    """

    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = (
        "STORE_S3_BUCKET",
        "STORE_SPOOL_PATH",
    )

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        require("gevent", "gevent")
        self.keep_jobs(
            Target(
                self.config.store,
                self.config.s3_endpoint_url,
                self.config.s3_region,
                str(self.bucket.name),
                self.prefix,
            )
        )

    def send_job(self, job: Job, body: IO[bytes]) -> None:
        """Send an upload; its name is unique, so S3 need not look."""
        with failing_as("save", job.name):
            self.bucket.create(
                job.key,
                body,
                job.size,
                job.id,
                condition=False,
                attributes=Attributes.of(job.name, usable(job.record)),
                name=job.name,
            )

    def unsend_job(self, job: Job) -> None:
        """Delete what an attempt may have sent."""
        with failing_as("delete", job.name):
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=job.key)

    def may_pass(self, error: Exception) -> bool:
        """Return whether an error may pass by itself."""
        return isinstance(error, BackendError) and is_transient(error)


def require(package: str, extra: str) -> None:
    """Check that a package is there, without the time to import it."""
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, extra)
