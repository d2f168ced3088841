"""The longest wait of a request while gunicorn replaces its workers.

Usage: python benchmarks/streaming_reload.py [--quick]

Requests come all the time, each on a connection of its own, while clients hold live
streams and come back when they are cut. Workers are replaced by a reload (SIGHUP) and
by ``--max-requests``. Beside it the same without any stream: what gunicorn itself does.
Then 50 tabs leave a worker of 50 threads, and 50 clients do not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from flask import Flask
from flask import request

from flask_streaming import Streaming
from flask_streaming import event_stream
from flask_streaming import stream_finished


if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Server

HERE = Path(__file__).resolve()
STREAMS, THREADS, ASKING, WORKERS = 20, 60, 4, 3
#: How long a request may wait, in seconds; more than gunicorn alone.
BAR = 1.0


def flask_app() -> Flask:
    """Make the app."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    streaming = Streaming(app)
    ended: list[str] = []

    @stream_finished.connect_via(app)
    def count(_: Flask, exception: BaseException | None, **__: object) -> None:
        ended.append(type(exception).__name__)

    @app.get("/events")
    def events() -> Any:
        return event_stream(streaming.subscribe("news"), ping=60)

    @app.post("/publish")
    def publish() -> str:
        for _ in range(request.args.get("count", 1, int)):
            streaming.publish("news", "x" * request.args.get("size", 50, int))
        return "ok"

    app.add_url_rule("/ended", "ended", lambda: str(len(ended)))
    app.add_url_rule("/ready", "ready", lambda: "ok")
    return app


READY = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def fetched(port: int) -> bytes:
    """Send a request on a connection of its own; return the answer's start."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(READY)
        return await reader.read(100)
    finally:
        writer.close()


async def listen(port: int) -> None:
    """Hold a stream, and come back when it ends."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while await reader.read(1 << 16):
                pass
            writer.close()
        await asyncio.sleep(0.5)


async def ask(port: int, waits: list[float], failed: list[str]) -> None:
    """Send requests without end."""
    while True:
        started = time.monotonic()
        try:
            if b" 200 " not in await fetched(port):
                failed.append("no answer")
        except OSError as error:
            failed.append(type(error).__name__)
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.05)


async def reloading(server: Server, streams: int, reloads: int) -> tuple[float, int]:
    """Replace the workers; return the longest wait, and how many requests failed."""
    assert server.process is not None
    waits: list[float] = []
    failed: list[str] = []
    # The server listens before its workers have loaded the application.
    await fetched(server.port)
    tasks = [asyncio.create_task(listen(server.port)) for _ in range(streams)]
    await asyncio.sleep(2)
    tasks += [
        asyncio.create_task(ask(server.port, waits, failed)) for _ in range(ASKING)
    ]
    for _ in range(reloads or 8):
        await asyncio.sleep(3)
        if reloads:
            server.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return max(waits), len(failed)


def show_reloads(worker: str, reloads: int) -> None:
    """Print the longest waits of one kind of worker, with streams and without."""
    import harness

    what = "reload" if reloads else "max-requests"
    longest = []
    for streams in (0, STREAMS):
        options = ["--graceful-timeout", "30"]
        if worker == "gthread":
            options += ["--threads", str(THREADS)]
        if not reloads:
            options += ["--max-requests", "200", "--max-requests-jitter", "200"]
        with harness.gunicorn(
            HERE,
            *options,
            worker=worker,
            workers=WORKERS,
            environ={"BENCH_APP": "flask_app"},
        ) as server:
            found, failed = asyncio.run(reloading(server, streams, reloads))
        longest.append(found)
        print(
            f"{worker:8} {what:13}{streams:4} streams{found:8.2f} s"
            f"{failed:5} requests failed",
            flush=True,
        )
    alone, ours = longest
    word = "met" if ours <= BAR or ours - alone <= BAR else "MISSED"
    print(f"    ours less gunicorn alone {ours - alone:18.2f} s  bar {BAR}  {word}")


def connected(server: Server, size: int = 0) -> socket.socket:
    """Ask for a stream, and read its first block."""
    client = socket.socket()
    if size:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"event: position" not in received:
        received += client.recv(4096)
    return client


def asked(server: Server, path: str, method: str = "GET") -> str:
    """Send a request."""
    sent = urllib.request.Request(server.url + path, method=method)
    with urllib.request.urlopen(sent, timeout=60) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def threads(count: int, **settings: str) -> Iterator[Server]:
    """Run a worker with so many threads."""
    import harness

    environ = {"BENCH_APP": "flask_app", **settings}
    with harness.gunicorn(
        HERE, "--threads", str(count), worker="gthread", environ=environ
    ) as server:
        yield server


def judge(what: str, value: float, bar: float) -> None:
    """Print a figure beside its bar."""
    word = "met" if value <= bar else "MISSED"
    print(f"{what:58}{value:6.2f} s  bar {bar}  {word}", flush=True)


def show_left() -> None:
    """Print how long the next request waits after 50 tabs have left."""
    with threads(50) as server:
        clients = [connected(server) for _ in range(50)]
        for client in clients:
            client.close()
        started = time.monotonic()
        asked(server, "/ready")
        took = time.monotonic() - started
    judge("50 tabs left 50 threads: the next request", took, 1.5)


def show_stuck() -> None:
    """Print how long 50 clients that do not read hold their threads."""
    with threads(52, FLASK_STREAMING_HISTORY="300") as server:
        clients = [connected(server, 2048) for _ in range(50)]
        # Far more than the sockets take, and then more than the history holds.
        asked(server, "/publish?count=300&size=20000", "POST")
        time.sleep(2)
        asked(server, "/publish?count=700&size=20000", "POST")
        started = time.monotonic()
        while int(asked(server, "/ended")) < 50:
            if time.monotonic() - started > 60:
                break
            time.sleep(0.05)
        took = time.monotonic() - started
        for client in clients:
            client.close()
    judge("50 clients that do not read: threads held", took, 5)


def main(quick: bool) -> None:
    """Run all of it."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    show_left()
    show_stuck()
    for worker in ("gthread", "gevent"):
        for reloads in (2, 0) if quick else (6, 0):
            show_reloads(worker, reloads)


if __name__ == "__main__":
    main("--quick" in sys.argv)
else:
    app: Any = globals()[os.environ["BENCH_APP"]]()
