"""S3 as it is: its dialects, its failures, and what browsers may do with it."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import pytest

import harness
from flask_store import BackendError
from flask_store import Incoming
from flask_store import NotFoundError
from flask_store import RefusedError
from flask_store import _bucket as bucket_module
from flask_store._dialect import Dialect
from flask_store._s3_errors import is_transient
from flask_store._s3_reader import ObjectReader
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.stores.s3 import S3Store
from harness.waiting import WAIT


LARGE = 12 * MIB


def make(config: dict[str, Any], **more: Any) -> S3Store:
    """Return a store."""
    return S3Store(config=Config.from_mapping({**config, **more}))


@pytest.fixture
def config(s3_session: harness.S3Server) -> dict[str, Any]:
    """The light server's configuration, with a prefix of the test's own."""
    return {**s3_session.config, "STORE_PATH": f"tests/{uuid.uuid4().hex}"}


def keys_below(server: harness.S3Server, prefix: str) -> list[str]:
    """Return all keys in the bucket under a prefix."""
    pages = server.client().get_paginator("list_objects_v2")
    return [
        entry["Key"]
        for page in pages.paginate(Bucket=server.bucket, Prefix=prefix.strip("/"))
        for entry in page.get("Contents", ())
    ]


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """Get a URL; return the status and the body."""
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=WAIT) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


# How servers keep names apart.


def test_one_request_for_a_save(faulty: harness.FaultyServer) -> None:
    """A new name costs one request, a taken one another and a look at whose it is."""
    store = make(faulty.config, STORE_S3_CONDITIONAL="always")
    store.save(io.BytesIO(b"x"), "a.txt")
    assert [method for method, _ in faulty.requests] == ["PUT"]
    faulty.requests.clear()
    store.save(io.BytesIO(b"x"), "a.txt")
    assert [method for method, _ in faulty.requests] == ["PUT", "HEAD", "PUT"]


def strip_second() -> Callable[[str, str], str | None]:
    """Make a server that lets some writers through who come at once."""
    count = iter(range(1_000_000))
    return lambda method, path: "strip" if method == "PUT" and next(count) % 2 else None


@pytest.mark.parametrize(
    ("fault", "dialect"),
    [
        (lambda: lambda method, path: None, Dialect.ATOMIC),
        (
            lambda: lambda method, path: "strip" if method == "POST" else None,
            Dialect.PUTS,
        ),
        (lambda: lambda method, path: "strip", Dialect.NONE),
        (lambda: lambda method, path: 501 if method == "PUT" else None, Dialect.NONE),
        (strip_second, Dialect.NONE),
    ],
    ids=["honoured", "only-for-puts", "ignored", "refused", "racy"],
)
def test_dialects(faulty: harness.FaultyServer, fault: Any, dialect: Dialect) -> None:
    """Each dialect is recognised, and in none does a save overwrite another."""
    store = make(faulty.config)
    faulty.fault = fault()
    assert store.bucket.dialect is dialect
    assert keys_below(faulty.server, store.prefix) == []
    if dialect is Dialect.NONE:
        faulty.always("strip", method="PUT")
    for size in (3, LARGE):
        one = store.save(io.BytesIO(b"1" * size), "a.txt")
        two = store.save(io.BytesIO(b"2" * size), "a.txt")
        for file, digit in ((one, b"1"), (two, b"2")):
            with file.open() as stream:
                assert stream.read() == digit * size
        assert (str(one) == "a.txt") == (dialect is not Dialect.NONE and size == 3)


def test_condition_of_large_files(faulty: harness.FaultyServer) -> None:
    """A server that ignores the condition on parts gets large files in one piece."""
    store = make(faulty.config)
    faulty.always("strip", method="POST")
    assert store.bucket.dialect is Dialect.PUTS
    faulty.requests.clear()
    store.save(io.BytesIO(b"x" * LARGE), "a.bin")
    assert [method for method, _ in faulty.requests] == ["PUT"]


@pytest.mark.parametrize(
    ("dialect", "size", "keeps"),
    [
        (Dialect.ATOMIC, bucket_module.LARGEST_PUT + 1, True),
        (Dialect.PUTS, bucket_module.LARGEST_PUT, True),
        (Dialect.PUTS, bucket_module.LARGEST_PUT + 1, False),
        (Dialect.NONE, 0, False),
    ],
)
def test_which_names_are_safe(
    config: dict[str, Any], dialect: Dialect, size: int, keeps: bool
) -> None:
    """A file too large for one request gets a unique name where parts are unsafe."""
    store = make(config)
    store.bucket._dialect = Future()
    store.bucket._dialect.set_result(dialect)
    assert store.bucket.keeps_names(size) is keeps


@pytest.mark.parametrize(
    ("more", "dialect"),
    [
        ({"STORE_S3_CONDITIONAL": "always"}, Dialect.ATOMIC),
        ({"STORE_S3_CONDITIONAL": "never"}, Dialect.NONE),
        ({"STORE_S3_ENDPOINT_URL": None}, Dialect.ATOMIC),
    ],
)
def test_dialect_without_asking(
    faulty: harness.FaultyServer, more: dict[str, Any], dialect: Dialect
) -> None:
    """Nobody asks a server that is known, Amazon's first of all."""
    store = make(faulty.config, **more)
    assert store.bucket.dialect is dialect
    assert faulty.requests == []


