"""A slow page, with early hints and without."""

from __future__ import annotations

import time
from uuid import uuid4

from flask import Blueprint
from flask import Response
from flask import redirect
from flask import render_template
from flask import request
from flask import url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from flask_firehose import hints
from flask_firehose import push
from flask_webcache.modifiers import cache_control


hinting = Blueprint("hinting", __name__)

#: How long the page takes, and how long each of its files.
PAGE_SECONDS, FILE_SECONDS = 0.5, 0.2
FILES = {
    "slow.css": ("text/css", ".hinted{border-left:.5rem solid var(--hint)}\n"),
    "slow.js": ("text/javascript", "document.documentElement.dataset.slow = 'here';\n"),
}


def its_files() -> list[str]:
    """Return the page's files; each visit has its own, so that none is cached."""
    visit = request.args.get("visit", "0")
    return [url_for("hinting.slow_file", visit=visit, name=name) for name in FILES]


@hinting.get("/hints")
def page() -> str:
    """Explain, and show the last two visits side by side."""
    return render_template("hints.html")


@hinting.get("/hints/visit/<any(with, without):kind>")
def visit(kind: str) -> WerkzeugResponse:
    """Redirect to the slow page as a visitor without any of its files."""
    return redirect(url_for(f".{kind}_hints", visit=uuid4().hex[:8]))


@hinting.get("/hints/with")
@hints(its_files, learn=False)
def with_hints() -> str:
    """Take half a second; the browser fetches the files in the meantime."""
    time.sleep(PAGE_SECONDS)
    return render_template("slow.html", kind="with", urls=map(push, its_files()))


@hinting.get("/hints/without")
@hints(learn=False)
def without_hints() -> str:
    """Take half a second; the browser learns of the files from the page."""
    time.sleep(PAGE_SECONDS)
    return render_template("slow.html", kind="without", urls=its_files())


@hinting.get("/hints/file/<visit>/<name>")
@cache_control(max_age=60, private=True)
def slow_file(visit: str, name: str) -> Response:
    """Send a file that takes its time."""
    del visit
    if name not in FILES:
        raise NotFound
    time.sleep(FILE_SECONDS)
    mimetype, text = FILES[name]
    return Response(text, mimetype=mimetype)
