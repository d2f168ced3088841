"""Every sample of the README runs, in its order."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store import FileWrapper
from flask_store import NoFileError
from flask_store import RefusedError
from flask_store import Store
from flask_store import upload_failed
from flask_store import upload_finished
from flask_store.config import Config
from flask_store.stores.memory import MemoryStore


README = (Path(__file__).parent.parent / "README.md").read_text()
SAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def sample(start: str) -> str:
    """Return the sample in which a line starts like that."""
    found: str
    (found,) = (
        it for it in SAMPLES if any(line.startswith(start) for line in it.splitlines())
    )
    return found


def run(start: str, **names: Any) -> dict[str, Any]:
    """Run a sample with names that are there already; return all names."""
    # Its classes and functions live in a module that tests are not collected from.
    names["__name__"] = "readme"
    exec(compile(sample(start), "README.md", "exec"), names)
    return names


def test_all_samples_are_tested() -> None:
    """No sample is forgotten here."""
    assert len(SAMPLES) == 18


def test_configuration_table() -> None:
    """The README has the table that the declarations make."""
    assert Config.table() in README


def test_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick start gives a URL, and the URL the file."""
    code = sample("store = Store(app)").replace(
        "/some/path/to/somewhere", str(tmp_path)
    )
    names: dict[str, Any] = {"__name__": "readme"}
    exec(code, names)
    client = names["app"].test_client()
    form = {"afile": (io.BytesIO(b"picture"), "localfile.jpg")}
    url = client.post("/upload", data=form).text
    assert url == "http://127.0.0.1:5000/flaskstore/localfile.jpg"
    with client.get(url) as response:
        assert response.data == b"picture"


def test_private_quick_start(tmp_path: Path) -> None:
    """In a private store the quick start gives a signed URL, and only that opens."""
    code = sample("store = Store(app)").replace(
        "/some/path/to/somewhere", str(tmp_path)
    )
    code = code.replace("f.absolute_url()", "f.url(expires=3600)").replace(
        "store = Store(app)",
        "app.config.update(STORE_PRIVATE=True, SECRET_KEY='key')\nstore = Store(app)",
    )
    names: dict[str, Any] = {"__name__": "readme"}
    exec(code, names)
    client = names["app"].test_client()
    form = {"afile": (io.BytesIO(b"picture"), "localfile.jpg")}
    url = client.post("/upload", data=form).text
    with client.get(url) as response:
        assert response.data == b"picture"
    assert client.get(url.partition("?")[0]).status_code == 403


@pytest.fixture
def app() -> Flask:
    """An app with a store in memory."""
    app = Flask(__name__)
    app.config["STORE_PROVIDER"] = "flask_store.stores.memory.MemoryStore"
    app.config["SECRET_KEY"] = "secret"
    return app


def test_files(app: Flask) -> None:
    """The verbs are there."""
    store = Store(app)
    body = {"picture": (io.BytesIO(b"x"), "me.png")}
    with app.test_request_context(method="POST", data=body):
        # Not both of one request.
        made = SimpleNamespace(files=flask.request.files, stream=io.BytesIO(b"x"))
        names = run("provider = ", store=store, request=made)
    assert str(names["file"]) == "avatars/42/me.png"
    assert str(names["picture"]) == "avatars/42/me.png"


def test_pages(app: Flask) -> None:
    """The sample gives two pages."""
    provider = MemoryStore()
    for number in range(120):
        provider.save(io.BytesIO(b""), f"avatars/{number}.png")
    names = run("page = provider.page(", provider=provider)
    assert (len(names["page"].files), len(names["more"].files)) == (100, 20)


