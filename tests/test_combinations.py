"""Where the extensions meet, in both orders of ``init_app`` and on every server."""

from __future__ import annotations

import http.client
import io
import re
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient
from flask_kaccel.nginx import locations
from flask_webcache.modifiers import cache_for

import harness
from flask_firehose import Firehose
from flask_firehose import push
from flask_kaccel import Kaccel
from flask_store import Store
from flask_streaming import Streaming
from flask_streaming import stream_csv
from flask_webcache import WebCache


ORDERS = {
    "cache first": (WebCache, Firehose, Kaccel, Store, Streaming),
    "cache last": (Streaming, Store, Kaccel, Firehose, WebCache),
}


@pytest.fixture(params=ORDERS.values(), ids=ORDERS.keys())
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Flask:
    """An app with all five, whose pages count how often they run."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config.update(SECRET_KEY="test", STORE_PATH=str(tmp_path / "uploads"))
    extensions = {extension: extension() for extension in request.param}
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
        path = extensions[Store].Provider().path(name)
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


def test_stored_file_is_sent(app: Flask) -> None:
    """What was stored is sent, and again when it was asked for conditionally."""
    client = app.test_client()
    client.post("/upload")
    sent = client.get("/download/a b%25.txt")
    assert sent.data == b"stored"
    assert not [name for name, _ in sent.headers if name.startswith("X-Accel")]
    assert sent.headers["ETag"]
    again = client.get(
        "/download/a b%25.txt", headers={"If-None-Match": sent.headers["ETag"]}
    )
    assert again.status_code == 304


def test_stored_file_is_sent_by_nginx(app: Flask, tmp_path: Path) -> None:
    """The same download through nginx has the same bytes and validators."""
    app.config["TESTING"] = True
    direct = app.test_client()
    direct.post("/upload")
    expected = direct.get("/download/a b%25.txt")
    source = tmp_path / "behind_nginx.py"
    source.write_text(
        "from flask import Flask\n"
        "from flask_kaccel import Kaccel\n"
        "from flask_store import Store\n"
        "app = Flask(__name__)\n"
        f"app.config.update(STORE_PATH={app.config['STORE_PATH']!r},\n"
        f"    KACCEL_FILES_PATH={app.config['STORE_PATH']!r},\n"
        "    KACCEL_REDIRECT_PATH='/_files/')\n"
        "kaccel, store = Kaccel(app), Store(app)\n"
        "@app.get('/download/<name>')\n"
        "def download(name):\n"
        "    return kaccel.send_file_or_404(store.Provider().path(name))\n"
    )
    names: dict[str, Flask] = {}
    exec(source.read_text(), names)  # the same file, to ask it for its locations
    with (
        harness.gunicorn(source) as upstream,
        harness.nginx(
            f"location / {{ proxy_pass {upstream.url}; }}\n{locations(names['app'])}"
        ) as server,
        urllib.request.urlopen(f"{server.url}/download/a%20b%25.txt") as response,
    ):
        assert response.read() == expected.data
        assert response.headers["ETag"] == expected.headers["ETag"]
        assert response.headers["Content-Type"] == expected.headers["Content-Type"]
        assert "_files" not in str(response.headers)


@pytest.fixture(params=harness.WSGI_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[harness.Server]:
    """The README's application on a real server."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    source = tmp_path / "readme_app.py"
    config = {"STORE_PATH": str(tmp_path / "uploads"), "SECRET_KEY": "test"}
    source.write_text(f"{example}\n\napp = create_app({config!r})\n")
    with harness.serve(request.param, source) as running:
        yield running


def test_every_server(server: harness.Server) -> None:
    """All five work on each server, over one connection where it keeps one."""
    boundary, crlf = "b0undary", "\r\n"
    body = crlf.join([
        f"--{boundary}",
        'Content-Disposition: form-data; name="file"; filename="ä.txt"',
        "Content-Type: text/plain", "", "hello", f"--{boundary}--", "",
    ]).encode()  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def ask(method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        kind = f"multipart/form-data; boundary={boundary}"
        connection.request(method, path, body, {"Content-Type": kind} if body else {})
        return connection.getresponse()

    def text(path: str) -> tuple[str, http.client.HTTPMessage]:
        response = ask("GET", path)
        assert response.status == 200
        return response.read().decode(), response.headers

    assert text("/")[0] == "nothing yet"
    upload = ask("POST", "/upload", body)
    assert (upload.status, upload.headers["Location"]) == (302, "/")
    upload.read()
    page, headers = text("/")
    assert page == "ä.txt"
    assert headers["Link"].startswith("</static/style.css>")
    page, headers = text("/")
    assert (page, headers["X-Cache"]) == ("ä.txt", "hit")
    assert text("/download/%C3%A4.txt")[0] == "hello"
    assert text("/names.csv")[0] == "name\r\nä.txt\r\n"
    connection.close()


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
