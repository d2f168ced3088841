"""The extensions together, in both orders of ``init_app`` and on every server."""

from __future__ import annotations

import http.client
import io
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

import harness
from flask_firehose import Connector
from flask_firehose import Firehose
from flask_firehose import push
from flask_kaccel import Kaccel
from flask_store import Store
from flask_streaming import Streaming
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_webcache import WebCache
from flask_webcache.modifiers import cache_for


ORDERS = {
    "cache first": (WebCache, Firehose, Kaccel, Store, Streaming),
    "cache last": (Streaming, Store, Kaccel, Firehose, WebCache),
}


def readme_app(directory: Path, config: dict[str, str]) -> Path:
    """Write a file with the README's application, configured."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    path = directory / "readme_app.py"
    path.write_text(f"{example}\n\napp = create_app({config!r})\n")
    return path


def upload(server: harness.Server, name: str) -> int:
    """Upload a file through a form and return the status."""
    body = "\r\n".join([
        "--b0undary",
        f'Content-Disposition: form-data; name="file"; filename="{name}"',
        "Content-Type: text/plain", "", "hello", "--b0undary--", "",
    ]).encode()  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        kind = {"Content-Type": "multipart/form-data; boundary=b0undary"}
        connection.request("POST", "/upload", body, kind)
        return connection.getresponse().status


@pytest.fixture(params=list(ORDERS.values()), ids=list(ORDERS))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Flask:
    """An app with all five, whose pages count how often they run."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    uploads = str(tmp_path / "uploads")
    app.config.update(SECRET_KEY="test", STORE_PATH=uploads, KACCEL_FILES_PATH=uploads)
    extensions = {extension: extension() for extension in request.param}
    extensions[Firehose] = Firehose(connector=Connector)
    for extension in extensions.values():
        extension.init_app(app)
    runs = count(1)

    @app.get("/page")
    @cache_for(minutes=1)
    def page() -> str:
        push("/static/style.css")
        return f"run {next(runs)}"

    @app.get("/personal")
    def personal() -> str:
        push("/static/style.css")
        return f"run {next(runs)}"

    @app.get("/rows.csv")
    @cache_for(minutes=1)
    def rows() -> Response:
        return stream_csv([[next(runs)]])

    @app.post("/upload")
    def upload() -> str:
        file = io.BytesIO(b"stored")
        path: str = extensions[Store].Provider().save(file, "a b%.txt").absolute_path()
        return path

    @app.get("/download/<name>")
    def download(name: str) -> Response:
        path = extensions[Store].Provider().file(name).absolute_path()
        response: Response = extensions[Kaccel].send_file_or_404(path)
        return response

    return app


def test_cached_page_keeps_its_links(app: Flask) -> None:
    """A second visitor gets the cached page with its Link header and no cookie."""
    first = app.test_client().get("/page")
    assert first.headers["Link"].startswith("</static/style.css>")
    second = app.test_client().get("/page")
    assert second.text == "run 1"
    assert second.headers["X-Cache"] == "hit"
    assert second.headers["Link"] == first.headers["Link"]
    assert "Set-Cookie" not in second.headers
    assert "Cookie" not in second.headers.get("Vary", "")


def test_page_is_stored_once_for_navigations_and_fetches(tmp_path: Path) -> None:
    """Whether a browser can be sent a 103 makes no difference to the page."""
    app = Flask(__name__)
    app.config.update(FIREHOSE_EARLY_HINTS=True, FIREHOSE_STATIC_FRESH=True)
    Firehose(app)
    WebCache(app)
    runs = count(1)

    @app.get("/page")
    @cache_for(minutes=1)
    def page() -> str:
        push("/static/style.css")
        return f"run {next(runs)}"

    for mode in ("navigate", "cors", "no-cors"):
        response = app.test_client().get(
            "/page",
            headers={"Sec-Fetch-Mode": mode},
            environ_overrides={"wsgi.early_hints": lambda _: None},
        )
        assert response.text == "run 1"
    assert response.headers["X-Cache"] == "hit"


def test_tracked_page_is_not_cached(app: Flask) -> None:
    """A page whose links depend on the visitor is made for each one."""
    one, two = app.test_client(), app.test_client()
    assert "Link" in one.get("/personal").headers
    assert "Link" not in one.get("/personal").headers
    fresh = two.get("/personal")
    assert "Link" in fresh.headers
    assert fresh.text == "run 3"


def test_stream_is_not_cached(app: Flask) -> None:
    """A streamed response passes the cache, is not stored, and stays a stream."""
    client = app.test_client()
    assert client.get("/rows.csv").text == "1\r\n"
    again = client.get("/rows.csv", buffered=False)
    assert again.is_streamed
    assert again.text == "2\r\n"
    assert "hit" not in again.headers.get("Cache-Status", "")


def test_live_stream_stays_unbuffered(app: Flask) -> None:
    """The server in front does not buffer events, even if it also sends files."""
    app.add_url_rule("/events", "events", lambda: event_stream(["news"]))
    with app.test_client().get("/events") as response:
        assert response.headers["X-Accel-Buffering"] == "no"


def test_stored_file_is_sent(app: Flask) -> None:
    """A stored file is sent, and a conditional request is answered."""
    client = app.test_client()
    client.post("/upload")
    url = "/download/a b%25.txt"
    with client.get(url) as sent:
        assert sent.data == b"stored"
        assert not [name for name, _ in sent.headers if name.startswith("X-Accel")]
        etag = sent.headers["ETag"]
    with client.get(url, headers={"If-None-Match": etag}) as again:
        assert again.status_code == 304


