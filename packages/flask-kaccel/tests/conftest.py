"""The awkward files that every way of sending has to get right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
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
from hypothesis import HealthCheck
from hypothesis import settings
from werkzeug.datastructures import Headers
from werkzeug.test import Client
from werkzeug.test import TestResponse

from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations
from flask_kaccel._edge import Edge


# Only what a test says may fail it, never how long an example takes. Where the same
# must happen each time, no example is chosen at random.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    # On its own, a package is tried with fewer of the examples that the workspace had.
    max_examples=100 if find_spec("harness") else 20,
)
settings.load_profile("patient")

# Leave out the tests against real servers where the workspace's harness is absent.
collect_ignore = [] if find_spec("harness") else ["servers"]


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
        """A client's request."""
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

    def make(
        *, static: bool = False, guard: bool = True, **config: object
    ) -> tuple[Flask, Kaccel]:
        app = Flask(__name__, static_folder=str(tree), static_url_path="/static")
        app.test_client_class = ClosingClient
        app.config.update(KACCEL_FILES_PATH=str(tree), **config)
        kaccel = Kaccel(app, static=static, guard=guard)

        @app.route("/send", methods=["GET", "POST"])
        def send() -> Response:
            name = os.fsdecode(unquote_to_bytes(request.query_string))
            return kaccel.send_from_directory_or_404(name)

        return app, kaccel

    return make


class Leaving:
    """The way of a response out of an app, through its edge."""

    def __call__(
        self, app: Flask, view: Callable[[], Response | None], **request: Any
    ) -> TestResponse:
        """Answer one request by a view that is no route of the app."""
        state = app.extensions["kaccel"]

        def wsgi_app(environ: Any, start_response: Any) -> Any:
            with app.request_context(environ):
                response = view()
                assert response is not None
                return response(environ, start_response)

        client = Client(Edge(wsgi_app, state))
        return client.open("/", buffered=True, **request)


@pytest.fixture
def leave() -> Leaving:
    """A call that answers a request by a view, as the client sees it."""
    return Leaving()


@pytest.fixture
def nginx_client(make_app: MakeApp) -> FlaskClient:
    """A client of an app behind a server that is not there."""
    return make_app(KACCEL_REDIRECT_PATH="/protected/")[0].test_client()


@pytest.fixture
def flask_client(make_app: MakeApp) -> FlaskClient:
    """A client of an app that sends its files itself."""
    return make_app()[0].test_client()


#: An app as it is deployed; its configuration comes from the environment.
APP = """
import os
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

import flask
from flask import Flask, Request, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_kaccel import Kaccel

app = Flask(__name__, static_folder=os.environ["FILES"], static_url_path="/static")
app.config.from_prefixed_env("APP")
kaccel = Kaccel(app, static=True)
ports, busy = set(), []


def asked():
    return os.fsdecode(unquote_to_bytes(request.query_string))


@app.route("/send", methods=["GET", "POST"])
def send():
    ports.add(request.environ.get("REMOTE_PORT"))
    return kaccel.send_from_directory_or_404(asked())


@app.get("/download")
def download():
    return kaccel.send_from_directory_or_404(asked(), as_attachment=True)


@app.get("/refused/<way>")
def refused(way):
    response = kaccel.send_from_directory_or_404("a.txt")
    if way == "data":
        response.direct_passthrough = False
        response.set_data("not for you")
    elif way == "copy":
        return Response(response.response, status=404, headers=response.headers)
    else:
        headers = {"X-Accel-Redirect": "/protected/a.txt", "X-Accel-Limit-Rate": "1"}
        return Response("not for you", headers=headers)
    return response


@app.get("/modified")
def modified():
    return kaccel.send_from_directory_or_404(asked(), last_modified=0)


@app.get("/charset")
def charset():
    return kaccel.send_file(Path(os.environ["FILES"], "a.txt"), charset="koi8-r")


@app.get("/limited")
def limited():
    return kaccel.send_file(Path(os.environ["FILES"], asked()), limit=16384)


@app.get("/flask")
def flask_send():
    return flask.send_from_directory(os.environ["FILES"], asked())


@app.get("/gone")
def gone():
    return flask.send_from_directory(os.environ["FILES"], "page.html"), 410


@app.get("/headers")
def headers():
    response = kaccel.send_from_directory_or_404("a.txt", as_attachment=True)
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    response.headers["Vary"] = "Cookie"
    response.headers["X-Own"] = "dropped"
    response.headers.add("Content-Security-Policy", "frame-ancestors 'none'")
    response.headers.add("Link", "</one>")
    response.headers.add("Link", "</two>")
    response.headers["Cache-Control"] = "public, max-age=31536000"
    response.headers["Expires"] = "Thu, 01 Jan 2099 00:00:00 GMT"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.get("/object")
def object_():
    response = kaccel.redirect(asked()) or flask.redirect(asked())
    response.headers["Content-Security-Policy"] = "sandbox"
    response.headers["Cache-Control"] = "private, max-age=5"
    response.headers["Content-Disposition"] = 'attachment; filename="a b.txt"'
    response.set_cookie("own", "1")
    return response


@app.get("/stream")
def stream():
    def chunks():
        yield "first"
        deadline = time.monotonic() + 30
        while not Path(os.environ["GATE"]).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield "last"

    return kaccel.control(Response(chunks()), buffering=False)


@app.get("/cached")
def cached():
    ports.add(time.monotonic())
    expires = request.args.get("expires", type=int)
    return kaccel.control(Response("cached"), expires=expires)


@app.get("/who")
def who():
    environ = request.environ.copy()
    ProxyFix(lambda *_: None, x_for=1, x_proto=1)(environ, None)
    seen = Request(environ)
    return {"client": seen.remote_addr, "root": seen.root_url}


@app.get("/counts")
def counts():
    return {"ports": len(ports), "busy": busy}


class Timed:
    \"\"\"Notes how long a worker has to do with each response.\"\"\"

    def __init__(self, wsgi_app):
        self.wsgi_app = wsgi_app

    def __call__(self, environ, start_response):
        started = time.monotonic()
        body = self.wsgi_app(environ, start_response)
        try:
            yield from body
        finally:
            getattr(body, "close", lambda: None)()
            busy.append(time.monotonic() - started)


if "TIMED" in os.environ:
    app.wsgi_app = Timed(app.wsgi_app)
"""


