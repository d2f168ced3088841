"""Uploads in parts by the real Uppy in a browser, to S3 and to the app itself."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Flask

import harness
from flask_store import Store
from flask_store._tus.place import Part
from flask_store._tus.upload import Upload
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.stores.s3 import S3Store


if TYPE_CHECKING:
    from playwright.sync_api import Browser

APP = Path(__file__).with_name("tus_app.py")
UPPY = ("tus-js-client@4.3.1", "uppy@6.0.1")
DATA = random.Random(7).randbytes(11 * MIB + 5)


def put(url: str, data: bytes) -> str:
    """Send a part as a browser does, and return its tag."""
    request = urllib.request.Request(url, data, method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        etag: str = answer.headers["ETag"]
    return etag.strip('"')


@pytest.fixture
def app(s3_session: harness.S3Server) -> Flask:
    """An app whose store is a prefix of a bucket."""
    app = Flask(__name__)
    app.config.update(
        s3_session.config,
        SECRET_KEY="secret",
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        STORE_PATH=f"companion/{uuid.uuid4().hex}",
    )
    app.register_blueprint(Store(app).companion("/up", authorize=lambda *_: "me"))
    return app


def hidden(app: Flask) -> list[str]:
    """Return the ends of the hidden keys that are left."""
    with app.app_context():
        provider = Store().Provider()
        assert isinstance(provider, S3Store)
        keys = [it["Key"] for it in provider.bucket.list(provider.key(".tus/"))]
    return [key.rpartition(".")[2] for key in keys]


def test_parts_go_to_s3(app: Flask) -> None:
    """The bytes go to S3 by signed URLs, and become a file there."""
    client = app.test_client()
    made: Any = client.post("/up/s3/multipart", json={"filename": "ä.bin"}).json
    key = {"key": made["key"]}
    one = f"/up/s3/multipart/{made['uploadId']}"
    tags: list[str] = []
    signed: Any = None
    for number, start in enumerate(range(0, len(DATA), 5 * MIB), 1):
        signed = client.get(f"{one}/{number}", query_string=key).json
        tags.append(put(signed["url"], DATA[start : start + 5 * MIB]))
    listed: Any = client.get(one, query_string=key).json
    assert [it["ETag"] for it in listed] == tags
    assert sum(it["Size"] for it in listed) == len(DATA)
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    url = f"{one}/complete"
    wrong = client.post(url, query_string=key, json={"parts": parts[:-1]})
    assert wrong.status_code == 400
    for _ in range(2):
        done = client.post(url, query_string=key, json={"parts": parts})
        assert done.json is not None
        assert done.json["key"] == "ä.bin"
    with app.app_context():
        (file,) = Store().Provider().list()
        with file.open() as stream:
            assert stream.read() == DATA
    assert hidden(app) == ["json"]
    # The URL that was signed is of no use any more.
    with pytest.raises(urllib.error.HTTPError, match="404"):
        put(signed["url"], b"late")


def test_aborted(app: Flask) -> None:
    """An aborted upload leaves nothing in S3, and its URLs are dead."""
    client = app.test_client()
    made: Any = client.post("/up/s3/multipart", json={"filename": "a.bin"}).json
    key, one = {"key": made["key"]}, f"/up/s3/multipart/{made['uploadId']}"
    signed: Any = client.get(f"{one}/1", query_string=key).json
    put(signed["url"], b"one")
    assert client.delete(one, query_string=key).status_code == 204
    assert client.get(one, query_string=key).status_code == 404
    with pytest.raises(urllib.error.HTTPError, match="404"):
        put(signed["url"], b"late")
    assert hidden(app) == []


def test_small_file(app: Flask) -> None:
    """A small file goes to S3 by the app, once, and its record can be dropped."""
    client = app.test_client()
    form: Any = client.get("/up/s3/params?filename=a.txt").json
    for _ in range(2):
        body = {**form["fields"], "file": (io.BytesIO(b"small"), "blob")}
        assert client.post(form["url"], data=body).status_code == 201
    with app.app_context():
        place = Store().Provider().uploads_place()
        (file,) = Store().Provider().list()
        (upload,) = place.uploads()
        assert (str(file), upload.file) == ("a.txt", "a.txt")
        place.delete(upload)
        assert file.exists()
    assert hidden(app) == []


def test_part_for_the_app(s3_session: harness.S3Server) -> None:
    """S3's own parts are never sent to the app."""
    config = {**s3_session.config, "STORE_PATH": f"companion/{uuid.uuid4().hex}"}
    place = S3Store(config=Config.from_mapping(config)).uploads_place()
    upload = Upload(id=uuid.uuid4().hex, owner="me", length=None, parts=0)
    place.create(upload)
    upload = place.find(upload.id)
    with pytest.raises(FileNotFoundError, match="not in the store"):
        place.receive_part(upload, 1, [b"x"])
    assert list[Part](place.parts(upload)) == []


