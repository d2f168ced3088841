"""Uploads in parts: the routes' responses, for owners and others."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient

from flask_store import ConfigError
from flask_store import Incoming
from flask_store import RefusedError
from flask_store import SetupError
from flask_store import Store
from flask_store import upload_finished
from flask_store._tus import part_files
from flask_store._tus.folder import FOLDER
from flask_store._tus.upload import Upload


MINE = {"X-User": "me"}


def who(step: str, upload: Upload) -> str | None:
    """Return the user that a request names."""
    return request.headers.get("X-User")


def make(tmp_path: Path, *, local: bool = True, **options: Any) -> Flask:
    """Return an app with the routes."""
    app = Flask(__name__)
    kind = "local.LocalStore" if local else "memory.MemoryStore"
    app.config["STORE_PROVIDER"] = f"flask_store.stores.{kind}"
    app.config["STORE_PATH"] = str(tmp_path / "files")
    app.config["SECRET_KEY"] = "secret"
    options.setdefault("authorize", who)
    app.register_blueprint(Store(app).companion("/up", **options))
    return app


@pytest.fixture(params=[True, False], ids=["local", "memory"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Flask:
    """An app whose store is a folder, or memory."""
    return make(tmp_path, local=request.param)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Its client."""
    return app.test_client()


class Page:
    """The requests of Uppy in a page, one at a time."""

    def __init__(
        self, client: FlaskClient, filename: str = "ä.txt", **more: Any
    ) -> None:
        self.client = client
        sent = {"filename": filename, "type": "text/plain", **more}
        answer = client.post("/up/s3/multipart", json=sent, headers=MINE)
        assert answer.status_code == 200, answer.text
        made: Any = answer.json
        self.id, self.key = made["uploadId"], made["key"]
        self.etags: dict[int, str] = {}

    def ask(self, method: str, path: str = "", **more: Any) -> Any:
        """Ask about the upload."""
        more = {"headers": MINE, "query_string": {"key": self.key}, **more}
        url = f"/up/s3/multipart/{self.id}{path}"
        return self.client.open(url, method=method, **more)

    def put(self, number: int, data: bytes) -> Any:
        """Send a part."""
        answer = self.ask("GET", f"/{number}")
        assert answer.status_code == 200
        # The browser sends nothing but the bytes.
        answer = self.client.put(answer.json["url"], data=data)
        if answer.status_code == 200:
            self.etags[number] = answer.headers["ETag"].strip('"')
        return answer

    def complete(self, **more: Any) -> Any:
        """Have the file made."""
        parts = [{"PartNumber": it, "ETag": tag} for it, tag in self.etags.items()]
        return self.ask("POST", "/complete", json={"parts": parts}, **more)


def stored(app: Flask) -> dict[str, bytes]:
    """Return the files of the store."""
    with app.app_context():
        found = {}
        for file in Store().Provider().list():
            with file.open() as stream:
                found[file.name] = stream.read()
        return found


def form_of(client: FlaskClient, **query: str) -> Any:
    """Return the form for a small file."""
    query = {"filename": "a", **query}
    return client.get("/up/s3/params", query_string=query, headers=MINE).json


def left(app: Flask) -> list[str]:
    """Return the names of what waits."""
    with app.app_context():
        place: Any = Store().Provider().uploads_place()
    return sorted(path.name for path in place._path.glob("*"))


def test_upload(app: Flask, client: FlaskClient) -> None:
    """Parts in any order become a file, of which the app is told."""
    told = []

    def finished(sender: Flask, file: Any, upload: Upload) -> None:
        told.append((file.name, upload.owner, upload.filename))

    with upload_finished.connected_to(finished, app):
        page = Page(client, metadata={"name": "ä.txt", "Album": "7", "x": None})
        page.put(2, b"two")
        page.put(1, b"one")
        assert page.ask("GET").json == [
            {"PartNumber": 1, "Size": 3, "ETag": page.etags[1]},
            {"PartNumber": 2, "Size": 3, "ETag": page.etags[2]},
        ]
        answer = page.complete()
    assert answer.json == {"location": "/flaskstore/%C3%A4.txt", "key": "ä.txt"}
    assert told == [("ä.txt", "me", "ä.txt")]
    assert stored(app) == {"ä.txt": b"onetwo"}
    with app.app_context():
        assert Store().Provider().file("ä.txt").attributes.metadata == {"album": "7"}
    assert left(app) == [f"{page.id}.json"]
    # A page whose answer was lost asks again, and is told the same.
    assert [it["PartNumber"] for it in page.ask("GET").json] == [1, 2]
    assert page.complete().json["key"] == "ä.txt"
    assert page.ask("GET", "/3").status_code == 409
    assert len(stored(app)) == 1


def test_part_that_is_sent_again(app: Flask, client: FlaskClient) -> None:
    """The last bytes of a part count, and the same ones are one."""
    page = Page(client)
    for data in (b"old", b"new", b"new"):
        page.put(1, data)
    assert len(page.ask("GET").json) == 1
    assert page.complete().status_code == 200
    assert stored(app) == {"ä.txt": b"new"}


