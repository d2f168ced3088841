"""Copies that S3 makes by itself: no byte passes through the app.

============================  ======================================================
the name                      how
============================  ======================================================
has to be free (``ATOMIC``)   parts copied by S3, completed with ``If-None-Match: *``
is unique anyway              ``CopyObject``; from 128 MiB on in parts
============================  ======================================================

``CopyObject`` itself takes no condition on the servers that Flask-Store knows, Amazon's
of late excepted, and its answer comes when the copy is done: a part at a time keeps
each request within its time-out. ``x-amz-copy-source-if-match`` names the object whose
attributes were read, so type and bytes belong together.
"""

from __future__ import annotations

import contextlib
import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from .config import MIB


if TYPE_CHECKING:
    from ._attributes import Attributes
    from ._bucket import Bucket

PART = 128 * MIB


@dataclass(frozen=True, slots=True)
class Source:
    """An object to copy, as its headers told.

    :param size: bytes.
    """

    key: str
    etag: str
    size: int


def copy(
    bucket: Bucket,
    source: Source,
    key: str,
    mark: str,
    *,
    condition: bool,
    attributes: Attributes,
    name: str,
) -> bool:
    """Copy an object within a bucket; return whether its name was free.

    :param condition: whether the server is to look for another; not for unique keys.
    :param name: the name of the copy, which implies some of its attributes.
    :raises ClientError: for what the server refuses.
    """
    if source.size == 0:
        # There is no range of nothing.
        return bucket.create(
            key, io.BytesIO(), 0, mark,
            condition=condition, attributes=attributes, name=name,
        )  # fmt: skip
    arguments = bucket.arguments(key, mark, attributes, name)
    where = {
        "CopySource": {"Bucket": bucket.name, "Key": source.key},
        "CopySourceIfMatch": source.etag,
    }
    if not condition and source.size <= PART:
        bucket.client.copy_object(MetadataDirective="REPLACE", **arguments, **where)
        return True
    only = {"IfNoneMatch": "*"} if condition else {}
    send = functools.partial(_copy_parts, bucket, source, arguments, where, only)
    return bucket.unless_taken(send, key, mark)


def _copy_parts(
    bucket: Bucket,
    source: Source,
    arguments: dict[str, Any],
    where: dict[str, Any],
    only: dict[str, str],
) -> bool:
    client = bucket.client
    upload = client.create_multipart_upload(**arguments)
    target = {
        "Bucket": bucket.name,
        "Key": arguments["Key"],
        "UploadId": upload["UploadId"],
    }
    parts = []
    try:
        for number, start in enumerate(range(0, source.size, PART), 1):
            end = min(start + PART, source.size) - 1
            answer = client.upload_part_copy(
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{end}",
                **target,
                **where,
            )
            etag = answer["CopyPartResult"]["ETag"]
            parts.append({"ETag": etag, "PartNumber": number})
        client.complete_multipart_upload(
            MultipartUpload={"Parts": parts}, **target, **only
        )
    except BaseException:
        # Parts cost money until they are aborted.
        with contextlib.suppress(Exception):
            bucket.abort(target)
        raise
    return True
