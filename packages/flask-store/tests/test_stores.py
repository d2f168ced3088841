"""Several stores in one app."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_store import ConfigError
from flask_store import Provider
from flask_store import SetupError
from flask_store import Store
from flask_store.stores.local import LocalStore
from flask_store.stores.memory import MemoryStore


MEMORY = "flask_store.stores.memory.MemoryStore"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with a public and a private store, and one in memory."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config.update(
        SECRET_KEY="secret",
        STORE_PATH=str(tmp_path / "public"),
        STORES={
            "private": {"PATH": str(tmp_path / "private"), "PRIVATE": True},
            "memory": {"PROVIDER": MEMORY, "OPTIONS": {"OWN_KEY": 1}},
        },
    )
    return app


def test_stores(app: Flask, tmp_path: Path) -> None:
    """Each store keeps its own files, under its own configuration."""
    store = Store(app)
    with app.app_context():
        public = store.Provider().save(io.BytesIO(b"public"), "a.txt")
        private = Provider("in", store="private").save(io.BytesIO(b"private"), "a.txt")
        memory = store.Provider(store="memory")
        memory.save(io.BytesIO(b"memory"), "a.txt")
        assert memory.config.other == {"STORE_OWN_KEY": 1}
        assert [str(it) for it in store.Provider(store="private").list()] == [
            "in/a.txt"
        ]
    assert (tmp_path / "public/a.txt").read_bytes() == b"public"
    assert (tmp_path / "private/in/a.txt").read_bytes() == b"private"
    assert (str(private), private.store, public.store) == (
        "in/a.txt",
        "private",
        "default",
    )
    assert private.provider.config.private
    assert not public.provider.config.private


def test_serving(app: Flask) -> None:
    """Each store has its own URLs, and a signature opens one store's file only."""
    store = Store(app)
    client = app.test_client()
    with app.app_context():
        for name in ("default", "private", "memory"):
            data = name.encode()
            store.Provider(store=name).save(io.BytesIO(data), "a.txt")
        signed = store.Provider(store="private").url("a.txt", expires=60)
        foreign = store.Provider().url("a.txt", expires=60)
    query = foreign.partition("?")[2]
    for url, status, data in (
        ("/flaskstore/a.txt", 200, b"default"),
        ("/flaskstore-memory/a.txt", 200, b"memory"),
        ("/flaskstore-private/a.txt", 403, b""),
        (signed, 200, b"private"),
        (f"/flaskstore-private/a.txt?{query}", 403, b""),
    ):
        with client.get(url) as response:
            assert response.status_code == status
            assert data in {b"", response.data}


def test_equal_files(app: Flask) -> None:
    """Files are equal where the store and the name are."""
    store = Store(app)
    with app.app_context():
        file = store.Provider().file("a.txt")
        assert file == store.Provider("b").within(None).file("a.txt")
        assert hash(file) == hash(store.Provider().file("a.txt"))
        assert file != store.Provider().file("b.txt")
        assert file != store.Provider(store="private").file("a.txt")
        assert file != "a.txt"


def test_unknown_store(app: Flask) -> None:
    """A store that is not there is an error that names the nearest."""
    store = Store(app)
    with app.app_context():
        with pytest.raises(SetupError, match="'privat'; did you mean 'private'"):
            store.Provider(store="privat")
        with pytest.raises(SetupError, match="'x'; add it to STORES"):
            store.Provider(store="x")