def test_others(app: Flask, client: FlaskClient) -> None:
    """For another user the upload is not there, and nobody gets in by its id."""
    page = Page(client)
    page.put(1, b"mine")
    other = {"headers": {"X-User": "other"}}
    for method, path in (
        ("GET", ""), ("GET", "/1"), ("POST", "/complete"), ("DELETE", ""),
    ):  # fmt: skip
        assert page.ask(method, path, **other).status_code == 404
        assert page.ask(method, path, headers={}).status_code == 403
        assert page.ask(method, path, query_string={"key": "b"}).status_code == 404
        assert page.ask(method, path, query_string={}).status_code == 404
    for wrong in ("0" * 32, "..%2f..", "x"):
        url = f"/up/s3/multipart/{wrong}?key={page.key}"
        assert client.get(url, headers=MINE).status_code == 404
    assert client.post("/up/s3/multipart", json={}).status_code == 403
    assert client.get("/up/s3/params?filename=a").status_code == 403
    assert page.complete().status_code == 200
    assert stored(app) == {"ä.txt": b"mine"}


def test_signatures(app: Flask, client: FlaskClient) -> None:
    """A URL is good for its own part only, and not for another purpose."""
    page = Page(client)
    url = page.ask("GET", "/1").json["url"]
    token = url.rpartition("/")[2]
    assert client.put(f"{url[: -len(token)]}x{token}", data=b"").status_code == 403
    form = form_of(client)
    stolen = form["fields"]["key"]
    assert client.put(f"/up/s3/part/{stolen}", data=b"").status_code == 403
    body = {"key": token, "file": (io.BytesIO(b"x"), "a")}
    assert client.post(form["url"], data=body).status_code == 403
    page.ask("DELETE")
    assert client.put(url, data=b"").status_code == 404
    assert (stored(app), left(app)) == ({}, [])


