"""The awkward files that every way of sending has to get right."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_kaccel import Kaccel


# Leave out the tests against real servers where the workspace's harness is absent.
collect_ignore_glob = [] if find_spec("harness") else ["servers/*"]


@dataclass(frozen=True)
class Case:
    """A name that a client asks for.

    :param content: what the file holds; ``None`` where nothing may be sent.
    """

    id: str
    name: str
    content: bytes | None
    mimetype: str = "text/plain; charset=utf-8"

    @property
    def url(self) -> str:
        """What a client asks for."""
        return f"/send?{quote(os.fsencode(self.name))}"


CASES = (
    Case("plain", "a.txt", b"plain\n"),
    Case("empty", "empty.txt", b""),
    Case("html", "page.html", b"<p>hello", "text/html; charset=utf-8"),
    Case("10-kib", "10k.bin", os.urandom(10240), "application/octet-stream"),
    Case("space", "a b.txt", b"space"),
    Case("percent", "100%.txt", b"percent"),
    Case("encoded-space", "a%20b.txt", b"not the one with a space"),
    Case("question-mark", "q?x.txt", b"question"),
    Case("hash", "a#b.txt", b"hash"),
    Case("ampersand", "a&b.txt", b"ampersand"),
    Case("plus", "a+b.txt", b"plus"),
    Case("colon", "a:b.txt", b"colon"),
    Case("semicolon", "a;b.txt", b"semicolon"),
    Case("quote", 'a"b.txt', b"quote"),
    Case("backslash", "a\\b.txt", b"backslash"),
    Case("newline", "a\nb.txt", b"newline"),
    Case("international", "naïve-日本語-🙂.txt", b"international"),
    Case("latin-1", "caf\udce9.txt", "café".encode("latin-1")),
    Case("tar-gz", "b.tar.gz", b"\x1f\x8b tar", "application/gzip"),
    Case("svgz", "c.svgz", b"\x1f\x8b svg", "application/gzip"),
    Case("subdirectory", "sub/dir/a.txt", b"another a"),
    Case("directory", "sub", None),
    Case("traversal", "../secret.txt", None),
    Case("missing", "missing.txt", None),
)


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the awkward files."""
    value: Case = request.param
    return value


def make_tree(directory: Path) -> Path:
    """Write the files; return the directory that may be sent."""
    files = directory / "files"
    for case in CASES:
        if case.content is not None:
            path = files / case.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(case.content)
            os.utime(path, (1_700_000_000, 1_700_000_000.75))
    (directory / "secret.txt").write_bytes(b"secret")
    (files / "out.txt").symlink_to(directory / "secret.txt")
    (files / "outside").symlink_to(directory)
    (files / "in.txt").symlink_to("a.txt")
    return files


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the awkward files."""
    return make_tree(tmp_path_factory.mktemp("kaccel"))


class ClosingClient(FlaskClient):
    """A client that reads and closes every response, unless it is told not to."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> TestResponse:
        return super().open(*args, buffered=buffered, **kwargs)


MakeApp = Callable[..., tuple[Flask, Kaccel]]


@pytest.fixture
def make_app(tree: Path) -> MakeApp:
    """A factory of apps that send the file whose quoted name is the query."""

    def make(*, static: bool = False, **config: object) -> tuple[Flask, Kaccel]:
        app = Flask(__name__, static_folder=str(tree), static_url_path="/static")
        app.test_client_class = ClosingClient
        app.config.update(KACCEL_FILES_PATH=str(tree), **config)
        kaccel = Kaccel(app, static=static)

        @app.route("/send", methods=["GET", "POST"])
        def send() -> Response:
            name = os.fsdecode(unquote_to_bytes(request.query_string))
            return kaccel.send_from_directory_or_404(name)

        return app, kaccel

    return make


@pytest.fixture
def nginx_client(make_app: MakeApp) -> FlaskClient:
    """A client of an app behind a server that is not there."""
    return make_app(KACCEL_REDIRECT_PATH="/protected/")[0].test_client()


@pytest.fixture
def flask_client(make_app: MakeApp) -> FlaskClient:
    """A client of an app that sends its files itself."""
    return make_app()[0].test_client()