@pytest.mark.parametrize(
    ("stores", "error"),
    [
        (None, "STORES is None: set a mapping"),
        ({"a b": {}}, r"STORES\['a b'\] is .*name a store with letters"),
        ({"default": {}}, r"STORES\['default'\] is .*STORE_ keys"),
        ({"a": None}, r"STORES\['a'\] is None: set a mapping"),
        ({"a": {"PRIVAT": True}}, r"STORES\['a'\]\['PRIVAT'\].*did you mean PRIVATE"),
        ({"a": {"ZZZ": 1}}, r"STORES\['a'\]\['ZZZ'\].*set it in 'OPTIONS'"),
        ({"a": {"FSYNC": 1}}, r"STORES\['a'\]\['FSYNC'\] is 1: set True or False"),
        ({"a": {"PATH": "x"}}, r"STORES\['a'\]\['PATH'\] is 'x'.*absolute path"),
        ({"a": {"PATH": "{public}"}}, "is the location of the store 'default'"),
        ({"a": {"PATH": "{public}/in"}}, "lies in the location of the store 'default'"),
        ({"a": {"PATH": "{public}/.."}}, "lies in the location of the store 'a'"),
        (
            {"a": {"PATH": "{public}2", "URL_PREFIX": "/flaskstore"}},
            r"\['URL_PREFIX'\] is '/flaskstore': the store '.*' has it",
        ),
        (
            {"a": {"PROVIDER": "flask_store.stores.s3.S3Store"}},
            r"STORES\['a'\]\['S3_BUCKET'\] is None: set it",
        ),
    ],
)
def test_wrong_stores(app: Flask, tmp_path: Path, stores: Any, error: str) -> None:
    """Mistakes are reported at start-up, with their place in the mapping."""
    for keys in (stores or {}).values():
        if keys and "PATH" in keys:
            keys["PATH"] = keys["PATH"].replace("{public}", str(tmp_path / "public"))
    app.config["STORES"] = stores
    with pytest.raises(ConfigError, match=error):
        Store(app)
    assert "store" not in app.extensions


