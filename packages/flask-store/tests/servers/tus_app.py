"""The app that receives uploads which resume, for the servers to run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask
from flask import request

from flask_store import Store
from flask_store import upload_finished


app = Flask(__name__, static_folder=os.environ.get("SCRIPTS"), static_url_path="/js")
app.config.from_prefixed_env()
store = Store(app)
app.register_blueprint(store.tus("/uploads", authorize=lambda step, upload: "me"))
app.register_blueprint(
    store.tus(
        "/private",
        authorize=lambda *_: "me" if request.headers.get("X-User") == "me" else None,
        max_size=20_000_000,
        name="private",
    )
)
if app.secret_key:
    app.register_blueprint(store.companion("/companion", authorize=lambda *_: "me"))


@upload_finished.connect_via(app)
def log(sender: Flask, file: Any, **_: object) -> None:
    """Write each finished upload into a file."""
    with Path(os.environ["FINISHED"]).open("a") as target:
        target.write(f"{file.name}\n")


@app.get("/process")
def process() -> str:
    """Return which worker answers."""
    return str(os.getpid())


@app.get("/page")
def page() -> str:
    """A page for the browser."""
    return "<!doctype html><title>uploads</title><div id=uppy></div>"
