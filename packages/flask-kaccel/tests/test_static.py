"""Flask's own functions and static files, sent the same way."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
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
        {"Range": "bytes=99-"},
        {"If-None-Match": ETAG},
        {"If-Match": '"other"'},
        {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_static_file_by_nginx(make_app: MakeApp, headers: Any, method: str) -> None:
    """Conditions and ranges are nginx's, so its answer is always asked for."""
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


def test_file_that_goes_away(make_app: MakeApp, tmp_path: Path) -> None:
    """A file that vanishes between the view and its delivery is missing."""
    app, _ = make_app(static=True)
    victim = tmp_path / "sub/victim.txt"
    victim.parent.mkdir()
    victim.touch()

    @app.after_request
    def remove(response: flask.Response) -> flask.Response:
        shutil.rmtree(victim.parent, ignore_errors=True)
        return response

    @app.get("/victim")
    def send_victim() -> Response:
        return flask.send_file(victim)

    assert app.test_client().get("/victim").status_code == 404


def test_file_that_cannot_be_read(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A static file that the app may not read is missing, and says no more."""

    def fail(*args: object) -> None:
        raise PermissionError

    app, _ = make_app(static=True)
    monkeypatch.setattr(Path, "open", fail)
    response = app.test_client().get("/static/a.txt")
    assert response.status_code == 404
    assert "X-Sendfile" not in response.headers


def test_without_static_flask_is_left_alone(make_app: MakeApp) -> None:
    """Without the keyword, Flask's own functions and configuration are its own."""
    app, _ = make_app(**NGINX)
    assert app.config["USE_X_SENDFILE"] is False
    assert app.response_class is flask.Response
    assert app.test_client().get("/static/a.txt").data == b"plain\n"


def test_class_that_comes_too_late(make_app: MakeApp) -> None:
    """A response class that replaces ours does not make the header leak."""
    app, _ = make_app(static=True, **NGINX)
    app.response_class = flask.Response
    response = app.test_client().get("/static/a.txt")
    assert response.headers["X-Accel-Redirect"] == "/protected/a.txt"
    assert "X-Sendfile" not in response.headers


def test_class_of_the_app_is_kept(tree: Path) -> None:
    """A response class of the app's own goes on being one."""

    class Own(flask.Response):
        pass

    app = Flask(__name__)
    app.response_class = Own
    Kaccel(app, static=True)
    with app.test_request_context():
        assert isinstance(app.make_response("x"), Own)
