"""Uploads that resume: what a client sees, on every kind of store."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import abort
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_store import FileWrapper
from flask_store import RefusedError
from flask_store import Store
from flask_store import upload_finished
from flask_store._tus.folder import FOLDER
from flask_store._tus.upload import Upload


MEDIA_TYPE = "application/offset+octet-stream"
VERSION = {"Tus-Resumable": "1.0.0"}
UNIQUE = re.compile(r"_[0-9A-Za-z]{22}(?=\.|$)")


class Client:
    """A client that speaks tus."""

    def __init__(self, client: FlaskClient, user: str = "me") -> None:
        self._client = client
        self._user = user

    def send(
        self, method: str, url: str, data: bytes = b"", **fields: object
    ) -> TestResponse:
        """Send a request; underscores in fields stand for dashes."""
        headers = {key.replace("_", "-"): str(value) for key, value in fields.items()}
        headers = {**VERSION, "X-User": self._user, **headers}
        if method == "PATCH":
            headers.setdefault("Content-Type", MEDIA_TYPE)
        headers = {key: value for key, value in headers.items() if value}
        return self._client.open(url, method=method, data=data, headers=headers)

    def create(self, length: int | None = 3, **fields: Any) -> str:
        """Create an upload and return its URL."""
        if length is not None:
            fields["Upload_Length"] = length
        response = self.send("POST", "/uploads", **fields)
        assert response.status_code == 201, response.text
        return response.location

    def patch(
        self, url: str, data: bytes, offset: int = 0, **fields: Any
    ) -> TestResponse:
        """Append bytes."""
        return self.send("PATCH", url, data, Upload_Offset=offset, **fields)

    def offset(self, url: str) -> int:
        """Return the offset."""
        response = self.send("HEAD", url)
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])


def metadata(**values: str) -> str:
    """Return an Upload-Metadata field."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in values.items()
    )


STORES = ["local.LocalStore", "memory.MemoryStore"]
if find_spec("harness"):
    STORES += ["s3.S3Store", "s3.S3GeventStore"]


