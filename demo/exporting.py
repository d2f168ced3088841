"""Exports in every format: streamed, with progress, and one that breaks."""

from __future__ import annotations

import csv
import io
import resource
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID
from uuid import uuid4

from flask import Blueprint
from flask import Response
from flask import current_app
from flask import render_template
from flask import request

from demo.extensions import streaming
from flask_streaming import stream_csv
from flask_streaming import stream_json
from flask_streaming import stream_ndjson
from flask_streaming import stream_template
from flask_streaming import stream_zip


exporting = Blueprint("exporting", __name__)

HEADER = ["id", "name", "group", "amount"]
FORMATS = {
    "csv": "CSV, for spreadsheets",
    "json": "JSON, one document",
    "ndjson": "NDJSON, one object per line",
    "zip": "ZIP, the CSV in an archive",
    "html": "HTML, a page that appears row by row",
}
#: Messages of an export's progress, and after which part of the rows one breaks.
MESSAGES, BREAK = 50, 0.4
PAGE_SIZE = resource.getpagesize()


class PretendedError(Exception):
    """The database went away, for a demonstration."""


@exporting.get("/export")
def page() -> str:
    """Show the formats, and follow the progress."""
    return render_template(
        "export.html",
        rows=current_app.config["DEMO_EXPORT_ROWS"],
        number=uuid4(),
        other=uuid4(),  # measured, and not followed
        formats=FORMATS,
    )


@exporting.get("/export/<uuid:number>.<any(csv, json, ndjson, zip, html):kind>")
def export(number: UUID, kind: str) -> Response:
    """Send the rows while they are made."""
    rows = follow(number, broken="break" in request.args)
    name = None if kind == "html" else f"export.{kind}"
    if kind == "csv":
        return stream_csv(rows, header=HEADER, download_name=name)
    if kind == "zip":
        table = stream_csv(rows, header=HEADER).iter_encoded()
        return stream_zip([("export.csv", table)], download_name=name)
    if kind == "html":
        return Response(stream_template("table.html", header=HEADER, rows=rows))
    objects = (dict(zip(HEADER, row, strict=True)) for row in rows)
    if kind == "json":
        return stream_json({"rows": objects}, download_name=name)
    return stream_ndjson(objects, download_name=name)


@exporting.get("/export/<uuid:number>/held.csv")
def held(number: UUID) -> Response:
    """Make all rows first, as a view without streams would."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(list(follow(number)))
    return Response(text.getvalue(), mimetype="text/csv")


def follow(number: UUID, *, broken: bool = False) -> Iterator[tuple[object, ...]]:
    """Make rows, and tell the page how far it is."""
    count = current_app.config["DEMO_EXPORT_ROWS"]
    step, last = max(count // MESSAGES, 1), int(count * BREAK)
    for row in range(1, count + 1):
        yield row, f"Customer {row}", row % 97, f"{row * 1.19:.2f}"
        if row % step == 0 or row == count:
            progress = {"rows": row, "memory": memory()}
            streaming.publish(f"export-{number}", progress, event="progress")
        if broken and row == last:
            raise PretendedError(f"the database went away after row {row:,}")


def memory() -> float:
    """Return how much memory this process has, in MB; 0 where that is not known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * PAGE_SIZE / 1e6, 1)
    except OSError:
        return 0
