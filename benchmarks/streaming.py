"""Measure streams: ours, the peers and the limit, through real servers.

Usage: python benchmarks/streaming.py [--quick] [gevent]

Every answer is fetched by curl from gunicorn (gthread, or gevent) or uvicorn on the
loopback interface; the best of three counts. Compare within one run only. The bars are
for the CPU time of the server, which other load on the machine hardly changes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import cycle
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from _process import cpu
from flask import Flask
from flask import Response
from flask import render_template_string
from flask import request
from flask import stream_template_string as flask_stream_template_string

import flask_streaming
from flask_streaming import Streaming


if TYPE_CHECKING:
    from harness import Server

HERE = Path(__file__).resolve()
HEADER = ["id", "name", "email", "city", "balance", "active", "created"]
PAGE = (
    "<table>{% for row in rows %}<tr><td>{{ row[0] }}<td>{{ row[1] }}"
    "<td>{{ row[2] }}{% endfor %}</table>"
)
BLOCK = b"x" * 65536


#: Made in advance: what a source costs is the same for all.
ROWS = [
    [
        str(number), f"Name {number}", f"user{number}@example.com",
        "Weimar, Thüringen", "1234.56", "true", "2026-01-01T00:00:00",
    ]
    for number in range(1000)
]  # fmt: skip
ITEMS = [dict(zip(HEADER, row, strict=True)) for row in ROWS]


def rows_of(count: int) -> Iterator[list[str]]:
    """Yield rows of 7 cells."""
    return islice(cycle(ROWS), count)


def asked_for() -> int:
    """Return the number of rows that the request asks for."""
    return request.args.get("rows", 100_000, int)


def table() -> Iterator[list[str]]:
    """Yield as many rows as the request asks for."""
    return rows_of(asked_for())


def items() -> Iterator[dict[str, Any]]:
    """Yield as many items of the same content."""
    return islice(cycle(ITEMS), asked_for())


def seed_template() -> Response:
    """Stream a template as the Flask documentation shows."""
    stream = app.jinja_env.from_string(PAGE).stream(rows=table())
    stream.enable_buffering(5)
    return Response(flask_streaming.stream_with_context(stream))


def seed_csv() -> Iterator[str]:
    """Stream CSV as the Flask documentation shows."""
    for row in table():
        yield ",".join(row) + "\n"


def csv_by_row() -> Iterator[str]:
    """Stream CSV with correct quoting, row by row."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for row in table():
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def json_by_row() -> Iterator[str]:
    """Stream a JSON array, item by item."""
    yield "["
    separator = ""
    for item in items():
        yield separator + json.dumps(item)
        separator = ","
    yield "]"


def events_by_one() -> Iterator[str]:
    """Stream events, one by one."""
    for number in range(100_000):
        yield f"id: {number}\ndata: {number}\n\n"


def events() -> Iterator[flask_streaming.ServerSentEvent]:
    """Yield as many events."""
    for number in range(100_000):
        yield flask_streaming.ServerSentEvent(str(number), id=str(number))


def kept(generator: Iterator[Any]) -> Response:
    """Answer with a generator that needs the request."""
    return Response(flask_streaming.stream_with_context(generator))


VIEWS: dict[str, Callable[[], Any]] = {
    "template/flask": lambda: flask_stream_template_string(PAGE, rows=table()),
    "template/seed": seed_template,
    "template/ours": lambda: flask_streaming.stream_template_string(PAGE, rows=table()),
    "template/render": lambda: render_template_string(PAGE, rows=table()),
    "csv/seed": lambda: kept(seed_csv()),
    "csv/row": lambda: kept(csv_by_row()),
    "csv/ours": lambda: flask_streaming.stream_csv(table(), HEADER),
    "ndjson/row": lambda: kept(json.dumps(item) + "\n" for item in items()),
    "ndjson/ours": lambda: flask_streaming.stream_ndjson(items()),
    "json/row": lambda: kept(json_by_row()),
    "json/ours": lambda: flask_streaming.stream_json(items()),
    "events/one": lambda: Response(events_by_one(), mimetype="text/event-stream"),
    "events/ours": lambda: flask_streaming.event_stream(events()),
    "raw/flask": lambda: Response(BLOCK for _ in range(8192)),
}


def flask_app() -> Flask:
    """Make the app with ours, Flask's own and the seed's ways."""
    app = Flask(__name__)
    Streaming(app)
    for name, view in VIEWS.items():
        app.add_url_rule(f"/{name}", name, view)
    app.add_url_rule("/process", "process", lambda: str(os.getpid()))
    return app


def django_app() -> Any:
    """Make Django's app, with the documented way of streaming CSV."""
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import StreamingHttpResponse
    from django.urls import path

    class Echo:
        write = staticmethod(str)

    def view(_: Any) -> StreamingHttpResponse:
        writer = csv.writer(Echo())
        lines = (writer.writerow(row) for row in rows_of(100_000))
        return StreamingHttpResponse(lines, content_type="text/csv")

    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=(path("csv/django", view),), SECRET_KEY="x"
    )
    django.setup()
    return get_wsgi_application()