SAVER = """
import io, json, sys
from concurrent.futures import ThreadPoolExecutor
from flask_store.config import Config
from flask_store.stores.s3 import S3Store

config = json.loads(sys.argv[1])
store = S3Store(config=Config.from_mapping(config))

contents = [f"{sys.argv[2]}-{number}".encode() for number in range(16)]
store.exists("warm.txt")
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    saved = pool.map(lambda data: store.save(io.BytesIO(data), "same.txt"), contents)
    for data, file in zip(contents, saved):
        print(file, data.decode())
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["s3_session", "ceph_session"])
def test_processes_and_threads(kind: str, request: pytest.FixtureRequest) -> None:
    """32 threads in 2 processes that save one name make as many objects as saves."""
    server: harness.S3Server = request.getfixturevalue(kind)
    config = {**server.config, "STORE_PATH": f"race/{uuid.uuid4().hex}"}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                SAVER,
                json.dumps(config),
                str(number),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    store = make(config)
    names = []
    for process in processes:
        output, _ = process.communicate(timeout=2 * WAIT)
        for line in output.splitlines():
            name, content = line.split()
            names.append(name)
            with store.open(name) as file:
                assert file.read() == content.encode()
    assert len(names) == len(set(names)) == 32
    assert len(list(store.list())) == 32


# Failures.


@pytest.mark.parametrize("size", [3, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_lost_answer(faulty: harness.FaultyServer, size: int, method: str) -> None:
    """When an answer is lost the file is not saved again under another name."""
    store = make(faulty.config, STORE_S3_CONDITIONAL="always")
    having = "uploadId" if method == "POST" else "a.txt"
    faulty.first("lose", method=method, having=having)
    file = store.save(io.BytesIO(b"x" * size), "a.txt")
    assert str(file) == "a.txt"
    assert file.provider.size("a.txt") == size
    assert [str(found) for found in store.list()] == ["a.txt"]


@pytest.mark.parametrize("fault", ["drop", 500])
@pytest.mark.parametrize("having", ["partNumber=2", "uploadId"])
def test_failure_in_a_multipart_upload(
    faulty: harness.FaultyServer, fault: str | int, having: str
) -> None:
    """An upload that fails in the middle raises an error of ours and is aborted."""
    store = make(
        faulty.config,
        STORE_S3_CONDITIONAL="always",
        STORE_S3_TIMEOUT=WAIT,
        STORE_S3_ATTEMPTS=2,
    )
    method = "PUT" if having == "partNumber=2" else "POST"
    faulty.always(fault, method=method, having=having)
    with pytest.raises(BackendError, match=r"cannot save 'a\.txt'") as caught:
        store.save(io.BytesIO(b"x" * LARGE), "a.txt")
    assert caught.value.__cause__ is not None
    client = faulty.server.client()
    left = client.list_multipart_uploads(Bucket=faulty.server.bucket)
    assert [it for it in left.get("Uploads", ()) if store.prefix in it["Key"]] == []
    faulty.fault = lambda method, path: None
    assert list(store.list()) == []
    assert str(store.save(io.BytesIO(b"x" * LARGE), "a.txt")) == "a.txt"


def test_slow_server(faulty: harness.FaultyServer) -> None:
    """A server that does not answer is given up after the time that is set."""
    store = make(faulty.config, STORE_S3_TIMEOUT=0.2, STORE_S3_ATTEMPTS=2)
    faulty.fault = lambda method, path: "wait"
    for action in (
        lambda: store.save(io.BytesIO(b"x"), "a.txt"),
        lambda: store.exists("a.txt"),
        lambda: store.open("a.txt"),
        lambda: store.delete("a.txt"),
        lambda: list(store.list()),
    ):
        with pytest.raises(BackendError, match=r"[Tt]imed? ?out"):
            action()


def test_server_down(s3_session: harness.S3Server) -> None:
    """A server that is down is reported, and is used again when it is back."""
    port = harness.free_port()
    more = {
        "STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "STORE_PATH": uuid.uuid4().hex,
        "STORE_S3_CONDITIONAL": "always",
        "STORE_S3_TIMEOUT": WAIT,
    }
    store = make(s3_session.config, **more)
    with pytest.raises(BackendError, match=r"cannot save 'a\.txt': Could not conn"):
        store.save(io.BytesIO(b"x"), "a.txt")
    with harness.faulty_server(s3_session, port):
        assert str(store.save(io.BytesIO(b"x"), "a.txt")) == "a.txt"


def test_first_save_while_down(faulty: harness.FaultyServer) -> None:
    """A server that fails during the probe is not mistaken for one that refuses."""
    store = make(faulty.config, STORE_S3_ATTEMPTS=1)
    faulty.fault = lambda method, path: 503
    with pytest.raises(BackendError, match="cannot try"):
        store.save(io.BytesIO(b"x"), "a.txt")
    faulty.fault = lambda method, path: None
    assert str(store.save(io.BytesIO(b"x"), "a.txt")) == "a.txt"
    assert store.bucket.dialect is Dialect.ATOMIC


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"STORE_S3_ACCESS_KEY": "wrong"}, "S3 said InvalidAccessKeyId"),
        ({"STORE_S3_BUCKET": "no-such-bucket"}, "S3 said NoSuchBucket"),
    ],
)
def test_refused(config: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    """An error of S3 is reported in its words."""
    store = make(config, STORE_S3_CONDITIONAL="always", **more)
    with pytest.raises(BackendError, match=reason) as caught:
        store.save(io.BytesIO(b"x"), "a.txt")
    assert not is_transient(caught.value)


def test_looking_is_refused(faulty: harness.FaultyServer) -> None:
    """A file that S3 does not let us see is not reported as missing."""
    store = make(faulty.config)
    faulty.fault = lambda method, path: 403
    for look in (store.exists, store.size, store.open):
        with pytest.raises(BackendError, match="S3 said"):
            look("a.txt")


def test_signing_without_keys(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that boto3 found no keys."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    store = make(config, STORE_S3_ACCESS_KEY=None, STORE_S3_SECRET_KEY=None)
    with pytest.raises(BackendError, match="Unable to locate credentials"):
        store.url("a.txt", expires=1)
    with pytest.raises(BackendError, match="Unable to locate credentials"):
        store.presign_post("a.txt")


def test_object_replaced_while_read(config: dict[str, Any]) -> None:
    """A reader never mixes two contents."""
    store = make(config)
    file = store.save(io.BytesIO(b"a" * MIB), "a.txt")
    with file.open() as stream:
        assert stream.read(1) == b"a"
        store.bucket.client.put_object(
            Bucket=store.bucket.name, Key=store.join("a.txt"), Body=b"b" * MIB
        )
        stream.seek(-1, io.SEEK_END)
        with pytest.raises(BackendError, match=r"PreconditionFailed|412"):
            stream.read()


def test_reader_stays(config: dict[str, Any]) -> None:
    """Moving to where a reader is asks nothing of S3."""
    store = make(config)
    store.save(io.BytesIO(b"abc"), "a.txt")
    with ObjectReader(store.bucket, store.join("a.txt"), "a.txt") as raw:
        assert raw.tell() == 0
        assert raw.seek(0) == 0
        assert raw.read(2) == b"ab"


def test_reader_refuses_negative_positions(config: dict[str, Any]) -> None:
    """A file has nothing before its start."""
    with make(config).save(io.BytesIO(b"abc"), "a.txt").open() as stream:
        with pytest.raises(ValueError, match="negative seek"):
            stream.seek(-1)
        stream.seek(10)
        assert stream.read() == b""


# What S3 keeps, and whom it lets in.


@pytest.mark.parametrize(
    ("name", "content_type", "disposition"),
    [
        ("a.png", "image/png", None),
        ("a.html", "text/html; charset=utf-8", "attachment"),
        ("a.svg", "image/svg+xml", "attachment"),
    ],
)
@pytest.mark.parametrize("size", [3, LARGE], ids=["small", "large"])
def test_object_headers(
    config: dict[str, Any],
    name: str,
    content_type: str,
    disposition: str | None,
    size: int,
) -> None:
    """S3 sends a file as what it is, and as a download what a browser would run."""
    more = {"STORE_S3_OBJECT_PARAMETERS": {"CacheControl": "max-age=60"}}
    store = make(config, STORE_S3_MULTIPART_THRESHOLD=5 * MIB, **more)
    file = store.save(io.BytesIO(b"x" * size), name)
    head = store.bucket.head(store.join(str(file)))
    assert head is not None
    assert head["ContentType"] == content_type
    assert head.get("ContentDisposition") == disposition
    assert head["CacheControl"] == "max-age=60"


@pytest.mark.parametrize("conditional", ["always", "never"])
def test_server_side_copy(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, conditional: str
) -> None:
    """S3 copies and moves on its own side, large files in parts."""
    monkeypatch.setattr("flask_store._server_copy.PART", 5 * MIB)
    store = make(config, STORE_S3_CONDITIONAL=conditional)
    data = random.Random(0).randbytes(LARGE)
    calls: list[str] = []
    events = store.bucket.client.meta.events
    events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    for content in (b"small", data):
        file = store.save(io.BytesIO(content), "a.bin", content_type="image/png")
        calls.clear()
        moved = file.copy("b.bin").move("c.bin")
        assert "PutObject" not in calls
        assert "GetObject" not in calls
        assert moved.content_type == "image/png"
        assert moved.provider.size(str(moved)) == len(content)
        with moved.open() as stream:
            assert stream.read() == content


def test_delete_prefix_of_many(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More files than one request may name are deleted, and no others."""
    monkeypatch.setattr("flask_store.stores._listings.LARGEST_PAGE", 10)
    store = make(config)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.save(io.BytesIO(b""), f"a/{n}"), range(25)))
    store.save(io.BytesIO(b""), "ab")
    assert store.delete_prefix("a/") == 25
    assert [file.filename[:2] for file in store.list()] == ["ab"]


