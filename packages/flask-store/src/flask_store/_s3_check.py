"""The requests that ``flask store check`` tries at S3, with what each one needs.

Saves need little, other operations more, and policies ask for headers. So each request
is tried as the store makes it, and one that fails is told with the permission that it
needs. Where a save fails, it is tried with one thing changed, to say what it is about.
"""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from ._attributes import Attributes
from ._s3_errors import FORBIDDEN
from ._s3_errors import client_error
from ._s3_errors import code
from ._s3_errors import failing_as
from ._tus.s3 import FOLDER
from .exceptions import BackendError
from .exceptions import NotFoundError
from .stores._direct import INCOMING


if TYPE_CHECKING:
    from ._bucket import Bucket
    from .stores.s3 import S3Store

BODY = b"check"
ENCRYPTION = {"ServerSideEncryption": "AES256"}


class Step(NamedTuple):
    """A request that is tried.

    :param what: follows "cannot".
    :param permission: what a policy has to allow for it.
    """

    what: str
    permission: str
    call: Callable[[], object]


def check(store: S3Store, *, clean: bool) -> Generator[str]:
    """Try each request that a store makes, and find what was left behind.

    :param clean: remove that.
    :raises BackendError: files cannot be saved.
    """
    name = f".check-{uuid.uuid4().hex}.txt"
    key = store.key(name)
    made = store.bucket.arguments(key, "check", Attributes.of(name), name)
    refused = yield from _try_all(_saves(store.bucket, made))
    if refused is not None:
        yield from _reasons(store.bucket, made, refused)
    else:
        with failing_as("try", "the bucket"):
            dialect = store.bucket.probe().value
        yield f"{store.address()}: files can be saved; If-None-Match is {dialect}"
    yield from _try_all(_others(store.bucket, key))
    yield from _leftovers(store, clean=clean)
    if refused is not None:
        raise refused


def _saves(bucket: Bucket, made: Mapping[str, Any]) -> list[Step]:
    return [
        Step("save a file", "s3:PutObject", lambda: _put(bucket, made)),
        Step(
            "save a file in parts",
            "s3:PutObject",
            lambda: bucket.put_parts(made, io.BytesIO(BODY), len(BODY), {}),
        ),
    ]


def _others(bucket: Bucket, key: str) -> list[Step]:
    where = {"Bucket": bucket.name, "Key": key}
    return [
        Step("read a file", "s3:GetObject", lambda: _get(bucket, where)),
        Step(
            "look for a file that is missing",
            "s3:ListBucket for the bucket",
            lambda: bucket.head(f"{key}.missing"),
        ),
        Step(
            "list files",
            "s3:ListBucket for the bucket",
            lambda: next(bucket.list(key), None),
        ),
        Step("delete a file", "s3:DeleteObject", lambda: bucket.delete_one(key)),
    ]


def _put(bucket: Bucket, made: Mapping[str, Any]) -> None:
    bucket.put(made, io.BytesIO(BODY), len(BODY))


def _get(bucket: Bucket, where: Mapping[str, Any]) -> None:
    with contextlib.closing(bucket.client.get_object(**where)["Body"]) as body:
        body.read()


def _try_all(steps: list[Step]) -> Generator[str, None, BackendError | None]:
    """Try requests, and tell of those that fail; return the first error."""
    failed = None
    for step in steps:
        try:
            with failing_as(step.what, "a file"):
                step.call()
        except NotFoundError:
            # Allowed, at least.
            pass
        except BackendError as error:
            failed = failed or error
            needs = f"; it needs {step.permission}" if _is_forbidden(error) else ""
            yield f"cannot {step.what}: {error.reason}{needs}"
    return failed


def _reasons(
    bucket: Bucket, made: Mapping[str, Any], error: BackendError
) -> Generator[str]:
    """Say what a save that was refused is about, as far as trying tells."""
    if not isinstance(error.__cause__, client_error()):
        return
    bare = {key: made[key] for key in ("Bucket", "Key")}
    bare_works = _works(bucket, bare)
    if "ACL" in made and _works(bucket, {k: made[k] for k in made if k != "ACL"}):
        yield (
            "it works without the ACL: allow s3:PutObjectAcl and ACLs in the bucket, "
            f"or unset STORE_S3_ACL, which is {made['ACL']!r}"
        )
    elif "ServerSideEncryption" not in made and _works(bucket, {**made, **ENCRYPTION}):
        yield (
            "it works with encryption: set STORE_S3_OBJECT_PARAMETERS to "
            f"{ENCRYPTION!r}, as the bucket's policy asks for it"
        )
    elif bare_works:
        yield "it works without headers: check STORE_S3_OBJECT_PARAMETERS"


def _works(bucket: Bucket, made: Mapping[str, Any]) -> bool:
    try:
        _put(bucket, made)
    except client_error():
        return False
    return True


def _is_forbidden(error: BackendError) -> bool:
    cause = error.__cause__
    return isinstance(cause, client_error()) and code(cause) in FORBIDDEN


def _leftovers(store: S3Store, *, clean: bool) -> Generator[str]:
    done = "removed" if clean else "left"
    try:
        with failing_as("list", "unconfirmed uploads"):
            stale = list(store.bucket.stale(store.key(f"{INCOMING}/")))
            for item in stale if clean else ():
                store.bucket.delete_one(item["Key"])
        yield f"{len(stale)} unconfirmed direct uploads of more than a day {done}"
        if not store.prefix:
            yield (
                "without STORE_PATH, remove unfinished uploads with a lifecycle rule "
                "of the bucket"
            )
            return
        with failing_as("list", "unfinished uploads"):
            # Uploads that resume have a life of their own.
            left = [
                upload
                for upload in store.bucket.unfinished(f"{store.prefix}/")
                if not upload["Key"].startswith(store.key(FOLDER))
            ]
            for upload in left if clean else ():
                store.bucket.abort(upload)
        yield f"{len(left)} unfinished uploads of more than a day {done}"
    except BackendError as error:
        yield (
            f"cannot {error.action} {error.name}: {error.reason}; it needs "
            "s3:ListBucket and s3:ListBucketMultipartUploads for the bucket"
        )
