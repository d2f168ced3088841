"""The provider over obstore, on the back ends that need no server."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store import BackendError
from flask_store import ConfigError
from flask_store import MissingDependencyError
from flask_store import NotConfiguredError
from flask_store import NotFoundError
from flask_store import SetupError
from flask_store import Store
from flask_store import _obstore
from flask_store.config import Config
from flask_store.stores import obstore as module
from flask_store.stores.obstore import ObjectStore
from flask_store.testing import ProviderContract


pytest.importorskip("obstore", reason="pip install 'flask-store[obstore]'")
MEMORY = {"STORE_OBSTORE_URL": "memory:///"}


def make(**keys: Any) -> ObjectStore:
    """Return a provider."""
    values = {**MEMORY, "SECRET_KEY": "key", **keys}
    return ObjectStore(config=Config.from_mapping(values))


class TestMemory(ProviderContract):
    """The contract over obstore's memory."""

    @pytest.fixture
    def provider(self) -> ObjectStore:
        """An empty store."""
        return make(STORE_PATH="some/where")


class TestParts(ProviderContract):
    """The contract with files that are sent in parts."""

    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
        """An empty store."""
        monkeypatch.setattr(module, "LARGEST_PUT", 1 << 20)
        return make()


class TestFolder(ProviderContract):
    """The contract over obstore's folder, which keeps no attributes."""

    keeps_attributes = False

    @pytest.fixture
    def provider(self, tmp_path: Path) -> ObjectStore:
        """An empty store."""
        return make(STORE_OBSTORE_URL=f"file://{tmp_path}")


def test_parts_overwrite_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file gets a name of its own, as no condition holds for its parts."""
    monkeypatch.setattr(module, "LARGEST_PUT", 3)
    provider = make()
    names = {provider.save(io.BytesIO(b"four"), "a.txt").name for _ in range(2)}
    assert len(names) == 2
    assert "a.txt" not in names
    assert provider.save(io.BytesIO(b"one"), "a.txt").name == "a.txt"


def test_metadata_keys() -> None:
    """Keys that Azure does not allow come back as they were."""
    metadata = {"a-b": "1", "2nd": "2", "flask": "ä"}
    file = make().save(io.BytesIO(b""), "a.txt", metadata=metadata)
    assert file.attributes.metadata == metadata
    sent = _obstore.to_fields(file.attributes, "a.txt")
    assert {"a_b", "_2nd", "flask"} <= sent.keys()
    assert all(key.isidentifier() for key in sent.keys() - set(_obstore.HEADERS))


@pytest.mark.parametrize(
    ("keys", "key", "match"),
    [
        ({"STORE_OBSTORE_URL": 1}, "STORE_OBSTORE_URL", "set a URL such as"),
        ({"STORE_OBSTORE_URL": "bucket"}, "STORE_OBSTORE_URL", "set a URL such as"),
        ({"STORE_OBSTORE_URL": "gs://b/path"}, "STORE_OBSTORE_URL", "STORE_PATH"),
        ({"STORE_OBSTORE_URL": "az://b"}, "STORE_OBSTORE_OPTIONS", "Account must"),
        (
            {"STORE_OBSTORE_OPTIONS": {"config": {"nope": "hidden"}}},
            "STORE_OBSTORE_OPTIONS",
            "obstore reports",
        ),
    ],
    ids=["number", "no scheme", "path", "no account", "unknown option"],
)
def test_configuration(keys: dict[str, Any], key: str, match: str) -> None:
    """Options that obstore refuses fail at start-up, and show no secret."""
    with pytest.raises(ConfigError, match=match) as error:
        make(**{"STORE_OBSTORE_URL": "gs://b", **keys})
    assert error.value.key == key
    assert "hidden" not in str(error.value)


def app_of(**config: Any) -> Flask:
    """Return an app with the store."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="key",
        STORE_PROVIDER="flask_store.stores.obstore.ObjectStore",
        **config,
    )
    Store(app)
    return app