def test_strangers_are_kept_out(config: dict[str, Any]) -> None:
    """Without an ACL only a signed URL opens a file, unchanged and in time."""
    file = make(config).save(io.BytesIO(b"content"), "ä #?.txt")
    assert fetch(file.absolute_url())[0] == 403
    signed = file.url(expires=60)
    assert fetch(signed) == (200, b"content")
    assert fetch(signed, Range="bytes=0-2") == (206, b"con")
    assert fetch(signed.replace("Signature=", "Signature=0"))[0] == 403


def test_acl(s3_session: harness.S3Server, config: dict[str, Any]) -> None:
    """An ACL is sent with the file where the configuration asks for it."""
    client = s3_session.client()
    client.create_bucket(Bucket="public", ObjectOwnership="ObjectWriter")
    client.delete_public_access_block(Bucket="public")
    store = make(config, STORE_S3_BUCKET="public", STORE_S3_ACL="public-read")
    assert fetch(store.save(io.BytesIO(b"x"), "a.txt").absolute_url()) == (200, b"x")
    assert store.presign_post("a.txt").fields["acl"] == "public-read"


class _RedirectsNot(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Let a redirection be an error."""


def post_form(url: str, fields: dict[str, str], data: bytes) -> tuple[int, bytes]:
    """Post a form with a file; return the status and the body."""
    try:
        with send_form(url, fields, data) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def send_form(
    url: str,
    fields: dict[str, str],
    data: bytes,
    *handlers: type[urllib.request.BaseHandler],
) -> Any:
    """Post a form with a file, as a browser does."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = ("".join(parts) + head).encode() + data + b"\r\n--b--\r\n"
    request = urllib.request.Request(
        url, body, {"Content-Type": "multipart/form-data; boundary=b"}
    )
    return urllib.request.build_opener(*handlers).open(request, timeout=WAIT)


@pytest.mark.parametrize("kind", ["s3_session", "ceph_session"])
def test_direct_upload(kind: str, request: pytest.FixtureRequest) -> None:
    """A browser may upload one file, of its type and size, and nothing else."""
    server: harness.S3Server = request.getfixturevalue(kind)
    config = {**server.config, "STORE_PATH": f"direct/{uuid.uuid4().hex}"}
    store = make(config)
    upload = store.within("in").presign_post("../ä b.html", max_size=10)
    assert str(upload.file).startswith("in/ä b_")
    assert not upload.file.exists()
    assert post_form(upload.url, upload.fields, b"x" * 11)[0] in {400, 403}
    for name, value in (
        ("key", upload.fields["key"] + "x"),
        ("Content-Type", "image/png"),
        ("Content-Disposition", "inline"),
        ("x-amz-signature", "0" * 64),
    ):
        changed = {**upload.fields, name: value}
        assert post_form(upload.url, changed, b"x")[0] == 403
    assert not upload.file.exists()
    with pytest.raises(NotFoundError, match="is not in the store"):
        store.confirm(str(upload.file))
    assert post_form(upload.url, upload.fields, b"<p>")[0] == 204
    assert not upload.file.exists()
    assert list(store.list()) == []
    assert str(store.confirm(str(upload.file))) == str(upload.file)
    with upload.file.open() as stream:
        assert stream.read() == b"<p>"
    # The form again, with other content: too late.
    assert post_form(upload.url, upload.fields, b"evil")[0] == 204
    store.confirm(str(upload.file))
    with upload.file.open() as stream:
        assert stream.read() == b"<p>"
    head = store.bucket.head(store.join(str(upload.file)))
    assert head is not None
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert head["ContentDisposition"].startswith("attachment")
    assert store.presign_post("a.png").fields["Content-Type"] == "image/png"


@pytest.mark.parametrize("kind", ["s3_session", "ceph_session"])
def test_direct_upload_redirects(kind: str, request: pytest.FixtureRequest) -> None:
    """S3 sends the browser on, and tells the page there what the key is."""
    store = make(request.getfixturevalue(kind).config)
    upload = store.presign_post("a.txt", redirect="http://localhost/done")
    with pytest.raises(urllib.error.HTTPError, match="303") as caught:
        send_form(upload.url, upload.fields, b"x", _RedirectsNot)
    with caught.value as answer:
        place = urlsplit(answer.headers["Location"])
    assert place._replace(query="").geturl() == "http://localhost/done"
    assert parse_qs(place.query)["key"] == [upload.fields["key"]]
    assert store.confirm(str(upload.file)).exists()


def test_confirm_accepts(config: dict[str, Any]) -> None:
    """The app sees the bytes before the file has its name, and may refuse them."""
    store = make(config)
    upload = store.presign_post("a.png")
    assert post_form(upload.url, upload.fields, b"no image")[0] == 204

    def refuse(incoming: Incoming) -> None:
        assert incoming.head() == b"no image"
        raise RefusedError("no image")

    with pytest.raises(RefusedError, match="no image"):
        store.confirm(str(upload.file), accept=refuse)
    assert not upload.file.exists()

    def exchange(incoming: Incoming) -> None:
        assert post_form(upload.url, upload.fields, b"other")[0] == 204

    with pytest.raises(BackendError, match=r"PreconditionFailed|412"):
        store.confirm(str(upload.file), accept=exchange)
    assert not upload.file.exists()
    file = store.confirm(str(upload.file), metadata={"by": "me"})
    assert file.attributes.metadata == {"by": "me"}
    assert file.size == 5


def test_one_probe(faulty: harness.FaultyServer) -> None:
    """Sixteen first saves at once make one probe, which fails for all or none."""
    store = make(faulty.config)
    with ThreadPoolExecutor(16) as pool:
        saves = [
            pool.submit(store.save, io.BytesIO(b"x"), f"{number}.txt")
            for number in range(16)
        ]
        assert len({str(save.result()) for save in saves}) == 16
    probes = [path for _, path in faulty.requests if ".probe-" in path]
    assert len({path.partition("?")[0] for path in probes}) == 4


def test_missing_bucket_that_is_made(
    s3_session: harness.S3Server, config: dict[str, Any]
) -> None:
    """A missing bucket does not decide how the server keeps names."""
    bucket = f"later-{uuid.uuid4().hex[:8]}"
    store = make(config, STORE_S3_BUCKET=bucket)
    with pytest.raises(BackendError, match="NoSuchBucket"):
        store.save(io.BytesIO(b"x"), "a.txt")
    s3_session.client().create_bucket(Bucket=bucket)
    assert str(store.save(io.BytesIO(b"x"), "a.txt")) == "a.txt"
    assert store.bucket.dialect is Dialect.ATOMIC


def test_required_encryption(faulty: harness.FaultyServer) -> None:
    """If a policy requires a header, the probe, saves and the check send it."""
    header = "x-amz-server-side-encryption"
    faulty.refuse = lambda method, path, headers: (
        (
            (method == "PUT" and "uploadId" not in path)
            or (method == "POST" and "uploads" in path.partition("?")[2])
        )
        and header not in {name.lower() for name in headers}
    )
    more = {"STORE_S3_OBJECT_PARAMETERS": {"ServerSideEncryption": "AES256"}}
    store = make(faulty.config, **more)
    assert not any("cannot" in line for line in store.check())
    for size in (3, LARGE):
        assert store.save(io.BytesIO(b"x" * size), "a.txt").size == size
    refused = make(faulty.config, STORE_S3_CONDITIONAL="always")
    lines = findings(refused, match="S3 said")
    assert lines[0] == "cannot save a file: S3 said AccessDenied; it needs s3:PutObject"
    assert any(
        line.startswith("it works with encryption: set STORE_S3_OBJECT_PARAMETERS to")
        for line in lines
    )


def findings(store: S3Store, *, match: str) -> list[str]:
    """Return what a check says that ends with an error."""
    found: list[str] = []
    check = store.check()
    with pytest.raises(BackendError, match=match):
        found.extend(check)
    return found


def test_refused_acl(faulty: harness.FaultyServer) -> None:
    """If a bucket refuses ACLs, the check names the key to change."""
    faulty.refuse = lambda method, path, headers: (
        "x-amz-acl" in {name.lower() for name in headers}
    )
    store = make(faulty.config, STORE_S3_ACL="public-read")
    lines = findings(store, match="cannot save a file")
    assert any("or unset STORE_S3_ACL, which is 'public-read'" in it for it in lines)
    assert not any("cannot read" in line for line in lines)


def test_refused_parameters(faulty: harness.FaultyServer) -> None:
    """If a bucket refuses another header, the check says where to look."""
    faulty.refuse = lambda method, path, headers: (
        "x-amz-storage-class" in {name.lower() for name in headers}
    )
    more = {"STORE_S3_OBJECT_PARAMETERS": {"StorageClass": "GLACIER"}}
    lines = findings(make(faulty.config, **more), match="cannot save a file")
    assert "it works without headers: check STORE_S3_OBJECT_PARAMETERS" in lines


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"STORE_S3_OBJECT_PARAMETERS": {"StorageKlass": "X"}}, "Unknown parameter"),
        ({"STORE_S3_OBJECT_PARAMETERS": {"ACL": "secret"}}, "cannot"),
    ],
)
def test_check_where_saves_fail(
    config: dict[str, Any], more: dict[str, Any], line: str
) -> None:
    """The check fails where a save fails, with the same words."""
    store = make(config, STORE_S3_CONDITIONAL="always", **more)
    with pytest.raises(BackendError, match=line):
        list(store.check())
    with pytest.raises(BackendError, match=line):
        store.save(io.BytesIO(b"x"), "a.txt")


