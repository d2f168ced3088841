"""An app whose pages tell the version of what they show, and take their time."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from typing import Any

from flask import Flask
from flask import Response
from flask import g
from flask import request

from flask_webcache import WebCache


app = Flask(__name__)
app.secret_key = "secret"
app.config["WEBCACHE_URL"] = os.environ["WEBCACHE_URL"]
cache = WebCache(app, fast=os.environ.get("FAST") == "1")


def database() -> sqlite3.Connection:
    """Return a connection of this request."""
    if "database" not in g:
        g.database = sqlite3.connect(os.environ["VERSIONS"], timeout=30)
    connection: sqlite3.Connection = g.database
    return connection


@app.teardown_appcontext
def close(error: BaseException | None) -> None:
    """Close the connection."""
    connection: Any = g.pop("database", None)
    if connection is not None:
        connection.close()


def version(page: str) -> int:
    """Return the version of a page."""
    found = database().execute("SELECT version FROM pages WHERE page = ?", (page,))
    return int(found.fetchone()[0])


@app.route("/<page>", methods=["GET", "POST"])
def show(page: str) -> Response:
    """Show a page, or change it: by its URL, or by its tag under another one."""
    if request.method == "POST":
        with database() as connection:
            connection.execute(
                "UPDATE pages SET version = version + 1 WHERE page = ?", (page,)
            )
        number = version(page)
        if "tag" in request.args:
            # Of the page as it is asked for with another query.
            done = cache.purge_tag(f"page-{page}")
        else:
            done = cache.purge(request.base_url)
        return Response(str(number), 200 if done else 503)
    number = version(page)
    time.sleep(random.uniform(0.005, 0.08))
    headers = {"Cache-Control": "max-age=60", "Cache-Tag": f"page-{page}"}
    if page.endswith("v"):
        headers["Vary"] = "X-Plan"
    return Response(f"{number}", headers=headers)