@pytest.fixture(params=STORES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The configuration of each kind of store."""
    made = {
        "STORE_PROVIDER": f"flask_store.stores.{request.param}",
        "STORE_PATH": str(tmp_path / "files"),
    }
    if request.param.startswith("s3"):
        made |= request.getfixturevalue("s3_session").config
        made["STORE_PATH"] = f"tus/{uuid.uuid4().hex}"
        made["STORE_SPOOL_PATH"] = str(tmp_path / "spool")
    return made


@pytest.fixture
def finished() -> list[tuple[FileWrapper, Upload]]:
    """The uploads of which the signal told."""
    return []


@pytest.fixture
def make(
    config: dict[str, Any], finished: list[tuple[FileWrapper, Upload]]
) -> Iterator[Callable[..., Flask]]:
    """Make an app with uploads that resume."""
    receivers = []
    made = []

    def create(**options: Any) -> Flask:
        app = Flask(__name__)
        app.config |= config
        store = Store(app)
        made.append((store, app))

        def authorize(step: str, upload: Upload) -> str | None:
            if "X-Refuse" in request.headers:
                abort(401)
            return request.headers.get("X-User")

        options = {"authorize": authorize, **options}
        app.register_blueprint(store.tus("/uploads", **options))

        def receive(sender: Flask, file: FileWrapper, upload: Any = None) -> None:
            finished.append((file, upload))

        receivers.append(receive)
        upload_finished.connect(receive, app)
        return app

    yield create
    receivers.clear()
    for store, app in made:
        store.stop(app)


@pytest.fixture
def app(make: Callable[..., Flask]) -> Flask:
    """An app with the defaults."""
    return make()


@pytest.fixture
def tus(app: Flask) -> Client:
    """A client of it."""
    return Client(app.test_client())


def files(app: Flask) -> dict[str, bytes]:
    """Return all stored files."""
    with app.app_context():
        provider = app.extensions["store"].provider
        found = {}
        for file in provider.list():
            # Names in the background are unique from the start.
            name = UNIQUE.sub("", file.name) if provider.background else file.name
            with file.open() as stream:
                found[name] = stream.read()
        return found


def test_upload_in_pieces(
    app: Flask, tus: Client, finished: list[tuple[FileWrapper, Upload]]
) -> None:
    """A finished upload is an ordinary file with its own name; the signal names it."""
    url = tus.create(10, Upload_Metadata=metadata(filename="a b.txt", project="x"))
    assert url.startswith("/uploads/")
    first = tus.patch(url, b"01234")
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "5")
    assert "Upload-Expires" in first.headers
    assert tus.offset(url) == 5
    assert files(app) == {}
    last = tus.patch(url, b"56789", 5)
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, "10")
    assert files(app) == {"a b.txt": b"0123456789"}
    with app.app_context():
        provider = app.extensions["store"].provider
        (name,) = (file.name for file in provider.list())
        attributes = provider.attributes(name)
    if not provider.background:  # whose signal comes when the file is in S3
        ((file, upload),) = finished
        assert (file.name, upload.filename, upload.owner) == (name, name, "me")
        assert upload.metadata == {"filename": "a b.txt", "project": "x"}
    assert attributes.metadata == {"project": "x"}
    assert attributes.content_type == "text/plain"
    # A client that missed the last answer asks again.
    assert tus.offset(url) == 10
    assert files(app) == {"a b.txt": b"0123456789"}


def test_head_says_what_was_sent(tus: Client) -> None:
    """HEAD repeats length and metadata, and is kept by no cache."""
    raw = metadata(filename="a.txt") + ",empty"
    url = tus.create(3, Upload_Metadata=raw)
    response = tus.send("HEAD", url)
    assert response.headers["Upload-Metadata"] == raw
    assert response.headers["Upload-Length"] == "3"
    assert response.headers["Upload-Offset"] == "0"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Tus-Resumable"] == "1.0.0"


def test_options(make: Callable[..., Flask]) -> None:
    """OPTIONS names the version, the extensions and the limit, without a version."""
    client = make(max_size=7).test_client()
    for url in ("/uploads", "/uploads/", "/uploads/" + "0" * 32):
        response = client.options(url)
        assert response.status_code == 204
        assert response.headers["Tus-Version"] == "1.0.0"
        assert response.headers["Tus-Max-Size"] == "7"
        assert "sha1" in response.headers["Tus-Checksum-Algorithm"]
        assert set(response.headers["Tus-Extension"].split(",")) == {
            "creation", "creation-with-upload", "creation-defer-length", "checksum",
            "expiration", "termination", "concatenation",
        }  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_version_is_needed(tus: Client, method: str) -> None:
    """Another version is refused, and the right one named."""
    url = "/uploads" if method == "POST" else tus.create()
    response = tus.send(method, url, Tus_Resumable="0.9.9", Upload_Length=1)
    assert response.status_code == 412
    assert response.headers["Tus-Version"] == "1.0.0"
    assert response.headers["Tus-Resumable"] == "1.0.0"


def test_method_override(tus: Client) -> None:
    """A proxy that knows no PATCH can be passed with a POST."""
    url = tus.create()
    fields: dict[str, Any] = {"X_HTTP_Method_Override": "PATCH", "Upload_Offset": 0}
    response = tus.send("POST", url, b"abc", Content_Type=MEDIA_TYPE, **fields)
    assert response.status_code == 204
    assert tus.send("POST", url, X_HTTP_Method_Override="GET").status_code == 405


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_wrong_offset(tus: Client, offset: int) -> None:
    """Bytes for another offset change nothing."""
    url = tus.create(10)
    tus.patch(url, b"abc")
    assert tus.patch(url, b"xyz", offset).status_code == 409
    assert tus.offset(url) == 3


def test_wrong_type(tus: Client) -> None:
    """A body of another type is refused."""
    url = tus.create()
    assert tus.patch(url, b"abc", Content_Type="text/plain").status_code == 415
    created = tus.send("POST", "/uploads", b"a", Upload_Length=1, Content_Type="a/b")
    assert created.status_code == 415


def test_too_many_bytes(app: Flask, tus: Client) -> None:
    """A body beyond the length is refused, and the upload can go on."""
    url = tus.create(3)
    assert tus.patch(url, b"abcd").status_code == 413
    assert tus.patch(url, b"abc").status_code == 204
    assert files(app) == {"file": b"abc"}


@pytest.mark.parametrize("path", ["0" * 32, "x", "0" * 31, "..%2f..%2fetc", "%00"])
def test_unknown(tus: Client, path: str) -> None:
    """A URL of no upload is not found, and has no offset."""
    response = tus.send("HEAD", f"/uploads/{path}")
    assert response.status_code == 404
    assert "Upload-Offset" not in response.headers


def test_empty_upload(app: Flask, tus: Client) -> None:
    """An upload of 0 bytes is a file at once."""
    url = tus.create(0, Upload_Metadata=metadata(filename="empty.txt"))
    assert files(app) == {"empty.txt": b""}
    assert tus.offset(url) == 0


def test_creation_with_upload(app: Flask, tus: Client) -> None:
    """The first bytes may come with the creation."""
    fields: dict[str, Any] = {"Upload_Length": 6, "Content_Type": MEDIA_TYPE}
    response = tus.send("POST", "/uploads", b"abc", **fields)
    assert (response.status_code, response.headers["Upload-Offset"]) == (201, "3")
    tus.patch(response.location, b"def", 3)
    assert files(app) == {"file": b"abcdef"}


def test_deferred_length(app: Flask, tus: Client) -> None:
    """The length may come later, with a PATCH that may be empty, and never changes."""
    url = tus.create(None, Upload_Defer_Length=1)
    head = tus.send("HEAD", url)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert tus.patch(url, b"abc").status_code == 204
    assert tus.patch(url, b"", 3, Upload_Length=2).status_code == 400
    assert tus.patch(url, b"", 3, Upload_Length=4).status_code == 204
    assert tus.patch(url, b"", 3, Upload_Length=5).status_code == 400
    assert tus.send("HEAD", url).headers["Upload-Length"] == "4"
    assert files(app) == {}
    tus.patch(url, b"d", 3)
    assert files(app) == {"file": b"abcd"}


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256", "sha512"])
def test_checksum(app: Flask, tus: Client, algorithm: str) -> None:
    """A body that does not fit its checksum is dropped whole."""
    url = tus.create()
    digest = hashlib.new(algorithm, b"abc").digest()
    field = f"{algorithm} {base64.b64encode(digest).decode()}"
    wrong = tus.patch(url, b"abd", Upload_Checksum=field)
    assert wrong.status_code == 460
    assert tus.offset(url) == 0
    assert tus.patch(url, b"abc", Upload_Checksum="crc32 AAAA").status_code == 400
    assert tus.patch(url, b"abc", Upload_Checksum=field).status_code == 204
    assert files(app) == {"file": b"abc"}


def test_termination(app: Flask, tus: Client) -> None:
    """A terminated upload is gone; a file that it became is not."""
    url = tus.create()
    tus.patch(url, b"ab")
    assert tus.send("DELETE", url).status_code == 204
    assert tus.send("HEAD", url).status_code == 404
    assert tus.patch(url, b"c", 2).status_code == 404
    done = tus.create()
    tus.patch(done, b"abc")
    assert tus.send("DELETE", done).status_code == 204
    assert files(app) == {"file": b"abc"}


def test_concatenation(app: Flask, tus: Client) -> None:
    """Parts become one file in the order named; a part is never a file."""
    parts = []
    for data in (b"abc", b"defgh"):
        url = tus.create(len(data), Upload_Concat="partial")
        tus.patch(url, data)
        assert tus.send("HEAD", url).headers["Upload-Concat"] == "partial"
        parts.append(url)
    assert files(app) == {}
    concat = f"final;{parts[1]} http://localhost{parts[0]} {parts[0]}"
    named = metadata(filename="joined.bin")
    url = tus.create(None, Upload_Concat=concat, Upload_Metadata=named)
    assert files(app) == {"joined.bin": b"defghabcabc"}
    assert tus.send("HEAD", url).headers["Upload-Concat"] == concat
    assert tus.offset(url) == 11
    assert tus.patch(url, b"x", 11).status_code == 403


def test_concatenation_is_checked(make: Callable[..., Flask]) -> None:
    """Unfinished, foreign and missing parts, and a sum above the limit, are refused."""
    client = make(max_size=5).test_client()
    tus, other = Client(client), Client(client, "you")
    part = tus.create(3, Upload_Concat="partial")
    whole = tus.create(3)

    def join(client: Client, *urls: str) -> TestResponse:
        concat = "final;" + " ".join(urls)
        return client.send("POST", "/uploads", Upload_Concat=concat)

    assert "is not complete" in join(tus, part).text
    tus.patch(part, b"abc")
    tus.patch(whole, b"abc")
    assert "is not a partial upload" in join(tus, whole).text
    assert "is not a partial upload" in join(other, part).text
    assert "there is no upload" in join(tus, "/uploads/" + "0" * 32).text
    assert join(tus, part, part).status_code == 413
    assert join(tus, part).status_code == 201


def test_other_owner(tus: Client, app: Flask) -> None:
    """Another's upload is not there for anybody else."""
    url = tus.create()
    other = Client(app.test_client(), "you")
    assert other.send("HEAD", url).status_code == 404
    assert other.patch(url, b"abc").status_code == 404
    assert other.send("DELETE", url).status_code == 404
    assert tus.offset(url) == 0


def test_refusal_by_the_hook(tus: Client) -> None:
    """The hook refuses by None or by an error of its own; both speak tus."""
    url = tus.create()
    for method, path in [("POST", "/uploads"), ("HEAD", url), ("DELETE", url)]:
        forbidden = tus.send(method, path, Upload_Length=1, X_User="")
        assert forbidden.status_code == 403
        unknown = tus.send(method, path, Upload_Length=1, X_Refuse=1)
        assert unknown.status_code == 401
        assert unknown.headers["Tus-Resumable"] == "1.0.0"


def test_limit_of_size(make: Callable[..., Flask]) -> None:
    """An upload that is too large is refused before any byte arrives."""
    tus = Client(make(max_size=5).test_client())
    assert tus.send("POST", "/uploads", Upload_Length=6).status_code == 413
    url = tus.create(None, Upload_Defer_Length=1)
    assert tus.patch(url, b"abcdef").status_code == 413
    assert tus.patch(url, b"", Upload_Length=6).status_code == 413
    assert tus.patch(url, b"abcde", Upload_Length=5).status_code == 204


def test_limit_of_forms(make: Callable[..., Flask]) -> None:
    """A limit that the app has for forms is not one for uploads."""
    app = make()
    app.config["MAX_CONTENT_LENGTH"] = 10
    tus = Client(app.test_client())
    url = tus.create(1000)
    assert tus.patch(url, b"x" * 1000).status_code == 204


def test_limit_of_number(make: Callable[..., Flask]) -> None:
    """An owner may have so many unfinished uploads."""
    app = make(max_uploads=2)
    tus, other = Client(app.test_client()), Client(app.test_client(), "you")
    first = tus.create()
    tus.create()
    response = tus.send("POST", "/uploads", Upload_Length=3)
    assert (response.status_code, "2 uploads are" in response.text) == (429, True)
    other.create()
    tus.patch(first, b"abc")
    tus.create()


def test_expiry(make: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that nobody goes on with is gone, and its bytes soon after."""
    app = make(expires=10)
    tus = Client(app.test_client())
    url, done = tus.create(), tus.create(0)
    with app.app_context():
        place = app.extensions["store"].provider.uploads_place()
    assert len(list(place.uploads())) == 2
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 11)
    assert tus.send("HEAD", url).status_code == 404
    assert tus.send("HEAD", done).status_code == 200
    monkeypatch.setattr(time, "monotonic", lambda: 1e12)
    Client(app.test_client()).create()
    assert len(list(place.uploads())) == 1
    assert files(app) == {"file": b""}


def test_accept_hook(config: dict[str, Any], make: Callable[..., Flask]) -> None:
    """A file that the store's hook refuses leaves nothing; the client hears why."""

    def accept(incoming: Any) -> None:
        if incoming.head().startswith(b"MZ"):
            raise RefusedError("no programs")

    config["STORE_ACCEPT"] = accept
    app = make()
    tus = Client(app.test_client())
    url = tus.create()
    response = tus.patch(url, b"MZ!")
    assert (response.status_code, "no programs" in response.text) == (422, True)
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert tus.send("HEAD", url).status_code == 404
    assert files(app) == {}


def test_same_name_twice(app: Flask, tus: Client) -> None:
    """Two uploads of one name are two files."""
    for data in (b"abc", b"def"):
        tus.patch(tus.create(3, Upload_Metadata=metadata(filename="a.txt")), data)
    with app.app_context():
        found = [file.name for file in app.extensions["store"].provider.list()]
    assert len(set(found)) == 2


@pytest.mark.parametrize(
    "raw",
    [metadata(filename="../../../etc/cron.d/x"), metadata(filename="/etc/passwd")],
)
def test_hostile_names(app: Flask, tus: Client, raw: str) -> None:
    """A name leads nowhere."""
    tus.patch(tus.create(3, Upload_Metadata=raw), b"abc")
    (name,) = files(app)
    assert "/" not in name


@pytest.mark.parametrize(
    "raw",
    ["a b c", "filename YQ,filename YQ==", metadata(note="x" * 1600),
     metadata(**{"flask-store": "x"}), metadata(note="a\r\nSet-Cookie: b=c")],
    ids=["broken", "twice", "long", "reserved", "line-end"],
)  # fmt: skip
def test_hostile_metadata(app: Flask, tus: Client, raw: str) -> None:
    """Metadata that cannot be kept is refused before anything is."""
    response = tus.send("POST", "/uploads", Upload_Length=3, Upload_Metadata=raw)
    assert response.status_code == 400
    assert "Upload-Metadata" in response.text
    with app.app_context():
        place = app.extensions["store"].provider.uploads_place()
    assert list(place.uploads()) == []


def test_hidden_while_unfinished(app: Flask, tus: Client) -> None:
    """The bytes of an unfinished upload are neither listed nor served."""
    url = tus.create()
    tus.patch(url, b"ab")
    name = f"{FOLDER}/{url.rpartition('/')[2]}"
    assert app.test_client().get(f"/flaskstore/{name}").status_code == 404
    assert files(app) == {}


def test_authorize_is_needed() -> None:
    """Uploads that nobody authorizes are not made by mistake."""
    with pytest.raises(TypeError, match="authorize"):
        Store().tus("/uploads")  # type: ignore[call-arg]


def test_command(make: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lists uploads, and drops those that have expired."""
    app = make(expires=10)
    tus = Client(app.test_client())
    url = tus.create(1000, Upload_Metadata=metadata(filename="a.txt"))
    tus.patch(url, b"abc")
    runner = app.test_cli_runner()
    listed = runner.invoke(args=["store", "uploads"]).output
    assert "3 of 1,000  0 min  unfinished  me  a.txt" in listed
    told = json.loads(runner.invoke(args=["store", "uploads", "--json"]).output)
    assert (told["offset"], told["length"], told["owner"]) == (3, 1000, "me")
    assert (told["id"], told["state"]) == (url.rpartition("/")[2], "unfinished")
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 11)
    swept = runner.invoke(args=["store", "uploads", "--sweep"]).output
    assert "expired" in swept
    assert "1 dropped" in swept
    assert runner.invoke(args=["store", "uploads"]).output == ""
