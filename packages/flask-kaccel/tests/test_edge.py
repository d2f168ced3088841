"""The edge: only a complete, unchanged file response is handed over."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
from flask import Response
from werkzeug.test import EnvironBuilder

from flask_kaccel import Kaccel
from flask_kaccel._edge import Edge


NGINX = {"KACCEL_REDIRECT_PATH": "/protected/"}
ETAG = '"6553f100-6"'
MakeApp = Callable[..., tuple[Flask, Kaccel]]
INTERNAL = ("x-accel-", "x-sendfile", "x-kaccel-")


def internal(response: Any) -> list[str]:
    """Return the names that are between the app and the front."""
    return [it for it, _ in response.headers if it.lower().startswith(INTERNAL)]


def own_text(response: Response) -> Response:
    """Replace the body, as a hook that refuses does."""
    response.direct_passthrough = False
    response.set_data("not for you")
    return response


def own_nothing(response: Response) -> Response:
    """Take the body away."""
    response.direct_passthrough = False
    response.set_data("")
    return response


def own_stream(response: Response) -> Response:
    """Replace the body by a stream."""
    response.response = iter([b"not for you"])
    response.headers["Content-Length"] = "11"
    return response


def own_list(response: Response) -> Response:
    """Replace the iterable and nothing else."""
    response.response = [b"not for you"]
    return response


@pytest.mark.parametrize("replace", [own_text, own_nothing, own_stream, own_list])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("backend", ["nginx", "x-sendfile", "caddy", "flask"])
@pytest.mark.parametrize("url", ["/send?a.txt", "/static/a.txt"])
def test_replaced_body(
    make_app: MakeApp, replace: Any, method: str, backend: str, url: str
) -> None:
    """A body that takes the file's place is what everybody gets, in production too."""
    app, _ = make_app(static=True, KACCEL_BACKEND=backend, **NGINX)
    app.after_request(replace)
    response = app.test_client().open(url, method=method)
    assert not internal(response)
    assert response.status_code == 200
    wanted = b"" if method == "HEAD" or replace is own_nothing else b"not for you"
    assert response.data == wanted


def test_copied_response(make_app: MakeApp) -> None:
    """A response made of another's body and headers has a status of its own."""
    app, kaccel = make_app(**NGINX)

    @app.get("/copy")
    def copy() -> Response:
        sent = kaccel.send_from_directory_or_404("a.txt")
        return Response(sent.response, status=404, headers=sent.headers)

    for method in ("GET", "HEAD"):
        response = app.test_client().open("/copy", method=method)
        assert response.status_code == 404
        assert not internal(response)