@contextlib.contextmanager
def serving(tmp_path: Path, **variables: str) -> Iterator[harness.Server]:
    """Run the app."""
    scripts = harness.node_packages(*UPPY) / "node_modules" / "uppy" / "dist"
    environ = {
        "SCRIPTS": str(scripts),
        "FINISHED": str(tmp_path / "finished"),
        "FLASK_SECRET_KEY": "secret",
        **variables,
    }
    with harness.serve("gunicorn-gthread", APP, environ=environ) as server:
        yield server


UPLOAD = """async () => {
    const { Uppy, AwsS3 } = await import("/js/uppy.min.mjs");
    const uppy = new Uppy().use(AwsS3, {
        companionEndpoint: "/companion", shouldUseMultipart: true,
        getChunkSize: () => 5 * 1024 * 1024,
    });
    uppy.on("complete", (result) => { window.result = {
        failed: result.failed.map((file) => String(file.error)),
        keys: result.successful.map((file) => file.response.body.key),
    }; });
    window.parts = 0;
    uppy.on("s3-multipart:part-uploaded", (file) => {
        window.parts += 1;
        if (window.parts === 1) {
            uppy.pauseResume(file.id);
            setTimeout(() => uppy.pauseResume(file.id), 100);
        }
    });
    const input = document.createElement("input");
    input.type = "file"; input.id = "file"; input.multiple = true;
    input.onchange = () => {
        for (const data of input.files) {
            uppy.addFile({ name: data.name, type: data.type, data });
        }
        uppy.upload();
    };
    document.body.append(input);
}"""


def uppy(chromium: Browser, server: harness.Server, *files: Path) -> dict[str, Any]:
    """Upload files by Uppy with a pause; return what it says of them."""
    with chromium.new_page() as page:
        page.goto(f"{server.url}/page")
        page.evaluate(UPLOAD)
        page.set_input_files("#file", files)
        page.wait_for_function("window.result", timeout=100_000)
        result: dict[str, Any] = page.evaluate("window.result")
        assert page.evaluate("window.parts") == 3
    return result


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A file for parts, and one that is too small for them."""
    big, small = tmp_path / "big.bin", tmp_path / "small.txt"
    big.write_bytes(DATA)
    small.write_bytes(b"small")
    return [big, small]


def test_uppy_to_the_app(chromium: Browser, tmp_path: Path, files: list[Path]) -> None:
    """Uppy uploads to a folder, with a pause in between."""
    folder = tmp_path / "files"
    with serving(tmp_path, FLASK_STORE_PATH=str(folder)) as server:
        result = uppy(chromium, server, *files)
    assert result["failed"] == []
    assert "big.bin" in result["keys"]
    for path in files:
        assert (folder / path.name).read_bytes() == path.read_bytes()
    finished = (tmp_path / "finished").read_text().split()
    assert sorted(finished) == ["big.bin", "small.txt"]


def test_uppy_to_s3(
    chromium: Browser,
    tmp_path: Path,
    files: list[Path],
    s3_session: harness.S3Server,
) -> None:
    """Uppy sends the parts to a bucket whose CORS rule lets it."""
    prefix = f"companion/{uuid.uuid4().hex}"
    rule = {
        "AllowedOrigins": ["*"],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    }
    with contextlib.closing(s3_session.client()) as client:
        rules = {"CORSRules": [rule]}
        client.put_bucket_cors(Bucket=s3_session.bucket, CORSConfiguration=rules)
        try:
            variables = {
                f"FLASK_{key}": value for key, value in s3_session.config.items()
            }
            with serving(
                tmp_path,
                **variables,
                FLASK_STORE_PROVIDER="flask_store.stores.s3.S3Store",
                FLASK_STORE_PATH=prefix,
            ) as server:
                result = uppy(chromium, server, *files)
            assert result["failed"] == []
            for path in files:
                found = client.get_object(
                    Bucket=s3_session.bucket, Key=f"{prefix}/{path.name}"
                )
                digest = hashlib.sha256(found["Body"].read()).digest()
                assert digest == hashlib.sha256(path.read_bytes()).digest()
        finally:
            client.delete_bucket_cors(Bucket=s3_session.bucket)
    finished = (tmp_path / "finished").read_text().split()
    assert sorted(finished) == ["big.bin", "small.txt"]
