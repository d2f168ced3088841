"""The check of a URL, through real servers and proxies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import harness
from flask_store import Store
from flask_store._tus.probe import Probe


APP = Path(__file__).with_name("tus_app.py")
GOOD = [
    "an upload can be created",
    "bytes arrive while they are sent",
    "a cut request keeps what came",
    "a refusal comes before the end",
]
UNBUFFERED = """
    proxy_http_version 1.1; proxy_request_buffering off; client_max_body_size 0;
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stores."""
    return tmp_path_factory.mktemp("files")


@contextlib.contextmanager
def serving(name: str, files: Path) -> Iterator[harness.Server]:
    """Run the app under a server."""
    environ = {"FLASK_STORE_PATH": str(files), "FINISHED": str(files / ".finished")}
    with harness.serve(name, APP, environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def gunicorn(files: Path) -> Iterator[harness.Server]:
    """A server that passes on what has come."""
    with serving("gunicorn-gthread", files) as server:
        yield server


def check(url: str, *options: str) -> tuple[int, list[str]]:
    """Run the command; return its exit code and its lines."""
    app = Flask(__name__)
    Store(app)
    args = ["store", "check", url, *options]
    done = app.test_cli_runner().invoke(args=args)
    return done.exit_code, done.output.splitlines()


def starts(lines: list[str], wanted: list[str]) -> bool:
    """Return whether each line begins as it should."""
    pairs = zip(lines, wanted, strict=False)
    return all(line.startswith(start) for line, start in pairs)


def through(directives: str, server: harness.Server) -> str:
    """Return what nginx needs to pass requests on."""
    return f"location / {{ proxy_pass {server.url}; {directives} }}"


def test_gunicorn(gunicorn: harness.Server, files: Path) -> None:
    """All is well, and nothing is left."""
    code, lines = check(f"{gunicorn.url}/uploads")
    assert starts(lines, [f"ok: {it}" for it in GOOD])
    assert (code, len(lines)) == (0, 4)
    assert list((files / ".tus").iterdir()) == []


def test_nginx(gunicorn: harness.Server) -> None:
    """Nginx lets uploads resume if it is told to."""
    with harness.nginx(through(UNBUFFERED, gunicorn)) as front:
        code, lines = check(f"{front.url}/uploads")
    assert starts(lines, [f"ok: {it}" for it in GOOD])
    assert (code, len(lines)) == (0, 4)


def test_nginx_as_it_comes(gunicorn: harness.Server) -> None:
    """Nginx's own limit is found."""
    with harness.nginx(through("", gunicorn)) as front:
        code, lines = check(f"{front.url}/uploads")
    assert code == 1
    assert "client_max_body_size" in lines[1]


def test_nginx_that_buffers(gunicorn: harness.Server) -> None:
    """Bodies that nginx holds back are found."""
    with harness.nginx(through("client_max_body_size 0;", gunicorn)) as front:
        found = [*Probe(f"{front.url}/uploads", {}, wait=3).run()]
    assert [it.good for it in found] == [True, False, False, False]
    assert [it.text for it in found][1:] == [
        "a body is held back until it is complete",
        "a cut request keeps nothing",
        "no refusal comes before the end of a body",
    ]


def test_waitress(files: Path) -> None:
    """A server that waits for the whole body is found."""
    with serving("waitress", files) as server:
        found = [*Probe(f"{server.url}/uploads", {}, wait=3).run()]
    assert [it.good for it in found] == [True, False, False, False]


def test_nobody() -> None:
    """A URL without a server is reported."""
    url = f"http://127.0.0.1:{harness.free_port()}/uploads"
    code, (line, *_) = check(url)
    assert (code, "cannot be reached" in line) == (1, True)


def test_refusals(gunicorn: harness.Server) -> None:
    """A wrong URL, or wrong credentials, are reported."""
    code, (line, *_) = check(f"{gunicorn.url}/elsewhere")
    assert (code, "404" in line) == (1, True)
    code, (line, *_) = check(f"{gunicorn.url}/private", "--header", "X-User: other")
    assert (code, "pass your credentials with --header" in line) == (1, True)
    code, lines = check(f"{gunicorn.url}/private", "--header", "X-User: me")
    assert (code, len(lines)) == (0, 4)
    assert check(f"{gunicorn.url}/private", "--header", "X-User")[0] == 2
    assert check("uploads")[0] == 2