def test_least_privilege(faulty: harness.FaultyServer) -> None:
    """Without permission to list or look, saves work and names stay apart."""
    faulty.fault = lambda method, path: (
        403 if method == "HEAD" or "list-type" in path else None
    )
    store = make(faulty.config, STORE_S3_CONDITIONAL="always")
    for size in (3, 6 * MIB):
        names = [
            str(store.save(io.BytesIO(b"x" * size), f"{size}.txt")) for _ in range(2)
        ]
        assert names[0] == f"{size}.txt"
        assert names[1] != names[0]
    with pytest.raises(BackendError, match="without s3:ListBucket"):
        store.exists("a.txt")
    faulty.refuse = lambda method, path, _: method == "GET" and "uploads&" in path
    found = list(store.check())
    assert any("s3:ListBucketMultipartUploads for" in it for it in found)
    assert any("cannot look for a file that is missing" in line for line in found)
    assert any("cannot list files" in line for line in found)
    assert not any("cannot save" in line for line in found)


HANGING_APP = """
import io, json, os
from flask import Flask
from flask_store import BackendError, Store

app = Flask(__name__)
app.config.update(json.loads(os.environ["STORE_TEST_CONFIG"]))
store = Store(app)


@app.get("/save")
def save():
    try:
        store.Provider().save(io.BytesIO(b"x"), "a.txt")
    except BackendError as error:
        return str(error), 503


@app.get("/")
def ready():
    return "yes"
"""


