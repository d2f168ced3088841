"""The requirements of tus 1.0 for a server, one test for each."""

from __future__ import annotations

import base64
import hashlib
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_store import Store


VERSION = {"Tus-Resumable": "1.0.0"}
MEDIA_TYPE = "application/offset+octet-stream"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with uploads of at most 100 bytes."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), STORE_FSYNC=False)
    store = Store(app)
    tus = store.tus("/up", authorize=lambda *_: "me", max_size=100)
    app.register_blueprint(tus)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client."""
    return app.test_client()


def send(
    client: FlaskClient, method: str, url: str, data: bytes = b"", **fields: Any
) -> TestResponse:
    """Send a request; underscores in fields stand for dashes."""
    headers = {
        **VERSION,
        **{key.replace("_", "-"): str(it) for key, it in fields.items()},
    }
    return client.open(url, method=method, data=data, headers=headers)


def create(client: FlaskClient, length: int | None = 3, **fields: Any) -> str:
    """Create an upload; return its URL."""
    if length is not None:
        fields["Upload_Length"] = length
    made = send(client, "POST", "/up", **fields)
    assert made.status_code == 201, made.text
    return made.location


def patch(
    client: FlaskClient, url: str, data: bytes, offset: int = 0, **fields: Any
) -> TestResponse:
    """Append bytes."""
    fields.setdefault("Content_Type", MEDIA_TYPE)
    return send(client, "PATCH", url, data, Upload_Offset=offset, **fields)


def head(client: FlaskClient, url: str) -> Any:
    """Return the fields of an upload."""
    return send(client, "HEAD", url).headers


def stored(app: Flask) -> dict[str, bytes]:
    """Return all files."""
    with app.app_context():
        found = {}
        for file in Store().Provider().list():
            with file.open() as stream:
                found[file.name] = stream.read()
        return found


def left(app: Flask) -> int:
    """Return the number of uploads that there are."""
    with app.app_context():
        return len(list(Store().Provider().uploads_place().uploads()))


def digest(algorithm: str, data: bytes) -> str:
    """Return a checksum as the protocol has it."""
    made = hashlib.new(algorithm, data).digest()
    return f"{algorithm} {base64.b64encode(made).decode()}"


# The core.


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("POST", "/up", 400),
        ("HEAD", "/up/" + "0" * 32, 404),
        ("PATCH", "/up/x", 404),
        ("GET", "/up", 405),
        ("PUT", "/up/x", 405),
    ],
)
def test_version_in_every_answer(
    client: FlaskClient, method: str, url: str, status: int
) -> None:
    """Every answer has Tus-Resumable, those that refuse too."""
    answer = send(client, method, url)
    assert answer.status_code == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize("version", ["0.2.2", "", "1.0.1"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_other_version(
    app: Flask, client: FlaskClient, method: str, version: str
) -> None:
    """Another version is 412 with Tus-Version, and the request does nothing."""
    url = create(client)
    fields = {"Tus_Resumable": version, "Upload_Length": 3, "Upload_Offset": 0}
    target = "/up" if method == "POST" else url
    answer = send(client, method, target, b"abc", Content_Type=MEDIA_TYPE, **fields)
    assert answer.status_code == 412
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert head(client, url)["Upload-Offset"] == "0"
    assert left(app) == 1


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_method_override(client: FlaskClient, method: str) -> None:
    """X-HTTP-Method-Override counts and the actual method does not."""
    url = create(client)
    fields = {"X_HTTP_Method_Override": "PATCH", "Content_Type": MEDIA_TYPE}
    answer = send(client, method, url, b"abc", Upload_Offset=0, **fields)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "3")
    made = send(client, method, "/up", Upload_Length=1, X_HTTP_Method_Override="POST")
    assert made.status_code == 201
    options = send(client, method, "/up", X_HTTP_Method_Override="OPTIONS")
    assert options.headers["Tus-Version"] == "1.0.0"


def test_head(client: FlaskClient) -> None:
    """HEAD has the offset, also 0 and at the end, the length, and is not cached."""
    url = create(client)
    for offset, data in ((0, b"ab"), (2, b"c"), (3, b"")):
        fields = head(client, url)
        assert fields["Upload-Offset"] == str(offset)
        assert fields["Upload-Length"] == "3"
        assert fields["Cache-Control"] == "no-store"
        if data:
            patch(client, url, data, offset)


def test_patch(client: FlaskClient) -> None:
    """A PATCH is 204 with the sum of the offset and the bytes that came."""
    url = create(client, 5)
    for offset, data in ((0, b"ab"), (2, b""), (2, b"cde")):
        answer = patch(client, url, data, offset)
        assert answer.status_code == 204
        assert answer.headers["Upload-Offset"] == str(offset + len(data))


@pytest.mark.parametrize(
    ("offset", "status"), [(1, 409), (3, 409), (-1, 400), ("x", 400)]
)
def test_offset(client: FlaskClient, offset: Any, status: int) -> None:
    """Another offset is 409, what is no number is 400, and nothing changes."""
    url = create(client)
    patch(client, url, b"ab")
    assert patch(client, url, b"c", offset).status_code == status
    assert head(client, url)["Upload-Offset"] == "2"


def test_options(client: FlaskClient) -> None:
    """OPTIONS has Tus-Version, whatever Tus-Resumable says, and all that is offered."""
    for version in ("1.0.0", "0.0.1", ""):
        fields = client.options("/up", headers={"Tus-Resumable": version}).headers
        assert fields["Tus-Version"] == "1.0.0"
        assert fields["Tus-Max-Size"] == "100"
        assert fields["Tus-Extension"].split(",") == [
            "creation", "creation-with-upload", "creation-defer-length", "checksum",
            "expiration", "termination", "concatenation",
        ]  # fmt: skip
        names = fields["Tus-Checksum-Algorithm"].split(",")
        assert "sha1" in names
        assert all(name == name.lower() and name.isascii() for name in names)


# Creation.


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"Upload_Length": "-1"}, 400),
        ({"Upload_Length": "1.5"}, 400),
        ({"Upload_Length": 101}, 413),
        ({"Upload_Defer_Length": 2}, 400),
        ({"Upload_Defer_Length": 1, "Upload_Length": 1}, 400),
        ({"Upload_Length": 1, "Upload_Metadata": "a YQ==,a YQ=="}, 400),
        ({"Upload_Length": 1, "Upload_Metadata": "a b c"}, 400),
        ({"Upload_Length": 1, "Upload_Metadata": "a %%%"}, 400),
        ({"Upload_Length": 1, "Upload_Concat": "other"}, 400),
    ],
)
def test_wrong_creation(
    app: Flask, client: FlaskClient, fields: Any, status: int
) -> None:
    """A malformed or oversized request is refused, and leaves nothing."""
    assert send(client, "POST", "/up", **fields).status_code == status
    assert left(app) == 0


def test_creation(client: FlaskClient) -> None:
    """A creation is 201 with the URL, at which HEAD repeats the metadata."""
    raw = "filename YS50eHQ=,is_private"
    made = send(client, "POST", "/up", Upload_Length=3, Upload_Metadata=raw)
    assert made.status_code == 201
    fields = head(client, made.location)
    assert fields["Upload-Metadata"] == raw
    assert "Upload-Defer-Length" not in fields


def test_deferred_length(client: FlaskClient) -> None:
    """HEAD says that the length is deferred until it is set, which is once."""
    url = create(client, None, Upload_Defer_Length=1)
    assert head(client, url)["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head(client, url)
    assert patch(client, url, b"", Upload_Length=101).status_code == 413
    assert patch(client, url, b"a", Upload_Length=3).status_code == 204
    assert patch(client, url, b"", 1, Upload_Length=4).status_code == 400
    fields = head(client, url)
    assert (fields["Upload-Length"], fields["Upload-Offset"]) == ("3", "1")
    assert "Upload-Defer-Length" not in fields


def test_creation_with_upload(app: Flask, client: FlaskClient) -> None:
    """The bytes of a creation count, and the answer says how many."""
    made = send(client, "POST", "/up", b"ab", Upload_Length=3, Content_Type=MEDIA_TYPE)
    assert (made.status_code, made.headers["Upload-Offset"]) == (201, "2")
    assert patch(client, made.location, b"c", 2).status_code == 204
    assert stored(app) == {"file": b"abc"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Upload_Length": 2}, 413),
        ({"Upload_Checksum": "crc32 AAAA"}, 400),
        ({"Upload_Checksum": digest("sha1", b"other")}, 460),
    ],
)
def test_wrong_creation_with_upload(
    app: Flask, client: FlaskClient, fields: Any, status: int
) -> None:
    """A creation whose bytes are refused leaves nothing, as nobody has its URL."""
    all_fields = {"Upload_Length": 9, "Content_Type": MEDIA_TYPE, **fields}
    assert send(client, "POST", "/up", b"abc", **all_fields).status_code == status
    assert left(app) == 0


# Expiration, checksum, termination.


def test_expiration(client: FlaskClient) -> None:
    """Each answer to a PATCH of what may expire says when, and so does the creation."""
    made = send(client, "POST", "/up", Upload_Length=3)
    answers = [
        made,
        patch(client, made.location, b"a"),
        patch(client, made.location, b"a", 0),
        patch(client, made.location, b"b", 1, Upload_Checksum=digest("sha1", b"x")),
        patch(client, made.location, b"b", 1, Content_Type="text/plain"),
    ]
    assert [it.status_code for it in answers] == [201, 204, 409, 460, 415]
    for answer in answers:
        text = answer.headers["Upload-Expires"]
        assert text.endswith(" GMT")
        assert parsedate_to_datetime(text).tzinfo is not None


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256", "sha512"])
def test_checksum(client: FlaskClient, algorithm: str) -> None:
    """A body that fails its checksum, or one that is not known, is dropped whole."""
    url = create(client)
    for given, status in (
        (digest(algorithm, b"xyz"), 460),
        (f"{algorithm.upper()} AAAA", 400),
        ("crc32 AAAA", 400),
        (f"{algorithm} %", 400),
        (digest(algorithm, b"abc"), 204),
    ):
        assert head(client, url)["Upload-Offset"] == "0"
        assert patch(client, url, b"abc", Upload_Checksum=given).status_code == status
    assert head(client, url)["Upload-Offset"] == "3"


@pytest.mark.parametrize("data", [b"", b"ab", b"abc"])
def test_termination(client: FlaskClient, data: bytes) -> None:
    """A termination is 204, finished or not, and the URL is gone."""
    url = create(client)
    patch(client, url, data)
    assert send(client, "DELETE", url).status_code == 204
    assert send(client, "HEAD", url).status_code == 404
    assert patch(client, url, b"c", 2).status_code == 404
    assert send(client, "DELETE", url).status_code == 404


# Concatenation.


def test_concatenation(app: Flask, client: FlaskClient) -> None:
    """A final upload is its parts in order, with no metadata of theirs."""
    parts = []
    for data in (b"abc", b"de"):
        named = "filename cGFydA=="
        url = create(client, len(data), Upload_Concat="partial", Upload_Metadata=named)
        patch(client, url, data)
        fields = head(client, url)
        assert fields["Upload-Concat"] == "partial"
        assert fields["Upload-Offset"] == str(len(data))
        parts.append(url)
    assert stored(app) == {}
    concat = f"final;{parts[1]} http://localhost{parts[0]}"
    url = create(client, None, Upload_Concat=concat)
    assert stored(app) == {"file": b"deabc"}
    fields = head(client, url)
    assert fields["Upload-Concat"] == concat
    assert fields["Upload-Length"] == fields["Upload-Offset"] == "5"
    assert "Upload-Metadata" not in fields
    assert patch(client, url, b"x", 5).status_code == 403
    assert stored(app) == {"file": b"deabc"}
    assert head(client, parts[0])["Upload-Offset"] == "3"


def test_wrong_concatenation(app: Flask, client: FlaskClient) -> None:
    """Parts that are unfinished, or too long together, and a length, are refused."""
    part = create(client, 60, Upload_Concat="partial")
    unfinished = send(client, "POST", "/up", Upload_Concat=f"final;{part}")
    assert unfinished.status_code == 400
    patch(client, part, b"x" * 60)
    for concat, status in (
        (f"final;{part} {part}", 413),
        ("final;", 400),
        ("final;/x", 400),
    ):
        assert send(client, "POST", "/up", Upload_Concat=concat).status_code == status
    final = f"final;{part}"
    answer = send(client, "POST", "/up", Upload_Length=60, Upload_Concat=final)
    assert answer.status_code == 400
    assert left(app) == 1
