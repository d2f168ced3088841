"""An app on the backend that the environment names, which counts its view runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask
from flask import Response
from flask import request

from flask_webcache import WebCache
from flask_webcache import modifiers


RUNS = Path(os.environ["RUNS"])

app = Flask(__name__)
app.secret_key = "secret"
app.config["WEBCACHE_URL"] = os.environ["WEBCACHE_URL"]
cache = WebCache(app, fast=os.environ.get("FAST") == "1")


def count() -> int:
    """Note a view run, in a file that all processes append to."""
    with RUNS.open("ab") as file:
        file.write(b".")
    return RUNS.stat().st_size


@app.get("/slow")
@modifiers.cache_for(minutes=5)
def slow() -> str:
    """Take a while."""
    number = count()
    time.sleep(0.5)
    return f"made {number}"


@app.get("/failing")
def failing() -> str:
    """Take a while, and fail."""
    count()
    time.sleep(0.2)
    raise OSError(request.args.get("name"))


@app.get("/page")
@modifiers.cache_for(minutes=5)
def page() -> Response:
    """Return at once."""
    return Response(f"made {count()}", headers={"Cache-Tag": "page"})


@app.get("/plain")
@modifiers.cache_for(minutes=5)
def plain() -> str:
    """Return a page without a tag."""
    return f"made {count()}"


@app.post("/purge/<how>")
def purge(how: str) -> str:
    """Purge the page."""
    if how == "tag":
        cache.purge_tag("page")
    elif how == "all":
        cache.purge_all()
    else:
        cache.purge("/page")
    return "purged"