@pytest.mark.parametrize(
    "name",
    [
        "X-Accel-Redirect", "x-accel-redirect", "X-Accel-Limit-Rate", "X-Sendfile",
        "X-Sendfile2", "X-Accel-Expires", "X-Kaccel-Cache-Control",
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", ["the view's own", ""])
@pytest.mark.parametrize("backend", ["nginx", "flask"])
def test_field_that_a_view_has_copied(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    name: str,
    body: str,
    backend: str,
) -> None:
    """Another server's field opens nothing here, and the log says that it is gone."""
    app, _ = make_app(KACCEL_BACKEND=backend, **NGINX)

    @app.get("/copy")
    def copy() -> Response:
        return Response(body, headers={name: "/protected/a.txt"})

    response = app.test_client().get("/copy")
    assert not internal(response)
    assert response.text == body
    assert f"{name} was removed from the response to '/copy'" in caplog.text


def test_without_the_guard(make_app: MakeApp) -> None:
    """Internal headers written by hand can be kept."""
    app, _ = make_app(guard=False, **NGINX)

    @app.get("/own")
    def own() -> Response:
        return Response(headers={"X-Accel-Redirect": "/mine/a.txt"})

    client = app.test_client()
    assert client.get("/own").headers["X-Accel-Redirect"] == "/mine/a.txt"
    assert client.get("/send?a.txt").headers["X-Accel-Redirect"] == "/protected/a.txt"


def test_control_is_of_one_request(make_app: MakeApp) -> None:
    """A setting counts for the response for which it was made."""
    app, kaccel = make_app(**NGINX)
    kept: list[Response] = []

    @app.get("/page")
    def page() -> Response:
        if not kept:
            kept.append(kaccel.control(Response("page"), expires=60, limit=5))
        return kept[0]

    client = app.test_client()
    assert internal(client.get("/page")) == ["X-Accel-Expires", "X-Accel-Limit-Rate"]
    assert internal(client.get("/page")) == []


@pytest.mark.parametrize("config", [NGINX, {}], ids=["nginx", "flask"])
@pytest.mark.parametrize("static", [True, False])
def test_responses_pickle(
    make_app: MakeApp, leave: Any, config: Any, static: bool
) -> None:
    """A cache of whole responses can keep ours, and sends the file again."""
    app, kaccel = make_app(static=static, **config)
    with app.test_request_context():
        response = kaccel.send_from_directory_or_404("a.txt", as_attachment=True)
        kept = pickle.dumps(response)
        response.close()
        assert pickle.loads(pickle.dumps(app.make_response("x"))).data == b"x"
    for headers in ({}, {"Range": "bytes=0-1"}):
        again = leave(app, lambda: pickle.loads(kept), headers=headers)
        if config:
            assert again.headers["X-Accel-Redirect"] == "/protected/a.txt"
        else:
            assert again.data == (b"pl" if headers else b"plain\n")
            assert again.headers["ETag"] == ETAG


def test_kept_response_of_a_file_that_has_gone(tmp_path: Path, leave: Any) -> None:
    """A cached response does not outlive its file."""
    app = Flask(__name__)
    app.config["KACCEL_FILES_PATH"] = str(tmp_path)
    kaccel = Kaccel(app)
    (tmp_path / "a.txt").write_text("a")
    with app.test_request_context():
        response = kaccel.send_from_directory_or_404("a.txt", as_attachment=True)
        kept = pickle.dumps(response)
        response.close()
    (tmp_path / "a.txt").unlink()
    again = leave(app, lambda: pickle.loads(kept))
    assert again.status_code == 404
    assert "Content-Disposition" not in again.headers


@pytest.mark.parametrize("config", [NGINX, {}], ids=["nginx", "flask"])
def test_flask_caching(
    make_app: MakeApp, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Views under Flask-Caching are cached, those that send files too."""
    caching = pytest.importorskip("flask_caching")
    app, kaccel = make_app(
        static=True, CACHE_TYPE="SimpleCache", CACHE_IGNORE_ERRORS=False, **config
    )
    cache = caching.Cache(app)
    runs: list[str] = []

    @app.get("/page")
    @cache.cached()  # type: ignore[untyped-decorator]  # it is not typed
    def page() -> Response:
        runs.append("page")
        return flask.make_response("page")

    @app.get("/file")
    @cache.cached()  # type: ignore[untyped-decorator]  # it is not typed
    def file() -> Response:
        runs.append("file")
        return kaccel.send_from_directory_or_404("a.txt")

    client = app.test_client()
    for _ in range(3):
        assert client.get("/page").text == "page"
        assert client.get("/file").data == (b"" if config else b"plain\n")
    assert sorted(runs) == ["file", "page"]
    assert not [it for it in caplog.records if it.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("Content-Security-Policy", ["a", "b"], "a, b"),
        ("Link", ["<a>", "<b>"], "<a>, <b>"),
        ("Vary", ["Cookie", "Accept"], "Cookie, Accept"),
        ("X-Request-ID", ["1", "2"], "1, 2"),
        ("Access-Control-Allow-Origin", ["a", "b"], "b"),
        ("Strict-Transport-Security", ["max-age=1", "max-age=2"], "max-age=2"),
        ("X-Frame-Options", ["DENY", "SAMEORIGIN"], "SAMEORIGIN"),
    ],
)
def test_repeated_fields(
    make_app: MakeApp, leave: Any, name: str, values: list[str], line: str
) -> None:
    """A list goes to nginx on one line, a single value as the last that was set."""
    app, kaccel = make_app(**NGINX)

    def view() -> Response:
        response = kaccel.send_from_directory_or_404("a.txt")
        for value in values:
            response.headers.add(name, value)
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    headers = leave(app, view).headers
    assert headers.getlist(name) == [line]
    assert headers.getlist("Set-Cookie") == ["one=1; Path=/", "two=2; Path=/"]


@pytest.mark.parametrize("backend", ["x-sendfile", "caddy"])
def test_fields_of_other_fronts(make_app: MakeApp, leave: Any, backend: str) -> None:
    """Fronts that drop nothing get every field as it is, and POST is not theirs."""
    app, kaccel = make_app(KACCEL_BACKEND=backend, **NGINX)

    def view() -> Response:
        response = kaccel.send_from_directory_or_404("a.txt", as_attachment=True)
        response.headers.add("Vary", "a")
        response.headers.add("Vary", "b")
        return response

    headers = leave(app, view).headers
    assert headers.getlist("Vary") == ["a", "b"]
    assert headers["Content-Disposition"] == "attachment; filename=a.txt"
    assert ("ETag" in headers) is (backend == "x-sendfile")
    assert leave(app, view, method="POST").data == b"plain\n"


def test_name_for_caddy(make_app: MakeApp) -> None:
    """Caddy gets a name that all its releases read alike, or Flask sends the file."""
    client = make_app(KACCEL_BACKEND="caddy", **NGINX)[0].test_client()
    sent = client.get("/send?a%20b.txt")
    assert sent.headers["X-Accel-Redirect"] == "/protected/a b.txt"
    for name in ("100%25.txt", "q%3Fx.txt", "a%0Ab.txt", "caf%E9.txt"):
        response = client.get(f"/send?{name}")
        assert response.status_code == 200
        assert response.data
        assert not internal(response)


@pytest.mark.parametrize("backend", ["nginx", "x-sendfile", "caddy", "flask"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Range": "bytes=99-"}, 416), ({"If-Match": '"other"'}, 412)],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("url", ["/send?a.txt", "/static/a.txt"])
def test_errors_have_no_fields_of_the_file(
    make_app: MakeApp, backend: str, headers: Any, status: int, method: str, url: str
) -> None:
    """A request that can only fail is answered by the app, behind any front."""
    app, _ = make_app(static=True, KACCEL_BACKEND=backend, **NGINX)
    response = app.test_client().open(url, headers=headers, method=method)
    assert response.status_code == status
    for name in ("Cache-Control", "Content-Disposition", "ETag", "Expires"):
        assert name not in response.headers
    assert not internal(response)


def test_middleware_inside(make_app: MakeApp) -> None:
    """A middleware that came first may start late; what it changes is what is sent."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "page")
    inner = app.wsgi_app

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        body = inner(environ, start_response)
        yield from body
        body.close()  # type: ignore[attr-defined]  # Flask's have one

    app.wsgi_app = late  # type: ignore[method-assign]  # as documented
    Kaccel(app)
    with app.test_client().get("/") as response:
        assert response.data == b"page"


def test_middleware_that_writes(make_app: MakeApp) -> None:
    """The write function of PEP 3333 still writes, before the body."""
    app, _ = make_app()

    def writing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Accel-Redirect", "/x")])(b"written ")
        return [b"returned"]

    edge = Edge(writing, app.extensions["kaccel"])
    started: list[Any] = []
    environ = EnvironBuilder().get_environ()
    body = edge(environ, lambda *args: started.append(args))  # type: ignore[arg-type]  # no server
    assert b"".join(body) == b"written returned"
    assert started == [("200 OK", [])]


def test_error_that_replaces_a_start(make_app: MakeApp) -> None:
    """The information on an error reaches the server, as PEP 3333 asks."""
    app, _ = make_app()

    def failing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 OH NO", [], (ValueError, ValueError("x"), None))
        return []

    edge = Edge(failing, app.extensions["kaccel"])
    started: list[Any] = []
    edge(EnvironBuilder().get_environ(), lambda *args: started.append(args))  # type: ignore[arg-type]  # no server
    assert started[0][0] == "500 OH NO"
    assert started[0][2][0] is ValueError


def test_delete_after_sending(tmp_path: Path) -> None:
    """A file is deleted when the server has taken all of it, and by nothing less."""
    app = Flask(__name__)
    (tmp_path / "files").mkdir()
    app.config.update(KACCEL_FILES_PATH=str(tmp_path / "files"), **NGINX)
    kaccel = Kaccel(app)
    victim = tmp_path / "export.csv"
    victim.write_bytes(b"a,b\n")

    @app.get("/export")
    def export() -> Response:
        return kaccel.send_file_or_404(victim, delete=True)

    client = app.test_client()
    for method, headers, status in (
        ("HEAD", {}, 200),
        ("GET", {"Range": "bytes=0-1"}, 206),
        ("GET", {"Range": "bytes=9-"}, 416),
        ("GET", {"If-None-Match": "*"}, 304),
    ):
        with client.open("/export", method=method, headers=headers) as response:
            assert response.status_code == status
            response.get_data()
        assert victim.exists()
    # A client that goes away has not got it.
    environ = EnvironBuilder("/export").get_environ()
    body = app(environ, lambda *_: print)
    assert next(iter(body)) == b"a,b\n"
    body.close()  # type: ignore[attr-defined]  # it is a file
    assert victim.exists()
    with client.get("/export") as whole:
        assert whole.data == b"a,b\n"
    assert not victim.exists()
    assert client.get("/export").status_code == 404


def test_file_that_cannot_be_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that somebody else deleted is not an error, but is logged."""
    app = Flask(__name__)
    kaccel = Kaccel(app)
    victim = tmp_path / "export.csv"
    victim.write_bytes(b"a,b\n")

    @app.get("/export")
    def export() -> Response:
        response = kaccel.send_file_or_404(victim, delete=True)
        victim.unlink()
        return response

    with app.test_client().get("/export") as response:
        assert response.data == b"a,b\n"
    assert "export.csv' cannot be deleted: No such file" in caplog.text


@pytest.mark.parametrize(
    ("config", "environ", "sent"),
    [
        (NGINX, {"SERVER_SOFTWARE": "Werkzeug/3.1"}, "flask"),
        (NGINX, {"SERVER_SOFTWARE": "gunicorn/25"}, "nginx"),
        (
            NGINX,
            {"SERVER_SOFTWARE": "Werkzeug/3.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1"},
            "nginx",
        ),
        ({"KACCEL_BACKEND": "x-sendfile"}, {"SERVER_SOFTWARE": "Werkzeug/3"}, "flask"),
    ],
    ids=str,
)
def test_development_server(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    config: Any,
    environ: Any,
    sent: str,
) -> None:
    """Nobody gets an empty file from the development server; the log says why, once."""
    client = make_app(**config)[0].test_client()
    for _ in range(2):
        response = client.get("/send?a.txt", environ_overrides=environ)
        assert response.data == (b"plain\n" if sent == "flask" else b"")
    assert caplog.text.count("the development server has no") == (sent == "flask")


def test_root_behind_a_link(tmp_path: Path, leave: Any) -> None:
    """A root and a path may name one directory by a link and by its target."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for root, path in (("link", "data/a.txt"), ("data", "link/a.txt")):
        app = Flask(__name__)
        app.config.update(KACCEL_FILES_PATH=str(tmp_path / root), **NGINX)
        kaccel = Kaccel(app)
        sent = leave(app, lambda k=kaccel, p=path: k.send_file(tmp_path / p))
        assert sent.headers["X-Accel-Redirect"] == "/protected/a.txt"


def test_file_outside_is_logged(
    make_app: MakeApp, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A path in no configured directory is somebody's mistake, and the log has it."""
    app, kaccel = make_app(**NGINX)
    with app.test_request_context():
        assert kaccel.send_file(tree.parent / "secret.txt") is None
    assert "secret.txt' is in none of the configured directories" in caplog.text
