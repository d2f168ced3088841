"""Apps, in process and under real servers where the workspace's harness is."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Flask
from flask import render_template_string
from hypothesis import HealthCheck
from hypothesis import settings

from flask_firehose import Firehose


if TYPE_CHECKING:
    from harness import Server

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

collect_ignore = [] if find_spec("harness") else ["servers"]

APP = """\
import time

from flask import Flask, render_template_string, request
from flask_firehose import Firehose, hints, push, push_static, send_early_hints

app = Flask(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
app.config.from_prefixed_env("APP")
Firehose(app)
PAGE = "<!doctype html><title>Page</title>{}<p>Page"
LOG = []
CSS = '<link rel="stylesheet" href="{{ push_static(\\'main.css\\') }}">'


@app.before_request
def log():
    LOG.append((request.path, time.monotonic()))


@app.get("/log")
def logged():
    return LOG


@app.get("/")
def page():
    for number in range(request.args.get("count", 0, int)):
        push(f"/static/image-{number:03}.png")
    for url in request.args.getlist("u"):
        push(url, rel=request.args.get("rel"))
    if "set" in request.args:
        push("/a.png", imagesrcset=request.args["set"])
    return PAGE.format("")


@app.get("/status/<int:code>")
def status(code):
    push("/static/main.css")
    return PAGE.format(""), code, {"Location": "/"} if code == 302 else {}


@app.get("/declared")
@hints("/static/main.css")
def declared():
    time.sleep(request.args.get("seconds", 0, float))
    return render_template_string(PAGE.format(CSS))


@app.get("/learned")
def learned():
    time.sleep(request.args.get("seconds", 0, float))
    return render_template_string(PAGE.format(CSS))


@app.get("/explicit")
def explicit():
    send_early_hints("/static/main.css")
    send_early_hints("/static/main.js")
    time.sleep(request.args.get("seconds", 0, float))
    return PAGE.format("")


@app.get("/plain")
def plain():
    time.sleep(request.args.get("seconds", 0, float))
    return PAGE.format('<link rel="stylesheet" href="/static/main.css">')
"""


@pytest.fixture
def make_app() -> Callable[..., Flask]:
    """Make an app whose page at ``/`` is a template."""

    def make(template: str = "", *, connector: Any = None, **config: object) -> Flask:
        app = Flask(__name__)
        app.config.update(**{"SECRET_KEY": "secret", **config})
        Firehose(app, connector=connector)

        @app.route("/", methods=["GET", "POST"])
        def page() -> str:
            return render_template_string(template)

        return app

    return make


@pytest.fixture(scope="session")
def app_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's file."""
    file = tmp_path_factory.mktemp("firehose") / "firehose_app.py"
    file.write_text(APP)
    static = file.parent / "static"
    static.mkdir()
    (static / "main.css").write_text("p { color: green }")
    (static / "main.js").write_text("")
    return file


@pytest.fixture(scope="session")
def server(app_file: Path) -> Iterator[Server]:
    """The app under gunicorn, with early hints."""
    import harness

    environ = {"APP_FIREHOSE_EARLY_HINTS": "true"}
    with harness.gunicorn(app_file, worker="gthread", environ=environ) as server:
        yield server


@pytest.fixture(scope="session")
def late_server(app_file: Path) -> Iterator[Server]:
    """The app under gunicorn, without early hints."""
    import harness

    with harness.gunicorn(app_file, worker="gthread") as server:
        yield server
