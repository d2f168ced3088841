"""The commands of operators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Flask

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import _cli


if TYPE_CHECKING:
    from pathlib import Path

    from planned import Origin


@pytest.fixture
def origin(make_origin: type[Origin], tmp_path: Path) -> Origin:
    """An app on a shared backend."""
    origin = make_origin(url=f"file://{tmp_path}")
    origin.app.config["SERVER_NAME"] = "localhost"
    return origin


def run(origin: Origin, *arguments: str) -> Any:
    """Run ``flask webcache`` with arguments."""
    return origin.app.test_cli_runner().invoke(args=["webcache", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [["/"], ["http://localhost/"], ["--tag", "news"], ["--all"]],
    ids=str,
)
def test_purge(origin: Origin, arguments: list[str]) -> None:
    """A page purged on the command line is gone for the app."""
    origin.says("max-age=60", Cache_Tag="news")
    origin.get()
    result = run(origin, "purge", *arguments)
    assert (result.exit_code, result.output) == (0, "purged\n")
    assert origin.get().text == "made 2"


def test_purge_path_of_a_secure_site(origin: Origin) -> None:
    """A path is one of the site as its clients see it."""
    origin.app.config["PREFERRED_URL_SCHEME"] = "https"
    origin.says("max-age=60")
    origin.client.get("/a", base_url="https://localhost")
    assert run(origin, "purge", "/a").output == "purged\n"
    again = origin.client.get("/a", base_url="https://localhost")
    assert again.text == "made 2"


@pytest.mark.parametrize("arguments", [["purge", "--all"], ["stats"]], ids=str)
def test_debug_mode(tmp_path: Path, arguments: list[str]) -> None:
    """In debug mode a command says that it reaches no other process."""
    for salt, code in (("", 1), ("mine", 0)):
        app = Flask(__name__)
        app.debug = True
        WebCache(app, config=Config(url=f"file://{tmp_path}", master_salt=salt))
        result = app.test_cli_runner().invoke(args=["webcache", *arguments])
        assert result.exit_code == code
        assert ("set WEBCACHE_MASTER_SALT" in result.output) is (code == 1)


@pytest.mark.parametrize("arguments", [[], ["/", "--all"], ["--tag", "x", "--all"]])
def test_purge_of_what(origin: Origin, arguments: list[str]) -> None:
    """One thing is purged at a time."""
    result = run(origin, "purge", *arguments)
    assert result.exit_code == 2
    assert "one of URL, --tag TAG and --all" in result.output


def test_stats(origin: Origin) -> None:
    """The counters of all processes are added up."""
    origin.says("max-age=60")
    for _ in range(3):
        origin.get()
    for _ in range(2):
        lines = run(origin, "stats").output.splitlines()
        assert {"hit 2", "miss 1", "miss.uri-miss 1", "stored 1"} <= set(lines)
    assert json.loads(run(origin, "stats", "--json").output)["hit"] == 2


def test_counters_are_flushed(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process brings its counters along from time to time."""
    monkeypatch.setattr("flask_webcache._events.FLUSH_SECONDS", 0)
    cache = origin.app.extensions["webcache"].cache
    cache.events.flush(cache.stock, now=True)
    origin.says("max-age=60")
    origin.get()
    assert cache.events.counts.total() == 0


def test_explain_stored(origin: Origin) -> None:
    """A stored page is described."""
    origin.says("max-age=60", Cache_Tag="news")
    origin.get()
    lines = run(origin, "explain", "/").output.splitlines()
    assert lines[0] == "stored: 200 OK, 6 bytes"
    assert lines[1].startswith("age 0 s, fresh for ")
    assert lines[2] == "tags: news"
    assert lines[3].startswith("a GET now: 200 OK, flask-webcache; hit; ttl=")


def test_explain_varying(origin: Origin) -> None:
    """The selecting fields are named."""
    origin.says("max-age=60", Vary="Foo, Bar")
    origin.get(Foo="1")
    lines = run(origin, "explain", "/").output.splitlines()
    assert lines[0] == "varies by bar, foo"
    assert lines[1] == "1 variants are stored"
    assert lines[2] == "nothing is stored for a request without selecting fields"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("no-store", "not stored: it says no-store"),
        (None, f"not stored: {_cli.REASONS['no-freshness']}"),
    ],
)
def test_explain_not_stored(origin: Origin, said: str | None, reason: str) -> None:
    """The reason why a page is not stored is printed in words."""
    origin.says(said)
    assert run(origin, "explain", "/").output.splitlines()[-1] == reason


@pytest.mark.parametrize("arguments", [["purge", "--all"], ["stats"]], ids=str)
def test_local_cache(make_origin: type[Origin], arguments: list[str]) -> None:
    """A cache in each process is out of a command's reach."""
    result = run(make_origin(), *arguments)
    assert result.exit_code == 1
    assert "set WEBCACHE_URL to a shared one" in result.output


def test_explain_without_tags(origin: Origin) -> None:
    """Tags are named where there are some."""
    origin.says("max-age=60")
    origin.get()
    assert "tags" not in run(origin, "explain", "/").output
