"""All five packages on one app, with a view or two for each."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from flask import Response
from flask import render_template_string
from flask import request

from flask_firehose import Firehose
from flask_kaccel import Kaccel
from flask_store import Store
from flask_streaming import Streaming
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_streaming import stream_with_context
from flask_webcache import WebCache
from flask_webcache.modifiers import cache_for


SECRET = "only-the-front-server-knows"
FILE = bytes(range(256)) * 8
#: A row longer than the first chunk of a stream.
LONG = "x" * 4096


class BrokenRowError(Exception):
    """The error of the failing stream."""


@dataclass
class Five:
    """Our extensions, and what their views count."""

    fast: bool
    static: bool = False
    webcache: WebCache = field(init=False)
    kaccel: Kaccel = field(init=False)
    firehose: Firehose = field(default_factory=Firehose)
    store: Store = field(default_factory=Store)
    streaming: Streaming = field(default_factory=Streaming)
    #: How often the cached page was made.
    runs: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.webcache = WebCache(fast=self.fast)
        self.kaccel = Kaccel(static=self.static)

    def init_app(self, app: Flask) -> None:
        """Set all five up."""
        self.webcache.init_app(app)
        self.kaccel.init_app(app)
        self.firehose.init_app(app)
        self.store.init_app(app)
        self.streaming.init_app(app)

    def add_views(self, app: Flask) -> None:
        """Add the views that every application of the suite has."""
        app.add_url_rule("/page", "five_page", self.page)
        app.add_url_rule("/download", "five_download", self.download)
        app.add_url_rule("/upload", "five_upload", self.upload, methods=["POST"])
        app.add_url_rule("/rows.csv", "five_rows", self.rows)
        app.add_url_rule("/broken.csv", "five_broken", self.broken)
        app.add_url_rule("/broken", "five_broken_generator", self.broken_generator)
        app.add_url_rule("/events", "five_events", self.events)

    @cache_for(minutes=1)
    def page(self) -> str:
        """Make a public page that pushes a style sheet."""
        return render_template_string(
            "<!doctype html><html><head></head><body>"
            "{{ push('/static/style.css') and '' }}run {{ run }}</body></html>",
            run=next(self.runs),
        )

    def download(self) -> Response:
        """Send a file."""
        sent: Response = self.kaccel.send_from_directory_or_404(
            "data.bin", as_attachment=True
        )
        return sent

    def upload(self) -> Response:
        """Store a file and return its URL."""
        file = self.store.Provider().save(request.files["file"])
        return Response(file.relative_url(), mimetype="text/plain")

    def rows(self) -> Response:
        """Stream a table that needs the request until its end."""

        @stream_with_context
        def rows() -> Iterator[bytes]:
            for number in range(3):
                yield f"{number},{request.args.get('cell', LONG)}\r\n".encode()

        return stream_csv(rows())

    def broken(self) -> Response:
        """Stream a table that fails in its middle."""

        def rows() -> Iterator[list[str]]:
            # Rows are sent in blocks, and an error in the first one is a page.
            yield from ([LONG] for _ in range(500))
            raise BrokenRowError("the database went away")

        return stream_csv(rows())

    def broken_generator(self) -> Response:
        """Stream the same as a plain generator, without the request."""

        def rows() -> Iterator[str]:
            yield LONG
            raise BrokenRowError("the database went away")

        return Response(rows())

    def events(self) -> Response:
        """Stream what is published."""
        return event_stream(self.streaming.subscribe("news"))


def configuration(directory: Path) -> dict[str, Any]:
    """Return what all five need, with their files below a directory."""
    files = directory / "files"
    files.mkdir()
    (files / "data.bin").write_bytes(FILE)
    return {
        "SECRET_KEY": "test",
        "STORE_PATH": str(directory / "uploads"),
        "KACCEL_FILES_PATH": str(files),
        "KACCEL_REDIRECT_PATH": "/_files/",
        # Who comes without it gets the file from Flask.
        "KACCEL_SECRET": SECRET,
    }


def form(content: bytes = b"<script>", name: str = "a.html") -> dict[str, Any]:
    """Return the form of an upload."""
    return {"file": (io.BytesIO(content), name)}
