"""The app that the servers run."""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from flask import Flask
from flask import Response
from flask import g
from flask import request

from flask_streaming import Streaming
from flask_streaming import client_disconnected
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_streaming import stream_finished
from flask_streaming import stream_json
from flask_streaming import stream_template_string
from flask_streaming import stream_with_context


app = Flask(__name__)
app.config.from_prefixed_env()
streaming = Streaming(app)
#: What happened, in order. A number in a dictionary is not safe between threads.
happened: list[str] = []
#: How often an answer of each status was asked for.
answers: Counter[int] = Counter()


@app.teardown_request
def count_teardown(error: BaseException | None) -> None:
    """Count the ends of contexts."""
    if request.path != "/counts":
        happened.append("torn down")


@stream_finished.connect_via(app)
def count_end(sender: Flask, exception: BaseException | None, **_: object) -> None:
    """Count how streams end."""
    happened.append(type(exception).__name__)


@functools.cache
def pool() -> Any:
    """Make a pool of database connections."""
    import sqlalchemy

    def connect() -> Any:
        return sqlite3.connect(":memory:", check_same_thread=False)

    return sqlalchemy.QueuePool(connect, pool_size=200, max_overflow=0)


@app.before_request
def use_database() -> None:
    """Take a connection, where the test asks for it."""
    if "database" in request.args:
        g.connection = pool().connect()


@app.teardown_appcontext
def release_database(error: BaseException | None) -> None:
    """Give the connection back."""
    if "connection" in g:
        g.connection.close()


@app.get("/connections")
def connections() -> str:
    """Return how many connections are in use."""
    return str(pool().checkedout())


class BrokenError(Exception):
    """The error in the middle of a stream."""


def breaking(blocks: int, block: str) -> Iterator[Any]:
    """Yield blocks, then fail."""
    for _ in range(blocks):
        yield block
    raise BrokenError


@app.get("/fail/<kind>")
def fail(kind: str) -> Any:
    """Fail in the middle of the body."""
    if kind == "chunks":
        return Response(breaking(3, "a chunk\n"))
    if kind == "megabytes":
        return Response(breaking(64, 65536 * "x"))
    if kind == "csv":
        return stream_csv([row] for row in breaking(9999, "cell"))
    if kind == "json":
        return stream_json(breaking(9999, "item"))
    return stream_template_string(
        "{% for row in rows %}{{ row }}{% endfor %}", rows=breaking(9999, "cell")
    )


@app.errorhandler(BrokenError)
def broken(error: BrokenError) -> tuple[dict[str, str], int]:
    """Answer with a page of the app's own."""
    return {"error": "broken"}, 503


@app.get("/early")
def early() -> Response:
    """Fail before the first row."""
    return stream_csv(breaking(0, ""))


@app.get("/whole")
def whole() -> Response:
    """Send 100,000 rows."""
    return stream_csv([number] for number in range(100_000))


def ticks(seconds: float, tick: bytes) -> Iterator[bytes]:
    """Yield ticks for 20 seconds."""
    happened.append("started")
    try:
        yield b"first\n"
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(seconds)
            yield tick
        happened.append("ran to its end")
    finally:
        happened.append("closed")


@app.get("/ticks/<kind>")
def tick(kind: str) -> Response:
    """Go on for long, in chunks or in silence."""
    if kind == "silent":
        return Response(stream_with_context(ticks(0.02, b"")))
    return Response(stream_with_context(ticks(0.02, b"tick\n")))


@app.get("/asking")
def asking() -> Response:
    """Check whether the client is connected, without sending anything."""

    def generate() -> Iterator[bytes]:
        happened.append("started")
        yield b"first\n"
        end = time.monotonic() + 20
        while not client_disconnected() and time.monotonic() < end:
            time.sleep(0.02)
        if client_disconnected() is True:
            happened.append("saw it leave")

    return Response(stream_with_context(generate()))


#: Set by the client once it has the first part.
next_step = threading.Event()


@app.get("/steps/<kind>")
def steps(kind: str) -> Any:
    """Send a part, and the other one once the client has the first."""
    next_step.clear()

    def generate() -> Iterator[str]:
        # A group of the template's items, and more than its first chunk needs.
        yield from ["first", *[500 * " "] * 4]
        yield "last" if next_step.wait(10) else "too late"

    if kind == "generator":
        return Response(stream_with_context(generate()))
    source = "{% for part in parts %}{{ part }}{% endfor %}"
    return Response(stream_template_string(source, parts=generate()))


@app.post("/steps")
def release() -> tuple[str, int]:
    """Take the next step."""
    next_step.set()
    return "", 204


@app.get("/quiet")
def quiet() -> Response:
    """Listen to a channel without events."""
    happened.append("started")
    return event_stream(streaming.subscribe("quiet"), ping=0.5)


@app.get("/wrapped")
def wrapped() -> Response:
    """Listen through a generator, which waits forever without events."""

    def generate() -> Iterator[Any]:
        try:
            yield from streaming.subscribe("quiet")
        finally:
            happened.append("closed")

    return event_stream(generate(), retry=200, ping=1)


@app.get("/events")
def events() -> Response:
    """Listen to a channel."""
    channel = request.args.get("channel", "news")
    ping = float(request.args.get("ping", "1"))
    return event_stream(streaming.subscribe(channel), retry=200, ping=ping)


@app.get("/pumped")
def pumped() -> Response:
    """Send events from a generator, which a thread reads."""
    return event_stream((tick.decode() for tick in ticks(0.1, b"7")), retry=200, ping=1)


@app.get("/count-down")
def count_down() -> Response:
    """Count from the last number that the client saw; break, or end with a 204."""
    last = int(request.headers.get("Last-Event-ID", "0"))
    if last >= 6:
        return Response(status=204)

    def generate() -> Iterator[Any]:
        from flask_streaming import ServerSentEvent

        for number in range(last + 1, last + 4):
            yield ServerSentEvent(f"{number}\u2028\n\u0085", "number", id=str(number))
        if "break" in request.args:
            raise BrokenError

    return event_stream(generate(), retry=50)


@app.post("/publish")
def publish() -> dict[str, list[str]]:
    """Publish numbers in a row."""
    channel = request.args.get("channel", "news")
    first, count = request.args.get("first", 0, int), request.args.get("count", 1, int)
    numbers = range(first, first + count)
    if size := request.args.get("size", 0, int):
        return {"ids": [streaming.publish(channel, "x" * size) for _ in numbers]}
    return {"ids": [streaming.publish(channel, str(number)) for number in numbers]}


@app.get("/counts")
def get_counts() -> dict[str, int]:
    """Return what happened, and what is open now."""
    return {
        **Counter(happened),
        "process": os.getpid(),
        "pumps": sum(it.name == "streaming-pump" for it in threading.enumerate()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
    }


@app.get("/refuse/<int:status>")
def refuse(status: int) -> Response:
    """Answer with a status until the test asks for an event."""
    answers[status] += 1
    if answers[status] < 3 or status < 500:
        return Response("no", status, {"Retry-After": "0"})
    return event_stream(iter(["back"]))


@app.get("/silent")
def silent() -> Response:
    """Send an event and then nothing, as a connection that died does."""
    return event_stream(streaming.subscribe("silent"), ping=3600)


@app.get("/page")
def page() -> str:
    """A page for the browser."""
    return "<!doctype html><title>streams</title>"
