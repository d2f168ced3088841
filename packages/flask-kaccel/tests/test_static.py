"""Flask's own functions and static files, sent the same way."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from flask_kaccel import Kaccel


NGINX = {"KACCEL_REDIRECT_PATH": "/protected/"}
ETAG = '"6553f100-6"'
MakeApp = Callable[..., tuple[Flask, Kaccel]]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=0-1"},
        {"If-None-Match": ETAG},
        {"If-Match": ETAG, "Range": "bytes=0-1,3-4"},
        {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_static_file_by_nginx(make_app: MakeApp, headers: Any, method: str) -> None:
    """Conditions and ranges that can be met are nginx's to meet."""
    app, _ = make_app(static=True, **NGINX)
    response = app.test_client().open("/static/a.txt", headers=headers, method=method)
    assert response.status_code == 200
    assert response.headers["X-Accel-Redirect"] == "/protected/a.txt"
    assert response.headers["Content-Length"] == "0"
    assert not {"ETag", "Last-Modified", "X-Sendfile"} & set(response.headers.keys())


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 200, b"plain\n"),
        ({"Range": "bytes=0-1"}, 206, b"pl"),
        ({"Range": "bytes=0-0,2-2"}, 206, None),
        ({"Range": "bytes=99-"}, 416, b""),
        ({"If-None-Match": ETAG}, 304, b""),
        ({"If-Match": '"other"'}, 412, b""),
    ],
    ids=str,
)
@pytest.mark.parametrize("static", [True, False], ids=["static", "send"])
def test_static_file_by_flask(
    make_app: MakeApp, headers: Any, status: int, body: Any, static: bool
) -> None:
    """Without nginx, Flask answers as nginx would, by the same validator."""
    client = make_app(static=static)[0].test_client()
    path = "/static/a.txt" if static else "/send?a.txt"
    response = client.get(path, headers=headers)
    assert response.status_code == status
    assert body is None or response.data == body
    if status == 416:
        assert response.headers["Content-Range"] == "bytes */6"
    if status >= 400:
        assert "Content-Disposition" not in response.headers
        assert "ETag" not in response.headers
    else:
        assert response.headers["ETag"] == ETAG


def test_what_nginx_could_not_send_right(make_app: MakeApp, tree: Path) -> None:
    """Flask sends what has an encoding, another status, no mapping, or no name."""
    app, kaccel = make_app(static=True, **NGINX)

    @app.get("/outside")
    def outside() -> Response:
        return flask.send_file(tree.parent / "secret.txt")

    @app.get("/memory")
    def memory() -> Response:
        return flask.send_file(io.BytesIO(b"memory"), "text/plain")

    @app.get("/gone")
    def gone() -> Any:
        return flask.send_file(tree / "a.txt"), 410

    @app.get("/redirect")
    def redirect() -> Any:
        return kaccel.redirect("/private/a.txt")

    client = app.test_client()
    encoded = client.get("/static/c.svgz")
    assert encoded.data == b"\x1f\x8b svg"
    assert encoded.headers["Content-Encoding"] == "gzip"
    assert encoded.headers["Content-Type"].startswith("image/svg+xml")
    assert client.get("/outside").data == b"secret"
    assert client.get("/static/out.txt").data == b"secret"
    partial = client.get("/memory", headers={"Range": "bytes=1-2"})
    assert (partial.status_code, partial.data) == (206, b"em")
    left = client.get("/gone")
    assert (left.status_code, left.data) == (410, b"plain\n")
    assert client.get("/redirect").headers["X-Accel-Redirect"] == "/private/a.txt"
    assert client.get("/static/missing.txt").status_code == 404
    for response in (encoded, left):
        assert "X-Accel-Redirect" not in response.headers


def test_x_sendfile(make_app: MakeApp, tree: Path) -> None:
    """Apache sends static files too, but not those outside the mapping."""
    app, _ = make_app(static=True, KACCEL_BACKEND="x-sendfile")
    client = app.test_client()
    response = client.get("/static/a.txt", headers={"Range": "bytes=0-1"})
    assert response.status_code == 200
    assert response.headers["X-Sendfile"] == f"{tree}/a.txt"
    assert response.headers["ETag"] == ETAG
    assert "X-Sendfile" not in client.get("/static/out.txt").headers
    assert client.get("/send?a.txt").headers["X-Sendfile"] == f"{tree}/a.txt"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("not the file", id="text"),
        pytest.param("", id="empty"),
        pytest.param(None, id="none"),
    ],
)
@pytest.mark.parametrize("backend", ["nginx", "x-sendfile", "flask"])
def test_header_that_flask_did_not_set(
    make_app: MakeApp, tree: Path, backend: str, body: str | None
) -> None:
    """A server whose headers a view passes on cannot ask for a file of this one."""
    app, _ = make_app(static=True, KACCEL_BACKEND=backend, **NGINX)

    @app.get("/proxy/<path:name>")
    def proxy(name: str) -> flask.Response:
        return flask.Response(body, headers={"X-Sendfile": str(tree.parent / name)})

    for name in ("secret.txt", "files/a.txt"):
        response = app.test_client().get(f"/proxy/{name}")
        assert response.text == (body or "")
        assert not {"X-Sendfile", "X-Accel-Redirect"} & set(response.headers.keys())