def test_attributes(app: Flask) -> None:
    """The sample saves what it says, and the link downloads under its name."""
    app.secret_key = "secret"
    upload = {"scan": (io.BytesIO(b"scan"), "scan.bin")}
    with app.test_request_context(method="POST", data=upload):
        provider = Store(app).Provider()
        names = run("file = provider.save(", request=flask.request, provider=provider)
        file = names["file"]
        assert file.attributes.sha256 == hashlib.sha256(b"scan").hexdigest()
        assert file.attributes.metadata == {"owner": "42"}
        link = file.url(expires=60, download_name="Scan 1.png")
    with app.test_client().get(link) as response:
        assert response.headers["Content-Disposition"] == (
            'attachment; filename="Scan 1.png"'
        )
        assert response.headers["Cache-Control"] == "private, max-age=3600"
        assert response.mimetype == "image/png"


def test_obstore(app: Flask) -> None:
    """The sample makes a store that signs URLs of the container."""
    pytest.importorskip("obstore", reason="pip install 'flask-store[obstore]'")
    key = base64.b64encode(b"key").decode()
    run('app.config["STORE_OBSTORE_URL"]', app=app, key=key)
    store = Store(app)
    with app.app_context():
        url = store.Provider().url("a.txt", expires=60)
    assert url.startswith("https://you.blob.core.windows.net/your-container/a.txt?")


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJ"
    "RU5ErkJggg=="
)


@pytest.mark.parametrize(
    ("start", "needs", "hook"),
    [
        ("def only_images", "filetype", "only_images"),
        ("def decodes", "PIL", "decodes"),
    ],
)
def test_accept(start: str, needs: str, hook: str) -> None:
    """The recipes let images through, and refuse what only says that it is one."""
    pytest.importorskip(needs)
    names = run(start, app=Flask(__name__), RefusedError=RefusedError)
    provider = MemoryStore(config=Config(accept=names[hook]))
    assert provider.save(io.BytesIO(PNG), "a.png").content_type == "image/png"
    with pytest.raises(RefusedError, match=r"image\."):
        provider.save(io.BytesIO(b"MZ\x90"), "b.png")
    assert [str(file) for file in provider.list()] == ["a.png"]