def starlette_app() -> Any:
    """Make Starlette's app, with both kinds of generators."""
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    def lines() -> Iterator[str]:
        for row in rows_of(100_000):
            yield ",".join(row) + "\n"

    async def async_lines() -> Any:
        for line in lines():
            yield line

    async def blocks() -> Any:
        for _ in range(8192):
            yield BLOCK

    def route(path: str, body: Callable[[], Any]) -> Route:
        async def view(_: Any) -> StreamingResponse:
            return StreamingResponse(body(), media_type="text/csv")

        return Route(path, view)

    return Starlette(
        routes=[
            route("/csv/starlette-sync", lines),
            route("/csv/starlette-async", async_lines),
            route("/raw/starlette", blocks),
        ]
    )


def raw_app(_: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Answer with blocks: what the server itself can do."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (BLOCK for _ in range(8192))


def curl(server: Server, path: str, times: int) -> tuple[float, float, float]:
    """Fetch an answer; return the server's CPU, all time and that to the first byte."""
    assert server.process is not None
    found = []
    for _ in range(times):
        before = cpu(server.process.pid)
        output = subprocess.run(
            ["curl", "-sS", f"{server.url}/{path}", "-o", "/dev/null", "-w",
             "%{time_total} %{time_starttransfer} %{http_code}"],
            capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
        total, first, code = output.split()
        assert code == "200", (path, code)
        spent = cpu(server.process.pid) - before
        found.append((spent, float(total), float(first)))
    return min(found)


#: By how much ours is faster, at least, than the first of its table.
BARS = {"template": 5, "csv": 4, "ndjson": 20, "json": 20}
#: The tables: what is streamed, and by whom, the base of the ratio first.
TABLES = {
    "template": ("Template, 100,000 rows", "flask seed ours render"),
    "csv": (
        "CSV, 100,000 rows of 7",
        "seed row ours django starlette-async starlette-sync",
    ),
    "ndjson": ("NDJSON, 100,000 items", "row ours"),
    "json": ("JSON array, 100,000 items", "row ours"),
    "events": ("Events, 100,000", "one ours"),
    "raw": ("Raw, 512 MiB in blocks of 64 KiB", "limit flask starlette"),
}


def show(kind: str, server_of: Callable[[str], Server | None], times: int) -> None:
    """Print the table of one kind of stream."""
    title, ways = TABLES[kind]
    print(f"\n{title}\n{'':28}{'CPU':>10}{'total':>10}{'first':>9}{'times faster':>18}")
    base: tuple[float, float] | None = None
    for way in ways.split():
        if (server := server_of(way)) is None:
            continue
        curl(server, f"{kind}/{way}?rows=1000", 1)
        spent, total, first = curl(server, f"{kind}/{way}", times)
        base = base or (spent, total)
        bar = f"  bar {BARS[kind]}" if way == "ours" and kind in BARS else ""
        print(
            f"{kind + '/' + way:28}{spent * 1e3:7.0f} ms{total * 1e3:7.0f} ms"
            f"{first * 1e3:6.1f} ms{base[0] / spent:8.2f}x{base[1] / total:8.2f}x{bar}"
        )


def show_memory(server: Server, rows: int) -> None:
    """Print by how much a large answer raises the worker's memory."""
    with urllib.request.urlopen(f"{server.url}/process") as answer:
        process = Path("/proc") / answer.read().decode()

    def peak() -> int:
        status = (process / "status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    print(f"\nMemory: the worker's peak, {rows:,} rows")
    names = [f"{kind}/ours" for kind in ("csv", "ndjson", "json", "template")]
    for name in (*names, "template/render"):
        curl(server, f"{name}?rows=10000", 1)
        (process / "clear_refs").write_text("5")
        before = peak()
        curl(server, f"{name}?rows={rows}", 1)
        print(f"{name:28}{(peak() - before) / 1024:+7.2f} MiB")


def main(quick: bool, worker: str) -> None:
    """Run all of it."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import harness
    from harness.wsgi import python_server

    def gunicorn(name: str) -> Server:
        environ = {"BENCH_APP": name}
        return stack.enter_context(
            harness.gunicorn(HERE, worker=worker, environ=environ)
        )

    def uvicorn(port: int, _: Path) -> list[str]:
        options = ["--log-level", "error", "--port", str(port), "streaming:app"]
        return [sys.executable, "-m", "uvicorn", *options]

    with ExitStack() as stack:
        ours = gunicorn("flask_app")
        others = {"limit": gunicorn("raw_app")}
        if find_spec("django"):
            others["django"] = gunicorn("django_app")
        if find_spec("starlette") and find_spec("uvicorn"):
            environ = {"BENCH_APP": "starlette_app"}
            server = python_server("uvicorn", uvicorn, HERE, environ)
            others["starlette"] = stack.enter_context(server)

        def server_of(way: str) -> Server | None:
            peer = way.split("-")[0]
            if (peer in {"django", "starlette"} and peer not in others) or (
                quick and way == "starlette-sync"
            ):
                return None
            return others.get(peer, ours)

        for name in {"django", "starlette"} - others.keys():
            print(f"Without {name}: pip install django starlette uvicorn")
        if not find_spec("orjson"):
            print("Without orjson: pip install orjson")
        for kind in TABLES:
            show(kind, server_of, 1 if quick else 3)
        show_memory(ours, 100_000 if quick else 1_000_000)


if __name__ == "__main__":
    if shutil.which("curl") is None:
        sys.exit("curl is not installed; install it with: apt-get install curl")
    main("--quick" in sys.argv, "gevent" if "gevent" in sys.argv else "gthread")
else:
    app: Any = globals()[os.environ["BENCH_APP"]]
    if app is not raw_app:
        app = app()
