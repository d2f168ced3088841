"""The pages of the site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path
from pathlib import PurePosixPath
from typing import cast
from uuid import UUID
from uuid import uuid4

from flask import Blueprint
from flask import Response
from flask import current_app
from flask import redirect
from flask import render_template
from flask import request
from flask import session
from flask import url_for
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from demo.extensions import kaccel
from demo.extensions import store
from demo.extensions import streaming
from demo.extensions import webcache
from demo.journal import Entry
from demo.journal import Journal
from flask_store.exceptions import InvalidNameError
from flask_store.stores.s3 import S3Store
from flask_streaming import ServerSentEvent
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_webcache.modifiers import cache_control


pages = Blueprint("pages", __name__)

PICTURES = {".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
#: Rows between two messages of an export's progress.
PROGRESS_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class File:
    """What the gallery shows of a file."""

    name: str
    size: int
    url: str

    @property
    def kind(self) -> str:
        """Its extension, for the eye."""
        return PurePosixPath(self.name).suffix.lstrip(".").upper() or "FILE"

    @property
    def picture(self) -> bool:
        """Whether a browser can show it."""
        return PurePosixPath(self.name).suffix.lower() in PICTURES


def in_s3() -> bool:
    """Tell whether the files are in S3, which then sends them itself."""
    return isinstance(store.Provider(), S3Store)


def journal() -> Journal:
    """Return the app's journal."""
    return Journal(Path(current_app.instance_path) / "journal.sqlite")


def record(text: str) -> None:
    """Write down what happened, and tell everybody who looks on."""
    entry = journal().add(text)
    streaming.publish("log", json.dumps(asdict(entry)))


@pages.app_context_processor
def navigation() -> dict[str, object]:
    """Give the templates the menu."""
    menu = [
        ("pages.gallery", "Files"),
        ("pages.exports", "Export"),
        ("pages.log", "Log"),
    ]
    if in_s3():
        menu.insert(1, ("pages.direct", "Direct upload"))
    return {"navigation": menu}


@pages.app_errorhandler(HTTPException)
def failed(error: HTTPException) -> tuple[str, int]:
    """Show an error as a page."""
    return render_template("error.html", error=error), error.code or 500


@pages.get("/")
@cache_control(s_maxage=60, max_age=0)
def gallery() -> str:
    """Show the files; caches keep the page, browsers ask each time."""
    expires = 600 if in_s3() else None
    files = [
        File(file.name, file.size, file.url(expires))
        for file in store.Provider().list()
    ]
    return render_template("gallery.html", files=files, now=datetime.now(UTC))


@pages.get("/cache-status")
@cache_control(no_store=True)
def cache_status() -> str:
    """Show what the cache says of the gallery, in a frame of it."""
    # RFC 9111, 5.2.1.7: "only a stored response".
    gallery = current_app.test_client().get(
        url_for(".gallery"),
        base_url=request.host_url,
        headers={"Cache-Control": "only-if-cached"},
    )
    return render_template("cache_status.html", status=gallery.headers["Cache-Status"])


@pages.post("/upload")
def upload() -> WerkzeugResponse:
    """Save files; the redirect drops the cached page it points to."""
    files = [file for file in request.files.getlist("file") if file.filename]
    if not files:
        raise BadRequest("No file was chosen.")
    for file in files:
        saved = store.Provider().save(file)
        record(f"{saved.relative_path()} was uploaded, {saved.size:,} bytes")
    return redirect(url_for(".gallery"), 303)


@pages.get("/direct")
def direct() -> str:
    """Give the browser a form that uploads to S3, past this server."""
    if not in_s3():
        raise NotFound("Files are not in S3 here; start the demo with --s3.")
    name, allowed = request.args.get("name"), None
    if name:
        provider = cast(S3Store, store.Provider())
        done = url_for(".uploaded_directly", _external=True)
        allowed = provider.presign_post(name, redirect=done)
        session["direct"] = str(allowed.file)
    return render_template("direct.html", name=name, allowed=allowed)


@pages.get("/direct/done")
def uploaded_directly() -> WerkzeugResponse:
    """Take note of a file that S3 has, when it sends the browser back."""
    file = cast(S3Store, store.Provider()).confirm(session.pop("direct", ""))
    record(f"{file} was uploaded directly")
    webcache.purge(url_for(".gallery", _external=True))
    return redirect(url_for(".gallery"), 303)


@pages.post("/delete/<path:name>")
def delete(name: str) -> WerkzeugResponse:
    """Delete a file."""
    try:
        store.Provider().delete(name)
    except InvalidNameError as error:
        raise NotFound from error
    record(f"{name} was deleted")
    return redirect(url_for(".gallery"), 303)


@pages.get("/download/<path:name>")
def download(name: str) -> WerkzeugResponse:
    """Send a file as a download: by nginx where one stands in front."""
    if in_s3():
        return redirect(store.Provider().url(name, expires=60))
    return kaccel.send_from_directory_or_404(name, as_attachment=True)


@pages.get("/export")
def exports() -> str:
    """Show the export, and follow its progress."""
    return render_template(
        "export.html", rows=current_app.config["DEMO_EXPORT_ROWS"], number=uuid4()
    )


@pages.get("/export/<uuid:number>.csv")
def export(number: UUID) -> Response:
    """Send the rows."""
    count = current_app.config["DEMO_EXPORT_ROWS"]

    def rows() -> Iterator[tuple[object, ...]]:
        for row in range(1, count + 1):
            yield row, f"Customer {row}", row % 97, f"{row * 1.19:.2f}"
            if row % PROGRESS_ROWS == 0 or row == count:
                streaming.publish(f"export-{number}", str(row), event="progress")

    record(f"an export of {count:,} rows was started")
    return stream_csv(
        rows(), header=["id", "name", "group", "amount"], download_name="export.csv"
    )


@pages.get("/export/<uuid:number>/progress")
def export_progress(number: UUID) -> Response:
    """Tell how far an export has come."""
    return event_stream(streaming.subscribe(f"export-{number}"))


@pages.get("/log")
def log() -> str:
    """Show what happened last."""
    return render_template("log.html", entries=journal().latest(50))


@pages.get("/events")
def events() -> Response:
    """Tell what happens, from the last entry that the browser has seen."""
    seen = request.headers.get("Last-Event-ID", request.args.get("after", "0"))
    if not seen.isdecimal():
        raise BadRequest("The last entry seen has to be a number.")
    return event_stream(follow(journal(), int(seen)), retry=1000)


def follow(journal: Journal, seen: int) -> Iterator[ServerSentEvent]:
    """Yield the entries after one, then those to come."""
    # Subscribed first, so that no entry falls between the journal and the stream.
    with closing(streaming.subscribe("log")) as live:
        for entry in journal.after(seen):
            seen = entry.id
            yield message(entry)
        for event in live:
            if event.event == "gap":
                continue  # the journal fills it
            entry = Entry(**json.loads(event.data or ""))
            if entry.id > seen:
                yield message(entry)


def message(entry: Entry) -> ServerSentEvent:
    """Return an entry as an event, which the browser resumes from by its number."""
    return ServerSentEvent(json.dumps(asdict(entry)), id=str(entry.id))