@pytest.fixture(scope="module")
def app_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that defines the deployed app."""
    module = tmp_path_factory.mktemp("app") / "deployed_app.py"
    module.write_text(APP)
    return module


COMPARED = (
    "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Length",
    "Content-Range", "Content-Type", "ETag", "Last-Modified",
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """A response as a client reads it."""

    status: int
    headers: Headers
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """The parts that clients may compare, without boundaries, which differ."""
        seen: dict[str, Any] = {it: self.headers.getlist(it) for it in COMPARED}
        seen |= {"status": self.status, "body": self.body}
        kind, _, boundary = self.headers.get("Content-Type", "").partition("boundary=")
        if boundary:
            body = self.body.replace(boundary.encode(), b"")
            seen |= {"Content-Type": kind, "Content-Length": None, "body": body}
        return seen


Fetch = Callable[..., Reply]


@pytest.fixture(scope="session")
def fetch() -> Fetch:
    """A client that sends a path as it is: neither dots nor escapes are resolved."""

    def get(
        address: str, path: str, headers: Mapping[str, str] = {}, method: str = "GET"
    ) -> Reply:
        connection = HTTPConnection(address, timeout=30)
        try:
            connection.request(method, path, headers=dict(headers))
            got = connection.getresponse()
            return Reply(got.status, Headers(got.getheaders()), got.read())
        finally:
            connection.close()

    return get


@dataclass(frozen=True)
class Site:
    """An app and the nginx before it.

    :param mirror: an app of the same configuration in this process.
    :param app: a server of the workspace's harness, as ``nginx`` is.
    :param gate: what the streaming view waits for.
    """

    mirror: Flask
    app: Any
    nginx: Any
    files: Path
    gate: Path


Deploy = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="module")
def deploy(tree: Path, app_module: Path) -> Deploy:
    """A factory of sites whose nginx runs on the configuration that we print.

    Its arguments are ``KACCEL_`` keys, and:

    :param http: what stands before nginx's ``server``.
    :param amend: changes the text of the configuration.
    :param keepalive: whether nginx keeps connections to the app.
    :param worker: gunicorn's worker class.
    :param timed: whether the app notes how long each response took.
    """
    import harness

    @contextmanager
    def run(
        *,
        http: str = "",
        amend: Callable[[str], str] = str,
        keepalive: bool = False,
        worker: str = "gthread",
        timed: bool = False,
        **config: Any,
    ) -> Iterator[Site]:
        config.setdefault("KACCEL_FILES_PATH", str(tree))
        mirror = Flask(__name__)
        mirror.config.update(config)
        Kaccel(mirror)
        gate = tree.parent / "gate"
        environ = {
            "FILES": str(tree),
            "GATE": str(gate),
            **({"TIMED": "1"} if timed else {}),
        }
        for key, value in config.items():
            environ[f"APP_{key}"] = (
                value if isinstance(value, str) else json.dumps(value)
            )
        with harness.gunicorn(app_module, worker=worker, environ=environ) as app:
            upstream = app.url
            if keepalive:
                http += f"upstream app {{ server {app.address}; keepalive 8; }}"
                upstream = "http://app"
            locations = amend(nginx_locations(mirror, upstream))
            with harness.nginx(locations, http=http) as nginx:
                yield Site(mirror, app, nginx, tree, gate)

    return run