def test_signature_ends(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signed URL ends."""
    url = Page(client).ask("GET", "/1").json["url"]
    monkeypatch.setattr("flask_store._tus.companion.SIGNED_SECONDS", -1)
    assert client.put(url, data=b"").status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"filename": 1}, 400, "filename"),
        ({"filename": "a", "type": []}, 400, "type"),
        ({"filename": "a", "metadata": "x"}, 400, "metadata"),
        ({"filename": "a", "metadata": {"a b": "1"}}, 400, "'a b' cannot be a key"),
        ({"filename": "a", "metadata": {"ä": "1"}}, 400, "cannot be a key"),
        ({"filename": "a", "metadata": {"a": "1" * 5000}}, 400, "4096 bytes"),
        ({"filename": "a", "metadata": {"a": "\x00"}}, 400, "metadata"),
        ([], 400, "send an object"),
    ],
)
def test_hostile_creation(
    app: Flask, client: FlaskClient, body: Any, status: int, reason: str
) -> None:
    """A file that cannot be stored is refused, and nothing is left."""
    answer = client.post("/up/s3/multipart", json=body, headers=MINE)
    assert answer.status_code == status
    assert reason in answer.text
    assert left(app) == []


@pytest.mark.parametrize(
    "parts",
    [
        None, {}, [], [1], [{}], [{"PartNumber": "x", "ETag": "1"}],
        [{"PartNumber": 2, "ETag": "1"}], [{"PartNumber": 1, "ETag": "other"}],
        [{"PartNumber": 1, "ETag": "../../x"}],
    ],
)  # fmt: skip
def test_hostile_completion(app: Flask, client: FlaskClient, parts: Any) -> None:
    """Parts that do not match the uploaded ones are refused, and stay."""
    page = Page(client)
    page.put(1, b"one")
    answer = page.ask("POST", "/complete", json={"parts": parts})
    assert (answer.status_code, "parts: " in answer.text) == (400, True)
    assert page.ask("POST", "/complete", data="{}").status_code == 415
    assert page.complete().status_code == 200


def test_part_that_is_not_named(app: Flask, client: FlaskClient) -> None:
    """No part is left out in silence."""
    page = Page(client)
    page.put(1, b"one")
    page.put(2, b"two")
    del page.etags[2]
    answer = page.complete()
    assert (answer.status_code, answer.text) == (
        400,
        "parts: 2 differ from the stored ones",
    )


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers(client: FlaskClient, number: int) -> None:
    """Parts have the numbers that S3 takes."""
    assert Page(client).ask("GET", f"/{number}").status_code == 400


def test_too_large(tmp_path: Path) -> None:
    """More than is allowed is refused, in one part or in several."""
    app = make(tmp_path, max_size=5)
    page = Page(app.test_client())
    assert page.put(1, b"sixsix").status_code == 413
    page.put(1, b"one")
    page.put(2, b"two")
    answer = page.complete()
    assert (answer.status_code, "at most 5 bytes" in answer.text) == (413, True)
    assert (stored(app), left(app)) == ({}, [])
    form = form_of(app.test_client())
    body = {**form["fields"], "file": (io.BytesIO(b"sixsix"), "a")}
    assert app.test_client().post(form["url"], data=body).status_code == 413


def test_refused_by_the_hook(tmp_path: Path) -> None:
    """A hook sees the whole file; what it refuses leaves nothing."""

    def refuse(incoming: Incoming) -> None:
        assert (incoming.size, incoming.head()) == (6, b"onetwo")
        raise RefusedError("Not that.")

    app = make(tmp_path)
    with app.app_context():
        provider = Store().Provider()
        object.__setattr__(provider.config, "accept", refuse)
    page = Page(app.test_client())
    page.put(1, b"one")
    page.put(2, b"two")
    assert page.complete().status_code == 422
    assert (stored(app), left(app)) == ({}, [])


def test_small_file(app: Flask, client: FlaskClient) -> None:
    """A file that is too small for parts is saved as any other."""
    told = []

    def finished(sender: Flask, file: Any, upload: Upload) -> None:
        told.append((file.name, upload.owner, upload.length))

    more = {"type": "text/plain", "metadata[album]": "7"}
    form = form_of(client, filename="é.txt", **more)
    assert form["method"] == "POST"
    with upload_finished.connected_to(finished, app):
        for _ in range(2):
            # Uppy sends it again after a pause, whether it arrived or not.
            body = {**form["fields"], "file": (io.BytesIO(b"small"), "blob")}
            assert client.post(form["url"], data=body).status_code == 201
    assert stored(app) == {"é.txt": b"small"}
    assert told == [("é.txt", "me", 5)]
    form = form_of(client)
    assert client.post(form["url"], data=form["fields"]).status_code == 400


def test_form_twice_at_once(tmp_path: Path) -> None:
    """Two requests with one form at the same instant store one file."""
    app = make(tmp_path)
    both = threading.Barrier(2)

    def wait(_: Incoming) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1)

    with app.app_context():
        object.__setattr__(Store().Provider().config, "accept", wait)
    form = form_of(app.test_client())

    def send(_: int) -> int:
        body = {**form["fields"], "file": (io.BytesIO(b"small"), "a")}
        return app.test_client().post(form["url"], data=body).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(send, range(2))) == [201, 201]
    assert list(stored(app).values()) == [b"small"]


def test_killed_before_the_name(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload whose finish was cut short is finished by the next request."""
    page = Page(client)
    page.put(1, b"one")
    with monkeypatch.context() as patch:
        patch.setattr("flask_store._tus.companion.Companion.finish", lambda *_: None)
        assert page.complete().status_code == 409
    assert stored(app) == {}
    assert [it["PartNumber"] for it in page.ask("GET").json] == [1]
    assert page.complete().json["key"] == "ä.txt"
    assert stored(app) == {"ä.txt": b"one"}


def test_many_parts(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are joined in the order of their numbers, not of their names."""
    monkeypatch.setattr(part_files, "BLOCK", 3)
    page = Page(client)
    chunks = [hashlib.sha256(b"%d" % it).digest() for it in range(12)]
    for number, chunk in reversed([*enumerate(chunks, 1)]):
        page.put(number, chunk)
    assert page.complete().status_code == 200
    assert stored(app) == {"ä.txt": b"".join(chunks)}


def test_not_by_tus(tmp_path: Path) -> None:
    """An upload is found only by the routes by which it was begun."""
    app = make(tmp_path)
    app.register_blueprint(Store().tus("/tus", authorize=who))
    client = app.test_client()
    fields = {**MINE, "Tus-Resumable": "1.0.0"}
    page = Page(client)
    assert client.head(f"/tus/{page.id}", headers=fields).status_code == 404
    made = client.post("/tus", headers={**fields, "Upload-Length": "3"})
    page.id, page.key = made.headers["Location"].rpartition("/")[2], "file"
    assert page.ask("GET").status_code == 404


def test_list_and_sweep(tmp_path: Path) -> None:
    """The command lists uploads in parts with the bytes that are there."""
    app = make(tmp_path, expires=-1)
    page = Page(app.test_client())
    done = app.test_cli_runner().invoke(args=["store", "uploads", "--sweep"])
    assert f"{page.id}  0 of ?" in done.output
    assert "1 dropped" in done.output
    assert list((tmp_path / "files" / FOLDER).iterdir()) == []


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["tus", "companion"])
def test_unknown_store(tmp_path: Path, kind: str, early: bool) -> None:
    """A store that the app does not have is refused at start-up."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), SECRET_KEY="key")
    store = Store()
    routes = getattr(store, kind)("/up", authorize=who, store="privat")

    def start() -> None:
        if early:
            app.register_blueprint(routes)
        store.init_app(app)
        if not early:
            app.register_blueprint(routes)

    with pytest.raises(SetupError, match="there is no store 'privat'"):
        start()


def test_no_secret_key(tmp_path: Path) -> None:
    """Without a key nothing can be signed, which is an error at start-up."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    with pytest.raises(ConfigError, match="SECRET_KEY is None: set it"):
        app.register_blueprint(store.companion("/up", authorize=who))
