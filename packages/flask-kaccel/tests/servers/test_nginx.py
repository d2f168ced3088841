"""Files through a real nginx, with the configuration that the package prints."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers

import harness
from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations


APP = """
import os
from urllib.parse import unquote_to_bytes

import flask
from flask import Flask, request
from flask_kaccel import Kaccel

app = Flask(__name__, static_folder=os.environ["FILES"], static_url_path="/static")
app.config.from_prefixed_env("APP")
kaccel = Kaccel(app, static=True)

def name():
    return os.fsdecode(unquote_to_bytes(request.query_string))

@app.route("/send", methods=["GET", "POST"])
def send():
    return kaccel.send_from_directory_or_404(name())

@app.get("/flask")
def flask_send():
    return flask.send_from_directory(os.environ["FILES"], name())

@app.errorhandler(410)
def gone(error):
    return kaccel.send_from_directory_or_404("page.html"), 410

@app.get("/gone")
def is_gone():
    flask.abort(410)

@app.get("/headers")
def headers():
    response = kaccel.send_from_directory_or_404("a.txt", as_attachment=True)
    response.headers.update({
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'",
        "Vary": "Cookie",
    })
    response.set_cookie("one", "1")
    return response
"""
SECRET = "the-secret-of-the-server-in-front"


@dataclass
class Reply:
    """A response as a client reads it."""

    status: int
    headers: Headers
    body: bytes


def fetch(
    server: harness.Server, path: str, headers: Any = (), method: str = "GET"
) -> Reply:
    """Send one request, with the path as it is."""
    connection = http.client.HTTPConnection(server.address, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return Reply(response.status, Headers(response.getheaders()), response.read())
    finally:
        connection.close()


@dataclass
class Site:
    """An app and the nginx before it."""

    app: harness.Server
    nginx: harness.Server
    files: Path


@pytest.fixture(scope="module")
def site(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An app with a secret, so that it sends itself what did not come by nginx."""
    module = tmp_path_factory.mktemp("app") / "nginx_app.py"
    module.write_text(APP)
    config = {
        "KACCEL_FILES_PATH": str(tree),
        "KACCEL_REDIRECT_PATH": "/protected/",
        "KACCEL_SECRET": SECRET,
    }
    app = Flask(__name__)
    app.config.update(config)
    Kaccel(app)
    environ = {f"APP_{key}": value for key, value in config.items()}
    with (
        harness.gunicorn(module, environ={"FILES": str(tree), **environ}) as server,
        harness.nginx(nginx_locations(app, server.url)) as nginx,
    ):
        yield Site(server, nginx, tree)


def test_same_by_both(site: Site, case: Any) -> None:
    """Every file and path is right through nginx, and the same without it."""
    by_nginx = fetch(site.nginx, case.url)
    by_flask = fetch(site.app, case.url)
    if case.content is None:
        assert by_nginx.status == by_flask.status == 404
        return
    assert by_nginx.body == by_flask.body == case.content
    assert by_nginx.status == by_flask.status == 200
    assert by_nginx.headers["Server"].startswith("nginx")
    for name in (
        "Content-Type", "Content-Length", "Content-Disposition", "Cache-Control",
        "ETag", "Last-Modified", "Accept-Ranges",
    ):  # fmt: skip
        assert by_nginx.headers.getlist(name) == by_flask.headers.getlist(name), name
