"""Measure the cost of live events: ours, and a WSGI application written by hand.

Usage: python benchmarks/streaming_fanout.py [--quick] [--redis]

CPU of the worker for each event that arrives at a subscriber, one event at a time and
200 at once, and its memory for each idle subscriber. Compare within one run only.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from flask import Flask
from flask import request

from flask_streaming import Streaming
from flask_streaming import event_stream


HERE = Path(__file__).resolve()
DATA = "x" * 50
EVENT = f"id: 12345678-1234567890123456\ndata: {DATA}\n\n".encode()
EVENTS, BURST = 100, 200
TICKS = os.sysconf("SC_CLK_TCK")


def flask_app() -> Flask:
    """Make the app with ours."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    streaming = Streaming(app)

    @app.get("/events")
    def events() -> Any:
        return event_stream(streaming.subscribe("news"), ping=60)

    @app.post("/publish")
    def publish() -> str:
        for _ in range(request.args.get("count", 1, int)):
            streaming.publish("news", DATA)
        return "ok"

    app.add_url_rule("/process", "process", lambda: str(os.getpid()))
    return app


def by_hand() -> Callable[..., Any]:
    """Make an app with a queue for each client, without bounds, ids or resume."""
    clients: set[queue.Queue[bytes]] = set()

    def listen() -> Iterator[bytes]:
        mine: queue.Queue[bytes] = queue.Queue()
        clients.add(mine)
        try:
            yield b":\n\n"
            while True:
                yield mine.get()
        finally:
            clients.discard(mine)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        if environ["PATH_INFO"] == "/events":
            return listen()
        if environ["PATH_INFO"] == "/publish":
            count = parse_qs(environ["QUERY_STRING"]).get("count", ["1"])[0]
            for _ in range(int(count)):
                for client in list(clients):
                    client.put(EVENT)
            return [b"ok"]
        return [str(os.getpid()).encode()]

    return application


class Load:
    """Subscribers of one server."""

    def __init__(self, url: str, port: int, count: int) -> None:
        self.url = url
        self.port = port
        self.seen = [-1] * count
        self.process = Path("/proc") / self.ask("/process")

    def ask(self, path: str, method: str = "GET") -> str:
        """Send a request."""
        asked = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return str(answer.read().decode())

    def cpu(self) -> float:
        """Return the worker's time so far."""
        fields = (self.process / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Return the worker's memory in KiB."""
        status = (self.process / "status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    async def listen(self, index: int) -> None:
        """Count events for ever."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while part := await reader.read(1 << 16):
            self.seen[index] = max(self.seen[index], 0) + part.count(b"data: x")

    async def publish(self, count: int) -> float:
        """Publish, wait until all have arrived, return the time of the view."""
        expected = min(self.seen) + count
        started = time.monotonic()
        await asyncio.to_thread(self.ask, f"/publish?count={count}", "POST")
        took = time.monotonic() - started
        async with asyncio.timeout(60):
            while min(self.seen) < expected:
                await asyncio.sleep(0.005)
        return took

    async def run(self) -> tuple[float, float, float, float]:
        """Return KiB per subscriber, and us per event; in a burst; and its view."""
        before = self.memory()
        tasks = [asyncio.create_task(self.listen(it)) for it in range(len(self.seen))]
        async with asyncio.timeout(60):
            while min(self.seen) < 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        memory = (self.memory() - before) / len(self.seen)
        await self.publish(1)
        started = self.cpu()
        for _ in range(EVENTS):
            await self.publish(1)
        single = (self.cpu() - started) / EVENTS / len(self.seen)
        started = self.cpu()
        view = await self.publish(BURST)
        burst = (self.cpu() - started) / BURST / len(self.seen)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return memory, single * 1e6, burst * 1e6, view


def main(quick: bool, redis: bool) -> None:
    """Run all of it."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import harness

    print(f"{'':26}{'KiB idle':>10}{'us':>8}{'us in burst':>13}{'s of the view':>15}")
    for worker in ("gevent", "gthread"):
        for count in (300,) if quick or worker == "gthread" else (300, 1000):
            for name in ("by_hand", "flask_app"):
                with ExitStack() as stack:
                    environ = {"BENCH_APP": name}
                    if redis:
                        server = stack.enter_context(harness.redis_server())
                        environ["FLASK_STREAMING_REDIS_URL"] = server.url
                    options = ["--threads", str(count + 20)]
                    if worker == "gevent":
                        options = ["--worker-connections", "3000", "--backlog", "2000"]
                    front = stack.enter_context(
                        harness.gunicorn(HERE, *options, worker=worker, environ=environ)
                    )
                    load = Load(front.url, front.port, count)
                    found = asyncio.run(load.run())
                    print(
                        f"{worker + ' ' + str(count) + ' ' + name:26}"
                        "{:10.1f}{:8.1f}{:13.2f}{:15.3f}".format(*found)
                    )


if __name__ == "__main__":
    main("--quick" in sys.argv, "--redis" in sys.argv)
else:
    app: Any = globals()[os.environ["BENCH_APP"]]()