@pytest.mark.parametrize("place", ["mapped", "elsewhere"])
@pytest.mark.parametrize("way", ["after", "context", "named"])
@pytest.mark.parametrize("backend", ["nginx", "x-sendfile", "flask"])
def test_temporary_file(
    make_app: MakeApp, tree: Path, tmp_path: Path, backend: str, way: str, place: str
) -> None:
    """A file that is removed before it is sent comes from the open descriptor."""
    app, _ = make_app(static=True, KACCEL_BACKEND=backend, **NGINX)
    directory = tree if place == "mapped" else tmp_path

    @app.get("/after")
    def after() -> Response:
        victim = directory / "victim.txt"
        victim.write_bytes(b"still here")

        @flask.after_this_request
        def remove(response: flask.Response) -> flask.Response:
            victim.unlink()
            return response

        return flask.send_file(victim)

    @app.get("/context")
    def context() -> Response:
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            victim = Path(temporary, "victim.txt")
            victim.write_bytes(b"still here")
            return flask.send_file(victim)

    @app.get("/named")
    def named() -> Response:
        with tempfile.NamedTemporaryFile(dir=directory, suffix=".txt") as victim:
            victim.write(b"still here")
            victim.flush()
            return flask.send_file(victim.name)

    response = app.test_client().get(f"/{way}")
    assert (response.status_code, response.data) == (200, b"still here")
    assert not {"X-Accel-Redirect", "X-Sendfile"} & set(response.headers.keys())


def test_other_file_at_the_same_path(make_app: MakeApp, tree: Path) -> None:
    """A file that takes another's place while that one is sent is not sent for it."""
    app, _ = make_app(static=True, **NGINX)
    victim = tree / "victim.txt"
    victim.write_bytes(b"meant")

    @app.get("/victim")
    def send_victim() -> Response:
        response = flask.send_file(victim)
        (tree / "other.txt").write_bytes(b"not meant")
        (tree / "other.txt").replace(victim)
        return response

    assert app.test_client().get("/victim").data == b"meant"
    victim.unlink()


@pytest.mark.parametrize("way", ["gzip", "seeked", "relative"])
def test_stream_that_is_not_the_file_at_its_name(
    make_app: MakeApp, tree: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream is handed over only if its bytes are those of the whole file."""
    app, _ = make_app(static=True, **NGINX)
    (tree / "packed.gz").write_bytes(gzip.compress(b"unpacked"))
    monkeypatch.chdir(tree)

    @app.get("/stream")
    def send_stream() -> Response:
        if way == "gzip":
            stream: Any = gzip.open(tree / "packed.gz")  # noqa: SIM115 - Flask closes it
        else:
            path = Path("a.txt") if way == "relative" else tree / "a.txt"
            stream = path.open("rb")
            stream.seek(2 if way == "seeked" else 0)
        return flask.send_file(stream, "text/plain")

    wanted = {"gzip": b"unpacked", "seeked": b"ain\n", "relative": b"plain\n"}
    assert app.test_client().get("/stream").data == wanted[way]
    (tree / "packed.gz").unlink()


def test_conditions_of_a_file_that_is_not_returned(make_app: MakeApp) -> None:
    """A view may make a response and return another, whose conditions are its own."""
    app, _ = make_app(static=True, **NGINX)

    @app.get("/other")
    def other() -> Response:
        flask.send_from_directory(str(app.static_folder), "a.txt").close()
        response = flask.Response("other")
        response.set_etag("other")
        return response

    @app.after_request
    def conditional(response: flask.Response) -> flask.Response:
        seen.append("Range" in flask.request.headers)
        return response

    seen: list[bool] = []
    environ = EnvironBuilder("/other", headers=[("Range", "bytes=0-1")]).get_environ()
    for chunk in app(environ, lambda *_: print):
        assert chunk == b"other"
    assert environ["HTTP_RANGE"] == "bytes=0-1"


def test_without_static_flask_is_left_alone(make_app: MakeApp) -> None:
    """Without the keyword, Flask's own functions and configuration are its own."""
    app, _ = make_app(**NGINX)
    assert app.response_class is flask.Response
    assert app.test_client().get("/static/a.txt").data == b"plain\n"


@pytest.mark.parametrize("range_", ["", "bytes=0-1", "bytes=0-1,3-4"])
def test_class_that_the_app_sets_later(make_app: MakeApp, range_: str) -> None:
    """A response class that comes after the extension makes no difference."""

    class Own(flask.Response):
        pass

    for config, body in ((NGINX, b""), ({}, b"plain\n")):
        app, _ = make_app(static=True, **config)
        app.response_class = Own
        for url in ("/static/a.txt", "/send?a.txt"):
            response = app.test_client().get(url, headers={"Range": range_})
            assert ("X-Accel-Redirect" in response.headers) is (config is NGINX)
            if not range_ or config is NGINX:
                assert response.data == body
            else:
                assert response.status_code == 206
                assert int(response.headers["Content-Length"]) == len(response.data)


def test_class_of_the_app_is_kept(tree: Path) -> None:
    """A response class of the app's own goes on being one."""

    class Own(flask.Response):
        pass

    app = Flask(__name__)
    app.response_class = Own
    Kaccel(app, static=True)
    with app.test_request_context():
        assert isinstance(app.make_response("x"), Own)
