"""The panel "Under the hood": what this browser's requests did, live."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections import deque
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import current_app
from flask import render_template
from flask import request
from flask import request_finished
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from demo import access_log
from demo.chips import chips
from demo.chips import milliseconds
from demo.chips import stations
from demo.extensions import streaming
from demo.journal import journal
from demo.recorder import MEASURED
from demo.recorder import UNRECORDED
from demo.recorder import Record
from demo.recorder import Recorder
from demo.recorder import current
from demo.recorder import note
from demo.recorder import visitor
from demo.source import Source
from flask_streaming import ClientDisconnected
from flask_streaming import event_stream
from flask_streaming import stream_finished
from flask_webcache import cache_event


hood = Blueprint("hood", __name__)

NAME = "demo_hood"
VISITORS = 100
RECORDS = 50
#: Fields that every message has, or that are the recorder's own.
DULL = {"connection", "date", "host", "server", "server-timing", "x-request-id"}
#: Fields of the browser that change nothing here.
BROWSER = (
    "Accept-Encoding",
    "Sec-Ch-",
    "Upgrade-Insecure",
    "User-Agent",
    "Priority",
    "Dnt",
)


class Hood:
    """The last records of each visitor, in this process.

    :param app: the site, around which the recorder is put.
    :param sources: the source of each endpoint.
    """

    def __init__(self, app: Flask, sources: dict[str, Source]) -> None:
        self.app = app
        self.sources = sources
        self.records: OrderedDict[str, deque[Record]] = OrderedDict()
        self.streams: WeakKeyDictionary[Response, Record] = WeakKeyDictionary()
        self.unmatched: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.lock = threading.Lock()
        self.recorder = Recorder(app.wsgi_app, self.finished)
        app.wsgi_app = self.recorder  # type: ignore[method-assign]
        app.extensions[NAME] = self
        # Behind the hook of the cache, which does not get here with a hit.
        app.before_request(view_runs)
        request_finished.connect(self.watch_stream, app)
        stream_finished.connect(self.stream_ended, app)
        cache_event.connect(cache_did, app)
        if path := app.config["DEMO_ACCESS_LOG"]:
            access_log.listen(Path(path), self.front_said)

    def finished(self, record: Record) -> None:
        """Keep a record, and show it."""
        if record.url.startswith(UNRECORDED) or MEASURED in record.fields:
            return
        record.endpoint = self.endpoint(record)
        with self.lock:
            record.front = self.unmatched.pop(record.id, {})
            kept = self.records.setdefault(record.visitor, deque(maxlen=RECORDS))
            self.records.move_to_end(record.visitor)
            kept.appendleft(record)
            if len(self.records) > VISITORS:
                self.records.popitem(last=False)
        self.show(record)

    def endpoint(self, record: Record) -> str:
        """Return the endpoint of a request, also where its view did not run."""
        adapter = self.app.url_map.bind("")
        try:
            path = record.url.partition("?")[0]
            return str(adapter.match(path, method=record.method)[0])
        except HTTPException:
            return ""

    def show(self, record: Record) -> None:
        """Send a record to its browser; a second time it replaces the first."""
        with self.app.app_context():
            html = self.html(record)
            streaming.publish(f"hood-{record.visitor}", html, event="record")

    def html(self, record: Record) -> str:
        """Return a record as HTML."""
        return self.app.jinja_env.get_template("record.html").render(
            record=record,
            chips=chips(record),
            stations=stations(record),
            source=self.sources.get(record.endpoint),
            milliseconds=milliseconds,
            interesting=interesting,
        )

    def of(self, visitor: str) -> list[Record]:
        """Return the records of a visitor, newest first."""
        with self.lock:
            return list(self.records.get(visitor, ()))

    def watch_stream(self, _: Flask, response: Response, **__: object) -> None:
        """Remember which request a stream belongs to."""
        if response.is_streamed and (record := current.get()):
            self.streams[response] = record

    def stream_ended(
        self, _: Flask, response: Response, *, exception: object, **facts: Any
    ) -> None:
        """Note what a stream sent; blocks may have gone past the recorder."""
        record = self.streams.pop(response, None)
        if record is None:
            return
        record.sent, record.chunks = facts["bytes"], facts["chunks"]
        if isinstance(exception, ClientDisconnected):
            record.notes.append("the browser left")
        elif exception is not None:
            record.failure = type(exception).__name__

    def front_said(self, line: dict[str, Any]) -> None:
        """Note what nginx did with a request, which may have ended or not."""
        with self.lock:
            found = (r for kept in self.records.values() for r in kept)
            record = next((r for r in found if r.id == line["id"]), None)
            if record is None:
                self.unmatched[line["id"]] = line
                if len(self.unmatched) > RECORDS:
                    self.unmatched.popitem(last=False)
                return
        record.front = line
        self.show(record)


def get_hood() -> Hood:
    """Return the current app's panel."""
    found: Hood = current_app.extensions[NAME]
    return found


def view_runs() -> None:
    """Note that the cache did not answer."""
    if record := current.get():
        record.view_ran = True


def cache_did(_: Flask, event: str, **__: object) -> None:
    """Note a purge; what else the cache does is in ``Cache-Status``."""
    if event == "purged":
        note("cache purged")


def interesting(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the header fields that say something, long ones cut."""
    return [
        (name, value if len(value) < 200 else value[:200] + "…")
        for name, value in fields
        if name.lower() not in DULL and not name.startswith(BROWSER) and value
    ]


@hood.get("/live")
def live() -> Response:
    """Stream this browser's records, what changes on the site, and an export."""
    channels = [f"hood-{visitor()}", "site"]
    if export := request.args.get("export"):
        channels.append(f"export-{export}")
    return event_stream(streaming.subscribe(*channels))


@hood.get("/hood/log")
def log() -> Response:
    """Show the records without scripts."""
    panel = get_hood()
    shown = (panel.html(record) for record in panel.of(visitor()))
    # The panel beside it shows them too, under the same names.
    entries = [Markup(html.replace('id="record-', 'id="shown-')) for html in shown]  # noqa: S704
    response = Response(
        render_template("hood.html", entries=entries, entry=journal().last())
    )
    response.cache_control.no_store = True
    return response
