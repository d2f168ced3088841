"""The extension on an app."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import flask_store
from flask_store import ConfigError
from flask_store import FileWrapper
from flask_store import MissingDependencyError
from flask_store import NotConfiguredError
from flask_store import Provider
from flask_store import SetupError
from flask_store import Store
from flask_store.config import Config
from flask_store.stores import BaseStore
from flask_store.stores.local import LocalStore
from flask_store.stores.memory import MemoryStore


MEMORY = "flask_store.stores.memory.MemoryStore"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with an instance folder of its own."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config["SECRET_KEY"] = "secret"
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app, which saves what is posted to ``/upload``."""
    store = Store(app)

    @app.post("/upload")
    def upload() -> str:
        return store.Provider().save(request.files.get("afile")).absolute_url()

    return app.test_client()


def post(client: FlaskClient, data: bytes, filename: str) -> str:
    """Upload a file; return its URL."""
    form = {"afile": (io.BytesIO(data), filename)}
    return client.post("/upload", data=form).text


def test_upload_and_fetch(client: FlaskClient) -> None:
    """An upload's URL gives the file."""
    url = post(client, b"content", "local file.jpg")
    assert url == "/flaskstore/local%20file.jpg"
    with client.get(url) as response:
        assert response.status_code == 200
        assert response.data == b"content"
        assert response.mimetype == "image/jpeg"


@pytest.mark.parametrize("mount", ["/shop", "/süß %41/b"])
def test_mounted(app: Flask, client: FlaskClient, mount: str) -> None:
    """URLs lead to the file wherever the app is mounted."""
    wsgi = mount.encode().decode("latin-1")
    mounted = DispatcherMiddleware(Flask("other"), {wsgi: app})
    outside = Client(mounted)
    form = {"afile": (io.BytesIO(b"content"), "a b.txt")}
    url = outside.post(f"{quote(mount)}/upload", data=form).text
    assert url == f"{quote(mount)}/flaskstore/a%20b.txt"
    with outside.get(url) as response:
        assert (response.status_code, response.data) == (200, b"content")
    # Where no request tells, the configuration does.
    app.config["APPLICATION_ROOT"] = mount
    with app.app_context():
        file = Provider().file("a b.txt")
        assert (file.relative_url(), file.absolute_url()) == (url, url)


def test_mounted_with_domain(app: Flask) -> None:
    """``STORE_DOMAIN`` is where browsers reach the files, mount point included."""
    app.config["STORE_DOMAIN"] = "https://example.com/shop"
    Store(app)
    with app.test_request_context(base_url="https://example.com/shop"):
        file = Provider().file("a.txt")
        assert file.absolute_url() == "https://example.com/shop/flaskstore/a.txt"
        assert file.relative_url() == "/shop/flaskstore/a.txt"


def test_form_without_file(client: FlaskClient) -> None:
    """A form without a file is the client's mistake."""
    response = client.post("/upload", data={})
    assert response.status_code == 400
    assert "No file was sent" in response.text


@pytest.mark.parametrize(
    ("domain", "prefix", "url"),
    [
        ("", "/flaskstore", "/flaskstore/a.txt"),
        (
            "http://127.0.0.1:5000",
            "/flaskstore",
            "http://127.0.0.1:5000/flaskstore/a.txt",
        ),
        ("https://x.example/static/", "/up", "https://x.example/static/up/a.txt"),
        ("https://x.example", "/", "https://x.example/a.txt"),
    ],
)
def test_absolute_url(app: Flask, domain: str, prefix: str, url: str) -> None:
    """The absolute URL has the domain, its path, the prefix and the name."""
    app.config.update(STORE_DOMAIN=domain, STORE_URL_PREFIX=prefix)
    store = Store(app)
    with app.app_context():
        assert store.Provider().file("a.txt").absolute_url() == url


def test_default_path(app: Flask) -> None:
    """Without a path files go to the instance folder, never the working one."""
    store = Store(app)
    with app.app_context():
        file = store.Provider().save(io.BytesIO(b""), "a.txt")
    assert file.absolute_path() == str(Path(app.instance_path, "uploads", "a.txt"))
    assert Path(file.absolute_path()).exists()


def test_factory() -> None:
    """One extension serves two apps, each with its own store."""
    store = Store()
    apps = Flask("one"), Flask("two")
    for app in apps:
        app.config["STORE_PROVIDER"] = MEMORY
        store.init_app(app)
    with apps[0].app_context():
        store.Provider().save(io.BytesIO(b""), "a.txt")
        assert store.Provider().exists("a.txt")
    with apps[1].app_context():
        assert not store.Provider().exists("a.txt")


def test_provider_proxy(app: Flask) -> None:
    """The package's function gives the current app's provider, or a folder of it."""
    app.config["STORE_PROVIDER"] = MEMORY
    Store(app)
    with app.app_context():
        assert isinstance(flask_store.Provider(), MemoryStore)
        file = flask_store.Provider("folder").save(io.BytesIO(b""), "a.txt")
        assert str(file) == "folder/a.txt"
        assert repr(file) == "FileWrapper(name='folder/a.txt')"


def test_set_up_twice(app: Flask) -> None:
    """A second store on one app is refused."""
    Store(app)
    with pytest.raises(SetupError, match="already set up"):
        Store().init_app(app)


def test_not_set_up(app: Flask) -> None:
    """Without the extension the error says what to call."""
    with app.app_context(), pytest.raises(SetupError, match=r"init_app\(app\) first"):
        Store().Provider()


