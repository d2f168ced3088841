"""The commands under ``flask store``."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_store import BackendError
from flask_store import Store
from flask_store.stores import BaseStore


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app with a local store, run in a folder of its own."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "uploads")
    Store(app)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return app


@pytest.fixture
def provider(app: Flask) -> BaseStore:
    """The app's provider."""
    provider = app.extensions["store"].provider
    assert isinstance(provider, BaseStore)
    return provider


def run(app: Flask, *arguments: str) -> Result:
    """Run a command."""
    return app.test_cli_runner().invoke(args=["store", *arguments])


def test_put_and_ls(app: Flask, provider: BaseStore) -> None:
    """A file that was put is listed."""
    Path("a.txt").write_text("content")
    Path("b.txt").write_text("")
    result = run(app, "put", "a.txt", "b.txt", "--to", "folder")
    assert result.exit_code == 0
    assert "folder/a.txt" in result.output.splitlines()
    assert provider.size("folder/a.txt") == 7
    result = run(app, "ls", "folder/a")
    assert result.output.split()[0] == "7"
    assert result.output.split()[-1] == "folder/a.txt"
    assert run(app, "ls", "none/").output == ""
    listed = json.loads(run(app, "ls", "folder/a", "--json").output)
    assert (listed["name"], listed["size"]) == ("folder/a.txt", 7)
    assert datetime.fromisoformat(listed["modified"]).tzinfo is not None


def test_progress(app: Flask, provider: BaseStore, tmp_path: Path) -> None:
    """A bar shows how far a large file has come."""
    Path("large.bin").write_bytes(b"x" * 3_000_000)
    assert "large.bin" in run(app, "put", "large.bin").output
    assert provider.size("large.bin") == 3_000_000
    assert run(app, "get", "large.bin", "copy.bin").exit_code == 0
    assert Path("copy.bin").stat().st_size == 3_000_000


def test_get(app: Flask, provider: BaseStore) -> None:
    """A file is copied here under its own name, and never over another."""
    provider.save(io.BytesIO(b"content"), "folder/a.txt")
    assert run(app, "get", "folder/a.txt").exit_code == 0
    assert Path("a.txt").read_text() == "content"
    Path("a.txt").write_text("mine")
    result = run(app, "get", "folder/a.txt")
    assert result.exit_code == 1
    assert "a.txt already exists" in result.output
    assert Path("a.txt").read_text() == "mine"


def test_get_that_is_cut(
    app: Flask, provider: BaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fails midway leaves nothing, so that it can be tried again."""
    provider.save(io.BytesIO(b"content"), "a.txt")

    class Cut(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if data := super().read(3):
                return data
            raise BackendError("read", "a.txt", "the line broke")

    with monkeypatch.context() as patch:
        patch.setattr(type(provider), "open", lambda *_: Cut(b"content"))
        result = run(app, "get", "a.txt")
    assert (result.exit_code, "the line broke" in result.output) == (1, True)
    assert list(Path().iterdir()) == []
    assert run(app, "get", "a.txt").exit_code == 0
    assert [path.name for path in Path().iterdir()] == ["a.txt"]


def test_rm(app: Flask, provider: BaseStore) -> None:
    """Files are deleted, and missing ones are reported."""
    provider.save(io.BytesIO(b""), "a.txt")
    result = run(app, "rm", "a.txt", "b.txt")
    assert result.exit_code == 1
    assert "not in the store: b.txt" in result.output
    assert not provider.exists("a.txt")
    provider.save(io.BytesIO(b""), "b.txt")
    assert run(app, "rm", "b.txt").exit_code == 0
    assert not provider.exists("b.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "none.txt"), "Error: 'none.txt' is not in the store"),
        (("rm", "../x"), "Error: '../x' is not the name of a file"),
    ],
)
def test_errors(app: Flask, arguments: tuple[str, ...], message: str) -> None:
    """An error is one line."""
    result = run(app, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_resume_and_check(app: Flask) -> None:
    """A store without work in the background has nothing to resume."""
    assert "0 to send" in run(app, "resume").output
    output = run(app, "check", "--clean").output
    assert "files can be saved" in output
    assert "0 files of killed processes removed" in output


def test_check_for_scripts(app: Flask) -> None:
    """Each finding is an object, which names its store."""
    lines = run(app, "check", "--json").output.splitlines()
    found = [json.loads(line) for line in lines]
    assert {it["store"] for it in found} == {"default"}
    assert any("files can be saved" in it["finding"] for it in found)


@pytest.mark.parametrize("command", ["", "check", "jobs", "sweep", "uploads"])
def test_examples(app: Flask, command: str) -> None:
    """The help of what takes options shows how they are used."""
    output = run(app, *command.split(), "--help").output
    assert f"  flask store {command}" in output.partition("Examples:")[2]
