"""Files in an S3 bucket."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import logging
import tempfile
import uuid
from collections.abc import Generator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import Any
from typing import BinaryIO
from typing import ClassVar
from typing import Unpack

from flask_store import names
from flask_store import serving
from flask_store._attributes import Attributes
from flask_store._attributes import SaveOptions
from flask_store._attributes import check_download_name
from flask_store._attributes import usable
from flask_store._object_headers import content_disposition
from flask_store._object_headers import from_headers
from flask_store.bucket import Bucket
from flask_store.bucket import ObjectReader
from flask_store.bucket import failing_as
from flask_store.bucket import is_transient
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.courier import Courier
from flask_store.dialect import probe
from flask_store.exceptions import BackendError
from flask_store.exceptions import ConfigError
from flask_store.exceptions import MissingDependencyError
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import NotFoundError
from flask_store.file_wrapper import FileWrapper
from flask_store.journal import Job
from flask_store.journal import Journal
from flask_store.spool import Spool
from flask_store.spool import system_failing_as
from flask_store.stores.base import BaseStore
from flask_store.upload import Upload


if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

logger = logging.getLogger("flask_store")

READ_SIZE = 256 * 1024
#: The longest that AWS lets a signature live.
WEEK = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """What a browser's form needs to upload one file to S3 itself.

    :param url: where the form goes, by POST as ``multipart/form-data``.
    :param fields: its hidden fields, before the field ``file``.
    :param file: the file that comes of it.
    """

    url: str
    fields: dict[str, str]
    file: FileWrapper


class S3Store(BaseStore):
    """Save files in a bucket; ``STORE_PATH`` is what all keys start with."""

    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = ("STORE_S3_BUCKET",)

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        require("boto3", "s3")
        if not self.config.s3_bucket:
            raise NotConfiguredError("STORE_S3_BUCKET", None, "set the bucket's name")
        self.bucket = Bucket(self.config)
        self.prefix = (self.config.path or "").strip("/")

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
        condition = self.bucket.keeps_names(size)
        create = functools.partial(
            self._create, body=body, size=size, upload=upload, condition=condition
        )
        created = self.place(upload, create, always_unique=not condition)
        return self.saved(created, size)

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

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
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
        head = self._head(name)
        headers = {
            "Content-Type": head.get("ContentType"),
            "Content-Disposition": head.get("ContentDisposition"),
            "Cache-Control": head.get("CacheControl"),
        }
        return from_headers(name, headers, head["Metadata"])

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        above = f"{self.prefix}/" if self.prefix else ""
        root = self.within(None)
        with failing_as("list", prefix):
            for entry in self.bucket.list(above + start):
                name = entry["Key"].removeprefix(above)
                if not any(part[:1] in {"", "."} for part in name.split("/")):
                    yield FileWrapper(root, name, entry["Size"], entry["LastModified"])

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
        return (self.config.domain or self._address()) + self.relative_url(name)

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
        chosen = check_download_name(expires, download_name)
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

    def presign_post(
        self,
        filename: str,
        *,
        max_size: int = 100 * MIB,
        expires: float = 3600,
        redirect: str | None = None,
    ) -> DirectUpload:
        """Allow a browser to upload one file to S3 itself.

        :param filename: what the client calls it; what it gets is always unique.
        :param max_size: the most bytes that S3 is to take.
        :param expires: the seconds for which S3 takes it.
        :param redirect: the URL to which S3 sends the browser when it has the file,
            whose ``key`` is then in the query; by default the browser stays. It
            should have no query, as Ceph appends another.
        """
        name = self.full_name(names.unique(names.clean(filename)))
        fields = {"Content-Type": serving.content_type(name)}
        if not serving.is_inline(fields["Content-Type"]):
            # Not all servers keep the disposition of a form, so the type says it too.
            fields["Content-Type"] = serving.OCTET_STREAM
            fields["Content-Disposition"] = "attachment"
        if self.config.s3_acl:
            fields["acl"] = self.config.s3_acl
        if redirect:
            fields["success_action_redirect"] = redirect
        with failing_as("sign", name):
            signed = self.bucket.presign_post(
                self.key(name), fields, max_size, min(int(expires), WEEK)
            )
        return DirectUpload(
            signed["url"], signed["fields"], FileWrapper(self.within(None), name)
        )

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Tell how the server keeps names apart, and which uploads were left."""
        with failing_as("try", "the bucket"):
            found = probe(self.bucket.client, str(self.bucket.name), self.prefix)
            yield f"{self._address()}: If-None-Match is {found.value}"
            left = list(self.bucket.unfinished(self.prefix))
            for upload in left if clean else ():
                self.bucket.abort(upload)
        done = "removed" if clean else "left"
        yield f"{len(left)} unfinished uploads of more than a day {done}"

    def _head(self, name: str) -> Any:
        with failing_as("find", name):
            head = self.bucket.head(self.join(name))
        if head is None:
            raise NotFoundError(name)
        return head

    def _address(self) -> str:
        bucket, region = self.bucket.name, self.config.s3_region
        if self.config.s3_endpoint_url:
            return f"{self.config.s3_endpoint_url}/{bucket}"
        host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
        # A certificate for *.s3 does not fit a bucket with dots.
        if "." in str(bucket):
            return f"https://{host}/{bucket}"
        return f"https://{bucket}.{host}"