def test_url_is_required() -> None:
    """An app without the bucket does not start."""
    with pytest.raises(NotConfiguredError, match="STORE_OBSTORE_URL is None"):
        app_of()


def test_nested_folder(tmp_path: Path) -> None:
    """A folder within another store's is refused."""
    with pytest.raises(
        ConfigError, match="lies in the location of the store 'default'"
    ):
        app_of(
            STORE_OBSTORE_URL=f"file://{tmp_path}",
            STORES={"other": {"PATH": str(tmp_path / "other")}},
        )


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore, the app says how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(MissingDependencyError, match=r"flask-store\[obstore\]"):
        make()


def test_served() -> None:
    """The app serves the files, in ranges and in a sandbox."""
    app = app_of(**MEMORY)
    with app.app_context():
        provider = Store.Provider(Store())
        file = provider.save(FileStorage(io.BytesIO(b"<script>"), "a.html"))
        url = file.url()
        signed = file.url(expires=60, download_name="b.html")
    client = app.test_client()
    answer = client.get(url, headers={"Range": "bytes=1-3"})
    assert (answer.status_code, answer.data) == (206, b"scr")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"] == "attachment; filename=a.html"
    assert "b.html" in client.get(signed).headers["Content-Disposition"]


def test_file_that_changes_while_it_is_read() -> None:
    """A file that was deleted and saved anew is not read as a mixture."""
    provider = make()
    provider.save(io.BytesIO(b"a" * 3_000_000), "a.txt")
    with provider.open("a.txt") as stream:
        assert stream.read(1) == b"a"
        provider.delete("a.txt")
        provider.save(io.BytesIO(b"b" * 3_000_000), "a.txt")
        with pytest.raises(BackendError, match=r"cannot read 'a\.txt'"):
            stream.read()
        with pytest.raises(ValueError, match="negative seek"):
            stream.seek(-1)
    with pytest.raises(NotFoundError, match=r"'b\.txt' is not in the store"):
        provider.open("b.txt")


def test_pages_go_on_after_a_name() -> None:
    """A page asks only for what comes after the page before."""
    provider = make(STORE_PATH="p")
    for number in range(5):
        provider.save(io.BytesIO(b""), f"{number}.txt")
    page = provider.page(limit=2, after="1.txt")
    assert [file.name for file in page.files] == ["2.txt", "3.txt"]


def test_uploads_that_resume(tmp_path: Path) -> None:
    """Unfinished uploads wait in the spool's folder."""
    with pytest.raises(ConfigError, match="STORE_SPOOL_PATH is None: set a folder"):
        make().uploads_place()
    app = app_of(**MEMORY, STORE_SPOOL_PATH=str(tmp_path))
    app.register_blueprint(Store().tus("/up", authorize=lambda step, upload: "me"))
    client = app.test_client()
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": "3"}
    url = client.post("/up", headers=fields).headers["Location"]
    fields = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    media_type = "application/offset+octet-stream"
    answer = client.patch(url, data=b"abc", headers=fields, content_type=media_type)
    assert answer.status_code == 204
    with app.app_context():
        (file,) = Store().Provider().list()
        assert file.open().read() == b"abc"


def test_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check tries whether names are unique."""
    provider = make()
    (found,) = provider.check()
    assert found == "memory:///: files can be saved, names are unique"
    assert list(provider.list()) == []
    # As a server does that ignores the condition.
    monkeypatch.setattr(provider, "_create", lambda *_: True)
    monkeypatch.setattr(provider._backend, "ask", lambda *_: None)
    with pytest.raises(BackendError, match="the server overwrites names"):
        next(provider.check())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_too_late() -> None:
    """A process whose parent used obstore gets an error instead of a hang."""
    provider = make()
    name = str(provider.save(io.BytesIO(b""), f"{uuid.uuid4().hex}.txt"))
    child = os.fork()
    if not child:
        try:
            provider.exists(name)
        except SetupError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