@pytest.mark.parametrize(
    "name", ["no.such.module.Store", "flask_store.stores.local.NoStore"]
)
def test_provider_that_is_not_there(app: Flask, name: str) -> None:
    """A provider that cannot be imported is a wrong value."""
    app.config["STORE_PROVIDER"] = name
    with pytest.raises(
        ConfigError, match=f"STORE_PROVIDER is '{name}': set the dotted"
    ):
        Store(app)


def test_provider_that_is_none(app: Flask) -> None:
    """Something else than a provider's class is a wrong value."""
    app.config["STORE_PROVIDER"] = "flask_store._names.clean"
    with pytest.raises(ConfigError, match="set the name of a provider"):
        Store(app)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"STORE_PATH": ""}, "STORE_PATH"),
        ({"STORE_PROVIDER": "flask_store.stores.s3.S3Store"}, "STORE_S3_BUCKET"),
        (
            {
                "STORE_PROVIDER": "flask_store.stores.s3.S3GeventStore",
                "STORE_S3_BUCKET": "b",
                "STORE_SPOOL_PATH": "",
            },
            "STORE_SPOOL_PATH",
        ),
    ],
)
def test_not_configured(app: Flask, config: dict[str, str], key: str) -> None:
    """A key that the provider needs is asked for by name."""
    app.config.update(config)
    with pytest.raises(NotConfiguredError, match=rf"{key} is .*: set it; ") as caught:
        Store(app)
    assert caught.value.key == key


@pytest.mark.parametrize("path", [None, "relative/uploads"])
def test_local_path_has_to_be_absolute(path: str | None) -> None:
    """A path that depends on where the app was started is refused."""
    config = Config(path=path)
    with pytest.raises(ConfigError, match=r"STORE_PATH is .*absolute path"):
        LocalStore(config=config)


def test_custom_provider(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of one's own has defaults, required keys, and its keys at hand."""

    class Custom(BaseStore):
        """A provider that only has its configuration."""

        REQUIRED_CONFIGURATION = ("STORE_CUSTOM_BUCKET",)

        @classmethod
        def app_defaults(cls, app: Flask) -> None:
            """Set a default."""
            app.config.setdefault("STORE_CUSTOM_BUCKET", "b")

    module = ModuleType("custom_provider")
    module.Custom = Custom  # type: ignore[attr-defined] # a module made up
    monkeypatch.setitem(sys.modules, "custom_provider", module)
    app.config["STORE_PROVIDER"] = "custom_provider.Custom"
    store = Store(app)
    with app.app_context():
        assert store.Provider().config.other == {"STORE_CUSTOM_BUCKET": "b"}
    assert store.provider(app) is Custom
    assert not any(rule.endpoint == "flaskstore" for rule in app.url_map.iter_rules())


def test_base_store() -> None:
    """Methods that a provider has to implement raise NotImplementedError."""
    store = BaseStore("folder")
    assert store.destination == "folder"
    assert store.register_route is False
    calls: list[Callable[[], object]] = [
        lambda: store.save(None),
        lambda: store.open("a"),
        lambda: store.exists("a"),
        lambda: store.delete("a"),
        lambda: store.size("a"),
        lambda: store.modified("a"),
        lambda: store.list(),
        lambda: store.join("a"),
        lambda: store.spool("a"),
        lambda: store.deliver("1"),
    ]
    for call in calls:
        # The exception has nothing to say.
        with pytest.raises(NotImplementedError, match=r"^$"):
            call()
    store.start()
    assert store.pending() == ()
    assert store.wait()
    assert not store.retry("1")
    assert list(store.check()) == ["BaseStore: nothing to check"]
    assert store.url_join("/a/", "b c") == "/a/b%20c"


def test_url_without_secret_key(app: Flask) -> None:
    """A URL cannot be signed without the app's secret key."""
    app.config["SECRET_KEY"] = None
    store = Store(app)
    with (
        app.app_context(),
        pytest.raises(ConfigError, match=r"SECRET_KEY is None: set"),
    ):
        store.Provider().url("a.txt", expires=1)


@pytest.mark.parametrize(
    "wrong", ["name.txt", 1, io.StringIO("text")], ids=["name", "int", "text"]
)
def test_what_is_no_upload(app: Flask, wrong: object) -> None:
    """Something else than an upload or a binary stream is a mistake in the code."""
    store = Store(app)
    with app.app_context(), pytest.raises(TypeError, match=r"not (str|int|StringIO)"):
        store.Provider().save(wrong)  # type: ignore[arg-type] # the mistake


@pytest.mark.parametrize(
    ("module", "provider", "extra"),
    [
        ("boto3", "flask_store.stores.s3.S3Store", "s3"),
        ("gevent", "flask_store.stores.s3.S3GeventStore", "gevent"),
    ],
)
def test_missing_dependency(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    provider: str,
    extra: str,
) -> None:
    """Without its optional package a provider fails at start, and says what to do."""
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == module else name
    )
    app.config.update(STORE_PROVIDER=provider, STORE_S3_BUCKET="b")
    with pytest.raises(MissingDependencyError, match=rf"flask-store\[{extra}\]"):
        Store(app)


def test_flask_wtf_and_friends_keep_their_upload(app: Flask) -> None:
    """The saved file knows its name; the upload itself can be saved again."""
    app.config["STORE_PROVIDER"] = MEMORY
    store = Store(app)
    upload = FileStorage(io.BytesIO(b"content"), "a.txt")
    with app.app_context():
        files = [store.Provider().save(upload) for _ in range(2)]
        assert all(isinstance(file, FileWrapper) for file in files)
        assert len({str(file) for file in store.Provider().list()}) == 2