class S3GeventStore(S3Store):
    """Answer at once, and send the file to S3 in the background.

    An upload is first kept on disk, in ``STORE_SPOOL_PATH``, under a name that nobody
    else has. It is sent until S3 has it, by this process or the next; the signals
    ``upload_finished`` and ``upload_failed`` tell how that ended.
    """

    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = (
        "STORE_S3_BUCKET",
        "STORE_SPOOL_PATH",
    )
    background = True
    can_spool = True

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        super().__init__(destination, config=config)
        require("gevent", "gevent")
        path = self.config.spool_path
        if path is None or not Path(path).is_absolute():
            raise ConfigError("STORE_SPOOL_PATH", path, "set a folder's absolute path")
        self.journal = Journal(Path(path), self.config.fsync)
        self.courier = Courier(
            self.deliver, passes, self._ended, self.config.spool_workers
        )

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Keep what waits in the folder ``store-spool`` of the instance folder."""
        path = Path(app.instance_path, "store-spool")
        app.config.setdefault("STORE_SPOOL_PATH", str(path))

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Keep a file on disk, to be sent; its name is unique from the start."""
        upload = self.receive(file, name, options)
        full = self.full_name(names.unique(upload.name))
        self.start()
        with system_failing_as("save", upload.name):
            job = self.journal.add(upload, str(self.bucket.name), full)
        self.courier.send(job)
        return self.saved(full, job.size)

    def spool(self, label: str) -> Spool:
        """Return a file in the making, where uploads wait."""
        with system_failing_as("save", label):
            return self.journal.spool(label)

    def start(self) -> None:
        """Start sending in this process, with what an earlier one left."""
        if self.courier.start():
            for job in self.pending():
                self.courier.send(job)

    def pending(self) -> list[Job]:
        """Return the uploads to this bucket that wait."""
        return [job for job in self.journal.pending() if job.bucket == self.bucket.name]

    def deliver(self, job: Job) -> bool:
        """Send an upload now, unless it was sent or somebody else sends it."""
        with self.journal.claim(job) as body, failing_as("save", job.name):
            if body is None:
                return False
            self.bucket.create(
                self.key(job.name),
                body,
                job.size,
                job.id,
                condition=False,
                attributes=Attributes.of(job.name, usable(job.record)),
                name=job.name,
            )
            self.journal.remove(job)
        return True

    def check(self, *, clean: bool = False) -> Generator[str]:
        """Check the bucket and the spool."""
        yield from super().check(clean=clean)
        with system_failing_as("read", "the spool"):
            yield f"{len(self.pending())} uploads wait to be sent"
            left = list(self.journal.leftovers())
            for path in left if clean else ():
                path.unlink(missing_ok=True)
        yield f"{len(left)} files of killed processes {'removed' if clean else 'left'}"

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what this process has saved is sent; return whether it is.

        :param timeout: seconds, or None to wait for ever.
        """
        return self.courier.wait(timeout)

    def _ended(self, job: Job, error: Exception | None) -> None:
        if error is not None:
            logger.error("%s; it stays in the spool", error)
        if self.on_end is not None:
            self.on_end(FileWrapper(self.within(None), job.name, job.size), error)


def passes(error: Exception) -> bool:
    """Tell whether an error may pass with time."""
    return isinstance(error, BackendError) and is_transient(error)


def require(package: str, extra: str) -> None:
    """Check that a package is there, without the time to import it."""
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, extra)


@contextlib.contextmanager
def rereadable(upload: Upload) -> Iterator[tuple[IO[bytes], int]]:
    """Give a stream that can be read again, and its size; a raw body is spooled."""
    if upload.seekable:
        yield upload.stream, upload.size()
    else:
        with tempfile.SpooledTemporaryFile(MIB) as spool:
            size = upload.copy_to(spool)
            yield spool, size
