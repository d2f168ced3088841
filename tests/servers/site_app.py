"""All five packages on one app, as the servers of this folder run it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from flask import Flask
from flask import Response
from flask import request

from flask_firehose import Firehose
from flask_firehose import hints
from flask_firehose import push
from flask_kaccel import Kaccel
from flask_store import Store
from flask_streaming import Streaming
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_streaming import stream_finished
from flask_webcache import WebCache
from flask_webcache.modifiers import cache_for


DIRECTORY = Path(os.environ["SITE_DIRECTORY"])
LONG = "x" * 4096

app = Flask(__name__)
app.config.from_prefixed_env()
app.config.from_mapping(
    SECRET_KEY="test",
    STORE_PATH=str(DIRECTORY / "uploads"),
    STORE_FSYNC=False,
    KACCEL_FILES_PATH=str(DIRECTORY / "files"),
    FIREHOSE_EARLY_HINTS=True,
)
kaccel, store, streaming = Kaccel(), Store(), Streaming()
for extension in (WebCache(), kaccel, Firehose(connector=None), store, streaming):
    extension.init_app(app)
runs = count(1)


class BrokenRowError(Exception):
    """The error of the failing stream."""


@stream_finished.connect_via(app)
def note_end(
    sender: Flask, response: Response, exception: BaseException | None, **_: object
) -> None:
    """Note how streams end, for all processes in one file."""
    with (DIRECTORY / "ends").open("a") as ends:
        ends.write(f"{type(exception).__name__}\n")


@app.get("/page")
@cache_for(minutes=5)
@hints("/static/early.css")
def page() -> str:
    """Make a page that names a style sheet, before and after it ran."""
    push("/static/style.css")
    return f"<!doctype html><title>run {os.getpid()} {next(runs)}</title>"


@app.get("/download")
def download() -> Response:
    """Send a file."""
    sent: Response = kaccel.send_from_directory_or_404("data.bin")
    return sent


@app.post("/upload")
def upload() -> str:
    """Store a file."""
    return store.Provider().save(request.files["file"]).relative_url()


@app.get("/rows.csv")
def rows() -> Response:
    """Stream a table of about 1 MB."""
    return stream_csv([number, LONG] for number in range(256))


@app.get("/broken.csv")
def broken() -> Response:
    """Stream a table that fails in its middle."""

    def rows() -> Iterator[list[str]]:
        # Rows are sent in blocks, and an error in the first one is a page.
        yield from ([LONG] for _ in range(500))
        raise BrokenRowError(request.args["marker"])

    return stream_csv(rows())


@app.get("/slow.csv")
def slow() -> Response:
    """Stream a table for ten seconds."""

    def rows() -> Iterator[list[str]]:
        for _ in range(200):
            yield [LONG]
            time.sleep(0.05)

    return stream_csv(rows())


@app.get("/events/<channel>")
def events(channel: str) -> Response:
    """Stream what is published."""
    return event_stream(streaming.subscribe(channel), ping=1, duration=60)


@app.post("/events/<channel>")
def publish(channel: str) -> str:
    """Publish."""
    return streaming.publish(channel, "hello")