def test_s3_that_hangs(tmp_path: Path) -> None:
    """With defaults an error comes before gunicorn's default kills the worker."""
    (tmp_path / "hanging_app.py").write_text(HANGING_APP)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = {
            "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
            "STORE_S3_BUCKET": "b",
            "STORE_S3_ACCESS_KEY": "a",
            "STORE_S3_SECRET_KEY": "b",
            "STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        environ = {"STORE_TEST_CONFIG": json.dumps(config)}
        with harness.gunicorn(tmp_path / "hanging_app.py", environ=environ) as server:
            assert fetch(server.url) == (200, b"yes")
            status, body = fetch(f"{server.url}/save")
    assert (status, b"Read timeout" in body) == (503, True)


def test_cleaning_stays_in_the_path(
    faulty: harness.FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tenant's uploads are left alone, and a bucket's without a path."""
    monkeypatch.setattr(bucket_module, "STALE", timedelta(seconds=-60))
    path = faulty.config["STORE_PATH"].rstrip("/")
    store = make(faulty.config, STORE_PATH=path)
    where = {"Bucket": store.bucket.name, "Key": f"{store.prefix}b/left.bin"}
    store.bucket.client.create_multipart_upload(**where)
    assert list(store.check(clean=True))[-1].startswith("0 unfinished uploads")
    root = make(faulty.config, STORE_PATH=None)
    assert list(root.check(clean=True))[-1].startswith("without STORE_PATH")
    theirs = make(faulty.config, STORE_PATH=f"{path}b")
    assert list(theirs.check(clean=True))[-1].startswith("1 unfinished uploads")


def test_every_listed_name_opens(config: dict[str, Any]) -> None:
    """A key that is not a valid name is not listed."""
    store = make(config)
    store.save(io.BytesIO(b"x"), "a.txt")
    for key in ("a\\b", "a\u0085b", "x" * 256):
        store.bucket.client.put_object(
            Bucket=store.bucket.name, Key=f"{store.prefix}/{key}", Body=b""
        )
    assert [str(file) for file in store.list()] == ["a.txt"]


def test_hidden_keys_are_not_listed(config: dict[str, Any]) -> None:
    """Folders of the console and names that start with a dot are not files."""
    store = make(config)
    store.save(io.BytesIO(b"x"), "a/b.txt")
    for key in ("a/", ".probe-1", "a/.hidden", "a//c"):
        store.bucket.client.put_object(
            Bucket=store.bucket.name, Key=f"{store.prefix}/{key}", Body=b""
        )
    assert [str(file) for file in store.list()] == ["a/b.txt"]


def test_check(faulty: harness.FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check tells the dialect, and drops uploads that nobody goes on with."""
    store = make(faulty.config)
    client = store.bucket.client
    where = {"Bucket": store.bucket.name, "Key": f"{store.prefix}/left.bin"}
    client.create_multipart_upload(**where)
    upload = store.presign_post("direct.txt")
    assert post_form(upload.url, upload.fields, b"x")[0] == 204
    dialect, *left = store.check()
    assert dialect.endswith("/uploads: files can be saved; If-None-Match is honoured")
    assert left == [
        "0 unconfirmed direct uploads of more than a day left",
        "0 unfinished uploads of more than a day left",
    ]
    monkeypatch.setattr(bucket_module, "STALE", timedelta(seconds=-60))
    for clean, counts in ((False, "11"), (True, "11"), (False, "00")):
        _, *left = store.check(clean=clean)
        assert [line[0] for line in left] == list(counts)
        assert all(line.endswith("removed" if clean else "left") for line in left)
    with pytest.raises(NotFoundError, match="is not in the store"):
        store.confirm(str(upload.file))


def test_root_of_the_bucket(faulty: harness.FaultyServer) -> None:
    """Without a path files lie in the bucket's root."""
    store = make(faulty.config, STORE_PATH=None, STORE_S3_CONDITIONAL="always")
    name = f"{uuid.uuid4().hex}.txt"
    file = store.save(io.BytesIO(b"x"), name)
    assert file.absolute_path() == str(file) == name
    assert file.absolute_url().endswith(f"/uploads/{name}")
    assert [str(found) for found in store.list(name)] == [name]


def test_domain(config: dict[str, Any]) -> None:
    """The domain stands for the bucket and its address."""
    store = make(config, STORE_DOMAIN="https://cdn.example/x", STORE_PATH="/p/q/")
    assert store.absolute_url("a b.txt") == "https://cdn.example/x/p/q/a%20b.txt"
    assert store.relative_url("a b.txt") == "/p/q/a%20b.txt"