def test_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe refuses what the scanner finds, and a scanner that is down stops."""
    clamd = pytest.importorskip("clamd")
    hook = run("def scan", RefusedError=RefusedError)["scan"]
    provider = MemoryStore(config=Config(accept=hook))
    monkeypatch.setattr(clamd.ClamdUnixSocket.__init__, "__defaults__", ("/none", 1))
    with pytest.raises(clamd.ConnectionError, match="none"):
        provider.save(io.BytesIO(b"x"), "a.txt")
    assert list(provider.list()) == []


def test_s3(app: Flask) -> None:
    """The S3 store starts with its three keys, and signs a form."""
    pytest.importorskip("boto3")
    run('app.config["STORE_S3_BUCKET"]', app=app)
    keys = {"STORE_S3_ACCESS_KEY": "key", "STORE_S3_SECRET_KEY": "secret"}
    app.config.update(keys)
    store = Store(app)
    run("@app.post(\"/direct\")", app=app, store=store, request=flask.request,
        session=flask.session)  # fmt: skip
    answer = app.test_client().post("/direct", data={"filename": "a.png"}).json
    assert answer is not None
    assert answer["url"].startswith("https://your-bucket.s3.")
    assert answer["fields"]["Content-Type"] == "image/png"
    with app.app_context():
        assert store.Provider().absolute_url("a.png") == (
            "https://your-bucket.s3.eu-central-1.amazonaws.com/a.png"
        )


def test_confirm(app: Flask) -> None:
    """Nothing is confirmed that was not uploaded."""
    confirmed = []

    class Confirming(MemoryStore):
        def confirm(self, name: str) -> str:
            confirmed.append(name)
            return name

    class Stores:
        def Provider(self) -> Confirming:  # noqa: N802 - as ours
            return Confirming()

    names = run(
        '@app.post("/direct/done")',
        app=app,
        store=Stores(),
        session={"upload": "a.png"},
    )
    assert names["direct_done"]() == {"name": "a.png"}
    assert confirmed == ["a.png"]


def test_several_stores(tmp_path: Path) -> None:
    """The stores of the sample start, and keep files."""
    pytest.importorskip("boto3")
    app = Flask(__name__, instance_path=str(tmp_path))
    code = sample('app.config["STORES"]').replace("/srv/private", str(tmp_path / "p"))
    store = Store()
    names: dict[str, Any] = {"app": app, "store": store, "__name__": "readme"}
    app.secret_key = "secret"
    exec(code, names)
    store.init_app(app)
    with app.app_context():
        file = names["keep"](FileStorage(io.BytesIO(b"x"), "a.png"))
    assert (str(file), file.store) == ("scans/a.png", "private")


def test_signals(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """The receivers take what the signals give."""
    names = run("from flask_store import upload_failed")
    with caplog.at_level("INFO"):
        upload_finished.send(app, file="a.txt")
        upload_failed.send(app, file="b.txt", error=NoFileError())
    upload_finished.disconnect(names["finished"])
    upload_failed.disconnect(names["failed"])
    assert "a.txt can be read" in caplog.text
    assert "b.txt stays in the spool" in caplog.text


def test_queue() -> None:
    """The hook puts a job into the queue, whose worker finds the store."""
    pytest.importorskip("rq")
    calls: list[tuple[Any, ...]] = []

    class Queue:
        def enqueue(self, *arguments: object, **_: object) -> None:
            calls.append(arguments)

    def create_app() -> Flask:
        app = Flask(__name__)
        app.config["STORE_PROVIDER"] = "flask_store.stores.memory.MemoryStore"
        names["store"].init_app(app)
        return app

    names = run("from rq", Store=Store, queue=Queue(), create_app=create_app)
    names["store"].enqueue("default", "1")
    assert calls == [(names["send"], "default", "1")]
    with pytest.raises(NotImplementedError, match=r"^$"):
        names["send"]("default", "1")


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has its column."""
    orm = pytest.importorskip("sqlalchemy.orm")
    # Where SQLAlchemy looks up what an annotation names.
    module = types.ModuleType("readme")
    vars(module).update(FileWrapper=FileWrapper, Mapped=orm.Mapped)
    monkeypatch.setitem(sys.modules, "readme", module)
    names = run(
        "from flask_store.sqlalchemy",
        Base=orm.declarative_base(),
        mapped_column=orm.mapped_column,
        **vars(module),
    )
    assert names["User"].picture.type.destination == "avatars"


def test_contract() -> None:
    """The contract is there for one's own provider."""
    names = run("from flask_store.testing", MyStore=MemoryStore)
    assert names["TestMyStore"]().simultaneous == 16


def test_uploads_that_resume(tmp_path: Path) -> None:
    """The blueprint of the sample takes an upload of the session's user."""
    app = Flask(__name__)
    app.config |= {"STORE_PATH": str(tmp_path), "SECRET_KEY": "a key"}
    store = Store(app)
    run("def authorize", app=app, store=store)
    client = app.test_client()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "0"}
    assert client.post("/uploads", headers=headers).status_code == 403
    with client.session_transaction() as session:
        session["user"] = "ada"
    assert client.post("/uploads", headers=headers).status_code == 201
    assert [file.name for file in store_files(app, store)] == ["file"]


def test_uploads_in_parts(tmp_path: Path) -> None:
    """The sample adds the routes that Uppy asks."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), SECRET_KEY="secret")
    store = Store(app)
    run(
        'app.register_blueprint(store.companion("/companion"',
        app=app, store=store, authorize=lambda step, upload: "me",
    )  # fmt: skip
    made = app.test_client().post("/companion/s3/multipart", json={"filename": "a"})
    assert made.status_code == 200


def store_files(app: Flask, store: Store) -> list[FileWrapper]:
    """Return the files of an app's store."""
    with app.app_context():
        return list(store.Provider().list())
