"""The ways in which S3 servers understand ``If-None-Match: *``.

Amazon's keeps the promise that of all writes with it one wins. Some keep it for single
writes only, some answer two at once, some ignore the header, and some refuse it.
"""

from __future__ import annotations

import contextlib
import enum
import uuid
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any


ROUNDS = 3
WRITERS = 8


class Dialect(enum.Enum):
    """The degrees to which a server keeps a name for one object."""

    #: One writer wins, of single writes and of multipart uploads.
    ATOMIC = "honoured"
    #: One writer wins, of single writes only.
    PUTS = "honoured for single writes, not for multipart uploads"
    #: Only names that nobody else can think of are safe.
    NONE = "ignored, refused or racy"


def probe(
    client: Any, bucket: str, prefix: str, arguments: Mapping[str, Any]
) -> Dialect:
    """Find out by racing for hidden names.

    :param client: a boto3 client.
    :param arguments: what every object is sent with, as a policy may ask for it.
    """
    # Writers that come at once, for some servers look first and write later.
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in range(ROUNDS):
            with _hidden_key(client, bucket, prefix) as key:
                where = {"Bucket": bucket, "Key": key, **arguments}
                calls = [
                    pool.submit(client.put_object, IfNoneMatch="*", **where)
                    for _ in range(WRITERS)
                ]
                if sum(_won(call.result) for call in calls) != 1:
                    return Dialect.NONE
        lose = _parts_lose(client, bucket, prefix, arguments)
        return Dialect.ATOMIC if lose else Dialect.PUTS


@contextlib.contextmanager
def _hidden_key(client: Any, bucket: str, prefix: str) -> Any:
    from botocore.exceptions import HTTPClientError

    key = "/".join(filter(None, (prefix.strip("/"), f".probe-{uuid.uuid4().hex}")))
    away = False
    try:
        yield key
    except HTTPClientError:
        away = True
        raise
    finally:
        # A server that is away is not asked twice. Not everybody who may write may
        # delete; the name is hidden.
        if not away:
            with contextlib.suppress(Exception):
                client.delete_object(Bucket=bucket, Key=key)


def _won(write: Callable[[], object]) -> bool:
    """Write; return whether the server took it.

    :raises ClientError: for what says nothing about the condition.
    """
    from botocore.exceptions import ClientError

    try:
        write()
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        missing = error.response.get("Error", {}).get("Code") == "NoSuchBucket"
        if status in {404, 409, 412, 501} and not missing:
            return False
        raise
    return True


def _parts_lose(
    client: Any, bucket: str, prefix: str, arguments: Mapping[str, Any]
) -> bool:
    """Return whether a multipart upload leaves an object alone that is there."""
    with _hidden_key(client, bucket, prefix) as key:
        where: dict[str, Any] = {"Bucket": bucket, "Key": key}
        client.put_object(**where, **arguments)
        upload = client.create_multipart_upload(**where, **arguments)
        where["UploadId"] = upload["UploadId"]
        part = client.upload_part(PartNumber=1, Body=b"1", **where)
        parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        lost = not _won(
            lambda: client.complete_multipart_upload(
                MultipartUpload=parts, IfNoneMatch="*", **where
            )
        )
        if lost:
            with contextlib.suppress(Exception):
                client.abort_multipart_upload(**where)
        return lost