def test_stored_file_is_sent_by_nginx(tmp_path: Path) -> None:
    """A stored file comes through nginx, on the configuration that the app prints."""
    uploads = str(tmp_path / "uploads")
    config = {
        "STORE_PATH": uploads,
        "KACCEL_FILES_PATH": uploads,
        "KACCEL_REDIRECT_PATH": "/_files/",
    }
    source = readme_app(tmp_path, config)
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        str(source),
        "kaccel",
        "config",
        "nginx",
    ]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    with (
        harness.gunicorn(source) as upstream,
        harness.nginx(
            f"location / {{ proxy_pass {upstream.url}; }}\n{printed}"
        ) as server,
    ):
        upload(server, "a b%.txt")
        url = f"{server.url}/download/a%20b%25.txt"
        with urllib.request.urlopen(url, timeout=10) as response:
            assert response.read() == b"hello"
            assert "nginx" in response.headers["Server"]
            assert "_files" not in str(response.headers)


@pytest.fixture(params=harness.WSGI_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[harness.Server]:
    """The README's application on a real server."""
    uploads = str(tmp_path / "uploads")
    config = {"STORE_PATH": uploads, "KACCEL_FILES_PATH": uploads, "SECRET_KEY": "test"}
    with harness.serve(request.param, readme_app(tmp_path, config)) as running:
        yield running


def test_every_server(server: harness.Server) -> None:
    """All five work on each server."""

    def get(path: str) -> tuple[str, http.client.HTTPMessage]:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=10) as response:
            return response.read().decode(), response.headers

    assert get("/")[0] == "nothing yet"
    assert upload(server, "ä.txt") == 302
    page, headers = get("/")
    assert page == "ä.txt"
    assert headers["Link"].startswith("</static/style.css>")
    page, headers = get("/")
    assert (page, headers["X-Cache"]) == ("ä.txt", "hit")
    assert get("/download/%C3%A4.txt")[0] == "hello"
    assert get("/names.csv")[0] == "name,bytes\r\nä.txt,5\r\n"


def test_two_apps(tmp_path: Path) -> None:
    """Two apps in one process, with the same extension objects, stay apart."""
    extensions = [extension() for extension in ORDERS["cache first"]]
    clients: list[FlaskClient] = []
    for name in ("one", "two"):
        app = Flask(name, instance_path=str(tmp_path / name))
        for extension in extensions:
            extension.init_app(app)
        app.add_url_rule("/", view_func=cache_for(minutes=1)(lambda name=name: name))
        clients.append(app.test_client())
    for _ in range(2):
        assert [client.get("/").text for client in clients] == ["one", "two"]


@pytest.mark.parametrize(
    "outside", [True, False], ids=["cache outside", "cache inside"]
)
def test_fast_cache_and_handed_over_files(tmp_path: Path, outside: bool) -> None:
    """A file is stored in neither order; a page keeps its settings in one."""
    (tmp_path / "a.txt").write_text("hello")
    app = Flask(__name__)
    app.config.update(
        KACCEL_FILES_PATH=str(tmp_path),
        KACCEL_REDIRECT_PATH="/_files/",
        KACCEL_SECRET="the-secret-of-nginx",
    )
    kaccel, cache = Kaccel(), WebCache(fast=True)
    for extension in (kaccel, cache) if outside else (cache, kaccel):
        extension.init_app(app)

    @app.get("/file")
    def file() -> Response:
        return kaccel.send_file_or_404(tmp_path / "a.txt", max_age=60)

    @app.get("/page")
    def page() -> Response:
        public = {"Cache-Control": "public, max-age=60"}
        return kaccel.control(Response("page", headers=public), limit=5)

    client = app.test_client()
    nginx = {"X-Kaccel-Secret": "the-secret-of-nginx"}
    for headers in (nginx, {}, nginx):
        with client.get("/file", headers=headers) as response:
            assert response.headers["X-Cache"] == "miss"
            assert response.get_data() == (b"" if headers else b"hello")
            assert ("X-Accel-Redirect" in response.headers) == bool(headers)
    assert "X-Accel-Limit-Rate" in client.get("/page", headers=nginx).headers
    hit = client.get("/page", headers=nginx)
    assert hit.headers["X-Cache"] == "hit"
    assert ("X-Accel-Limit-Rate" in hit.headers) == outside


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("secret", [None, "of-sixteen-letters"])
def test_controlled_pages_are_stored(
    order: str, secret: str | None, tmp_path: Path
) -> None:
    """Notes that an extension keeps about a page do not keep it from being stored."""
    app = Flask(__name__)
    app.config.update(KACCEL_BACKEND="nginx", KACCEL_SECRET=secret)
    app.config.update(KACCEL_REDIRECT_PATH="/internal/", KACCEL_FILES_PATH=tmp_path)
    kaccel = Kaccel()
    for kind in ORDERS[order]:
        if kind is Kaccel:
            kaccel.init_app(app)
        elif kind is not Store:
            kind(app)

    @app.get("/page")
    @cache_for(minutes=5)
    def page() -> Response:
        return kaccel.control(Response("a page"), buffering=False, expires=60)

    fields = {"X-Kaccel-Secret": secret} if secret else {}
    said = [app.test_client().get("/page", headers=fields) for _ in range(2)]
    assert [one.headers["X-Cache"] for one in said] == ["miss", "hit"]
