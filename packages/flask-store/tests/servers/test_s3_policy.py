"""Permissions that a real policy engine decides upon."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

import harness
from flask_store import BackendError
from flask_store import Store
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.stores.s3 import S3Store


SAVE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:DeleteObject")
RESUME = (*SAVE, "s3:ListMultipartUploadParts")
LIST = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
pytestmark = pytest.mark.timeout(180)

Limit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def user(ceph_session: harness.S3Server) -> dict[str, str]:
    """A user without any permissions."""
    return harness.ceph_user(ceph_session, f"limited{uuid.uuid4().hex[:8]}")


@pytest.fixture
def limit(ceph_session: harness.S3Server, user: dict[str, str]) -> Limit:
    """Give the user a policy; return the configuration for a folder of the bucket."""

    def make(
        *actions: str,
        bucket: tuple[str, ...] = (),
        deny: str | None = None,
        condition: Any = None,
        **more: Any,
    ) -> dict[str, Any]:
        name = ceph_session.bucket
        path = uuid.uuid4().hex
        who = {"AWS": [f"arn:aws:iam:::user/{user['STORE_S3_ACCESS_KEY']}"]}
        objects = f"arn:aws:s3:::{name}/{path}/*"
        rules: list[tuple[str, tuple[str, ...], str, Any]]
        rules = [("Allow", actions, objects, None)]
        if bucket:
            rules.append(("Allow", bucket, f"arn:aws:s3:::{name}", None))
        if deny:
            rules.append(("Deny", (deny,), objects, condition))
        statements = [
            {
                "Effect": effect, "Principal": who, "Action": [*allowed],
                "Resource": [where], **({"Condition": only} if only else {}),
            }
            for effect, allowed, where, only in rules
        ]  # fmt: skip
        ceph_session.client().put_bucket_policy(
            Bucket=name,
            Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
        return {**ceph_session.config, **user, "STORE_PATH": path, **more}

    return make


def make(config: dict[str, Any]) -> S3Store:
    """Return a store."""
    return S3Store(config=Config.from_mapping(config))


def test_least_privilege(limit: Limit) -> None:
    """With the permissions of the how-to alone, everything but listings works."""
    config = limit(*SAVE)
    store = make(config)
    for size in (3, 6 * MIB):
        files = [store.save(io.BytesIO(b"x" * size), f"{size}.txt") for _ in range(2)]
        assert str(files[0]) == f"{size}.txt"
        assert files[0] != files[1]
        with files[1].open() as stream:
            assert stream.read() == b"x" * size
        assert files[0].copy("copy.txt").size == size
        files[0].delete()
    with pytest.raises(BackendError, match="without s3:ListBucket"):
        store.exists("a.txt")
    with pytest.raises(BackendError, match="AccessDenied"):
        list(store.list())
    found = list(store.check())
    assert not any("cannot save" in line for line in found)
    assert any(line.startswith("cannot list files") for line in found)
    # Another folder of the bucket is another's.
    other = make({**config, "STORE_PATH": "others"})
    with pytest.raises(BackendError, match="AccessDenied"):
        other.save(io.BytesIO(b"x"), "a.txt")
    everything = make(limit(*SAVE, bucket=LIST))
    assert not any("cannot" in line for line in everything.check())
    assert not everything.exists("a.txt")


def test_saving_alone(limit: Limit) -> None:
    """A role that may only write can save; the check names what reading needs."""
    # Denied, as Ceph lets everybody read what is their own.
    more = {"STORE_S3_CONDITIONAL": "always"}
    store = make(limit("s3:PutObject", deny="s3:GetObject", **more))
    names = [str(store.save(io.BytesIO(b"x"), "a.txt")) for _ in range(2)]
    assert names[0] == "a.txt" != names[1]
    assert any(line.endswith("it needs s3:GetObject") for line in store.check())
    with pytest.raises(BackendError, match="AccessDenied"):
        store.open("a.txt").read()


def test_refused_acl(limit: Limit) -> None:
    """If a policy forbids an ACL, the check names the key to change."""
    public = {"StringEquals": {"s3:x-amz-acl": "public-read"}}
    more = {"STORE_S3_ACL": "public-read", "STORE_S3_CONDITIONAL": "always"}
    config = limit(
        *SAVE, "s3:PutObjectAcl", bucket=LIST, deny="s3:PutObject",
        condition=public, **more,
    )  # fmt: skip
    found: list[str] = []
    check = make(config).check()
    with pytest.raises(BackendError, match="cannot save a file"):
        found.extend(check)
    assert any("or unset STORE_S3_ACL, which is 'public-read'" in it for it in found)
    private = make({**config, "STORE_S3_ACL": None})
    assert str(private.save(io.BytesIO(b"x"), "a.txt")) == "a.txt"


def test_uploads_that_resume(limit: Limit) -> None:
    """Uploads by tus need to list their parts, and what is their own."""
    app = Flask(__name__)
    app.config |= limit(*RESUME, bucket=LIST)
    app.config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
    store = Store(app)
    app.register_blueprint(store.tus("/uploads", authorize=lambda *_: "me"))
    client = app.test_client()
    version = {"Tus-Resumable": "1.0.0"}
    size = 9 * MIB
    created = client.post("/uploads", headers={**version, "Upload-Length": f"{size}"})
    assert created.status_code == 201, created.text
    for start, end in ((0, 5), (5, size)):
        patched = client.patch(
            created.location,
            data=b"x" * (end - start),
            headers={**version, "Upload-Offset": f"{start}"},
            content_type="application/offset+octet-stream",
        )
        assert patched.status_code == 204, patched.text
    with app.app_context():
        (file,) = store.Provider().list()
        assert file.size == size