def test_keys_of_a_provider(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Keys that a provider declares or sets are known, in every store."""
    app.config.update(
        STORE_PROVIDER=f"{__name__}.GcsStore",
        STORE_GCS_BUCKET="b",
        STORE_GCS_PREFIX="p",
        STORES={"other": {"PROVIDER": f"{__name__}.GcsStore", "GCS_BUCKET": "c"}},
    )
    Store(app)
    state = app.extensions["store"]
    assert state.config.other["STORE_GCS_BUCKET"] == "b"
    other = state.of("other").config.other
    assert (other["STORE_GCS_BUCKET"], other["STORE_GCS_PREFIX"]) == ("c", "files")
    assert caplog.text == ""
    del app.extensions["store"]
    app.config["STORE_GCS_BUKET"] = app.config.pop("STORE_GCS_BUCKET")
    with pytest.raises(ConfigError, match="did you mean STORE_S3_BUCKET"):
        Store(app)


class GcsStore(MemoryStore):
    """A provider with keys of its own."""

    REQUIRED_CONFIGURATION = ("STORE_GCS_BUCKET",)

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Set a prefix."""
        app.config.setdefault("STORE_GCS_PREFIX", "files")


def test_ignored_keys(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """The app says which keys under the prefix are its own."""
    app.config["STORE_PRIVAT"] = app.config["STORE_NAME"] = "Corner"
    Store(app, ignore_keys=["STORE_PRIVAT", "STORE_NAME"])
    assert caplog.text == ""


def test_config_command(app: Flask) -> None:
    """The command shows what is in force in each store, and no secret."""
    keys = {
        "S3_ACCESS_KEY": "id",
        "S3_SECRET_KEY": "sesame",
        "OPTIONS": {"T": "sesame"},
    }
    app.config["STORES"]["private"] |= keys
    app.config["STORE_S3_ENDPOINT_URL"] = "https://me:sesame@s3.example"
    Store(app)
    runner = app.test_cli_runner()
    shown = runner.invoke(args=["store", "config"])
    assert shown.exit_code == 0
    assert "sesame" not in shown.output
    lines = shown.output.splitlines()
    assert "* STORE_S3_ENDPOINT_URL = 'https://***@s3.example'" in lines
    assert lines.index("STORES['private']:") < lines.index("* STORE_PRIVATE = True")
    assert "* STORE_S3_SECRET_KEY = '***'" in lines
    assert "  STORE_T = '***'" in lines
    one = runner.invoke(args=["store", "--store", "memory", "config"]).output
    assert one.splitlines()[0] == "STORES['memory']:"
    assert one.count("STORE_PROVIDER") == 1


def test_linked_folders(app: Flask, tmp_path: Path) -> None:
    """A link to another store's folder is the same place."""
    (tmp_path / "public").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "public")
    app.config["STORES"] = {"a": {"PATH": str(tmp_path / "link")}}
    with pytest.raises(ConfigError, match="is the location of the store"):
        Store(app)


def test_buckets(app: Flask, tmp_path: Path) -> None:
    """Two stores may share a bucket, but not a part of it."""
    pytest.importorskip("boto3")
    keys = {"PROVIDER": "flask_store.stores.s3.S3Store", "S3_BUCKET": "b"}
    app.config["STORES"] = {"a": {**keys, "PATH": "a"}, "ab": {**keys, "PATH": "ab"}}
    Store(app)
    other = Flask(__name__, instance_path=str(tmp_path / "other"))
    other.config["STORES"] = {"a": {**keys, "PATH": "a"}, "b": keys}
    with pytest.raises(ConfigError, match="lies in the location of the store 'b'"):
        Store(other)


def test_environment(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores can be set by environment variables."""
    monkeypatch.setenv("FLASK_STORES__archive__PATH", str(tmp_path / "archive"))
    app.config.from_prefixed_env()
    Store(app)
    with app.app_context():
        archive = Provider(store="archive")
    assert isinstance(archive, LocalStore)
    assert archive.root == tmp_path / "archive"


def test_commands(app: Flask) -> None:
    """Commands take a store; check without one takes all."""
    store = Store(app)
    with app.app_context():
        store.Provider().save(io.BytesIO(b""), "public.txt")
        store.Provider(store="private").save(io.BytesIO(b""), "private.txt")
    runner = app.test_cli_runner()
    listed = runner.invoke(args=["store", "--store", "private", "ls"]).output
    assert listed.split()[-1] == "private.txt"
    assert runner.invoke(args=["store", "ls"]).output.split()[-1] == "public.txt"
    checked = runner.invoke(args=["store", "check"]).output
    assert [line.split(":")[0] for line in checked.splitlines()] == [
        "default",
        "default",
        "private",
        "private",
        "memory",
    ]
    wrong = runner.invoke(args=["store", "--store", "x", "ls"])
    assert (wrong.exit_code, "there is no store 'x'" in wrong.output) == (1, True)


def test_private_needs_a_key(tmp_path: Path) -> None:
    """A private store without a key does not start."""
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["STORE_PRIVATE"] = True
    with pytest.raises(ConfigError, match="SECRET_KEY is None"):
        Store(app)


def test_endless_time(app: Flask) -> None:
    """A time of thousands of digits is refused."""
    Store(app)
    url = f"/flaskstore-private/a.txt?expires={'9' * 5000}&signature=x"
    assert app.test_client().get(url).status_code == 403


def test_opened_file(app: Flask, tmp_path: Path) -> None:
    """A file that the app opened keeps its name, without its folder."""
    store = Store(app)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with app.app_context(), (tmp_path / "photo.jpg").open("rb") as file:
        assert str(store.Provider().save(file)) == "photo.jpg"


def test_deleted_before_it_is_sent(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is deleted between the look and the answer is missing."""
    store = Store(app)
    found = LocalStore.attributes

    def delete_after(self: LocalStore, name: str) -> object:
        attributes = found(self, name)
        self.delete(name)
        return attributes

    monkeypatch.setattr(LocalStore, "attributes", delete_after)
    with app.app_context():
        store.Provider().save(io.BytesIO(b"x"), "a.txt")
    assert app.test_client().get("/flaskstore/a.txt").status_code == 404


def test_uploads_of_a_store(app: Flask, tmp_path: Path) -> None:
    """Uploads that resume go to the store that they are for, and are listed by it."""
    store = Store(app)
    for name in ("default", "private"):
        routes = store.tus(
            f"/{name}", authorize=lambda *_: "me", store=name, name=f"{name}_uploads"
        )
        app.register_blueprint(routes)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "7",
        "Upload-Metadata": "filename YS50eHQ=",
        "Content-Type": "application/offset+octet-stream",
    }
    client = app.test_client()
    assert client.post("/private", headers=headers, data=b"content").status_code == 201
    assert (tmp_path / "private/a.txt").read_bytes() == b"content"
    assert not (tmp_path / "public/a.txt").exists()
    runner = app.test_cli_runner()
    listed = {
        name: runner.invoke(args=["store", "--store", name, "uploads"]).output
        for name in ("default", "private")
    }
    assert listed["default"] == ""
    assert "a.txt" in listed["private"]
