"""The cost of live events: ours, written by hand, peers and the limit.

Usage: python benchmarks/streaming_fanout.py [--quick] [--redis]

CPU of the server for each event that arrives at a subscriber, one event at a time and
200 at once, its memory for each idle subscriber, and the longest that another request
waits for the burst. The limit is nginx with nchan. Compare within one run only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple
from urllib.parse import parse_qs

from _process import allow_files
from _process import cpu
from _process import memory
from flask import Flask
from flask import request

from flask_streaming import Streaming
from flask_streaming import event_stream


if TYPE_CHECKING:
    from harness import Server

HERE = Path(__file__).resolve()
DATA = "x" * 50
EVENT = f"id: 12345678-1234567890123456\ndata: {DATA}\n\n".encode()
ASKED = b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
EVENTS, BURST = 100, 200
NCHAN = """\
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/output.log;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        nchan_channel_id news;
        location /publish {{ nchan_publisher; nchan_message_buffer_length 1000; }}
        location /events {{ nchan_subscriber eventsource; }}
        location /ready {{ return 200 "ok"; }}
    }}
}}
"""
MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


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

    app.add_url_rule("/ready", "ready", lambda: "ok")
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

    return application


def starlette_app() -> Any:
    """Make an app of sse-starlette's, with a queue for each client."""
    from sse_starlette import EventSourceResponse
    from sse_starlette import ServerSentEvent
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    clients: set[asyncio.Queue[Any]] = set()

    async def generate() -> Any:
        mine: asyncio.Queue[Any] = asyncio.Queue()
        clients.add(mine)
        try:
            yield ServerSentEvent(comment="")
            while True:
                yield await mine.get()
        finally:
            clients.discard(mine)

    async def events(_: Any) -> Any:
        return EventSourceResponse(generate(), ping=60)

    async def publish(asked: Any) -> Any:
        for number in range(int(asked.query_params.get("count", "1"))):
            for client in list(clients):
                client.put_nowait(ServerSentEvent(DATA, id=str(number)))
        return PlainTextResponse("ok")

    async def ready(_: Any) -> Any:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/events", events),
            Route("/publish", publish, methods=["POST"]),
            Route("/ready", ready),
        ]
    )


class Found(NamedTuple):
    """The figures of one server: KiB, microseconds and seconds."""

    idle: float
    single: float
    burst: float
    wait: float


class Load:
    """Subscribers of one server."""

    def __init__(self, server: Server, count: int) -> None:
        assert server.process is not None
        self.server = server
        self.process = server.process.pid
        self.seen = [-1] * count

    def ask(self, path: str, method: str = "GET") -> str:
        """Send a request."""
        data = DATA.encode() if method == "POST" else None
        asked = urllib.request.Request(self.server.url + path, data, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return str(answer.read().decode())

    async def listen(self, index: int) -> None:
        """Count events for ever."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(ASKED)
        while part := await reader.read(1 << 16):
            self.seen[index] = max(self.seen[index], 0) + part.count(b"data: x")

    async def publish(self, path: str, count: int) -> None:
        """Publish, and wait until all have arrived."""
        expected = min(self.seen) + count
        await asyncio.to_thread(self.ask, path, "POST")
        async with asyncio.timeout(120):
            while min(self.seen) < expected:
                await asyncio.sleep(0.005)

    async def longest_wait(self, task: asyncio.Task[None]) -> float:
        """Return the longest time of a small request while a task runs."""
        longest = 0.0
        while not task.done():
            started = time.monotonic()
            await asyncio.to_thread(self.ask, "/ready")
            longest = max(longest, time.monotonic() - started)
            await asyncio.sleep(0.01)
        await task
        return longest

    async def run(self, burst: bool) -> Found:
        """Measure all of it."""
        count = len(self.seen)
        await asyncio.to_thread(self.ask, "/ready")
        before = memory(self.process)
        tasks = [asyncio.create_task(self.listen(it)) for it in range(count)]
        async with asyncio.timeout(120):
            while min(self.seen) < 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        idle = (memory(self.process) - before) / count
        await self.publish("/publish", 1)
        started = cpu(self.process)
        for _ in range(EVENTS):
            await self.publish("/publish", 1)
        single = (cpu(self.process) - started) / EVENTS / count
        together, wait = float("nan"), float("nan")
        if burst:
            started = cpu(self.process)
            publishing = asyncio.create_task(
                self.publish(f"/publish?count={BURST}", BURST)
            )
            wait = await self.longest_wait(publishing)
            together = (cpu(self.process) - started) / BURST / count
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return Found(idle, single * 1e6, together * 1e6, wait)


@contextlib.contextmanager
def nchan() -> Iterator[Server]:
    """Run nginx with nchan, whose answers are written by its one process."""
    import harness
    from harness.server import free_port
    from harness.server import listens
    from harness.server import require
    from harness.server import running
    from harness.server import temporary_directory

    port = free_port()
    with temporary_directory("nchan") as directory:
        conf = directory / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        conf.write_text(
            NCHAN.format(module=MODULE, directory=directory, port=port, user=user)
        )
        program = require("nginx", "apt-get install nginx-light")
        command = [program, "-e", f"{directory}/output.log", "-c", str(conf)]
        server = harness.Server("nchan", command, port, directory, listens)
        with running(server):
            yield server


def served(name: str, worker: str, count: int) -> AbstractContextManager[Server]:
    """Run a server of one kind."""
    import harness
    from harness.wsgi import python_server

    if name == "nchan":
        return nchan()
    environ = {"BENCH_APP": name}
    if worker == "uvicorn":
        options = ["--log-level", "error", f"{HERE.stem}:app", "--port"]
        return python_server(
            "uvicorn",
            lambda port, _: [sys.executable, "-m", "uvicorn", *options, str(port)],
            HERE,
            environ,
        )
    environ["FLASK_STREAMING_REDIS_URL"] = os.environ.get("BENCH_REDIS", "null")
    options = ["--threads", str(count + 20)]
    if worker == "gevent":
        options = ["--worker-connections", "3000", "--backlog", "2000"]
    return harness.gunicorn(HERE, *options, worker=worker, environ=environ)


def measure(name: str, worker: str, count: int) -> Found:
    """Measure one server, and print what was found."""
    with served(name, worker, count) as server:
        # nchan takes one event in each request.
        found = asyncio.run(Load(server, count).run(burst=name != "nchan"))
    row = "{:10.1f}{:9.1f}{:13.2f}{:17.3f}".format(*found)
    print(f"{f'{worker} {count} {name}':30}{row}", flush=True)
    return found


def judge(what: str, value: float, bar: float) -> None:
    """Print a figure beside its bar."""
    word = "met" if value <= bar else "MISSED"
    print(f"    {what:52}{value:9.2f}  bar {bar:5.2f}  {word}", flush=True)


def main(quick: bool, redis: bool) -> None:
    """Run all of it."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import harness

    if allow_files(8192) < 3000:
        sys.exit("too few files may be open: ulimit -Hn 8192")
    peers = find_spec("sse_starlette") is not None
    if not MODULE.exists():
        print("Without nchan: apt-get install libnginx-mod-nchan")
    if not peers:
        print("Without sse-starlette: pip install sse-starlette uvicorn")
    head = f"{'KiB idle':>10}{'us':>9}{'us in burst':>13}{'longest wait, s':>17}"
    print(f"{'':30}{head}")
    with ExitStack() as stack:
        if redis:
            os.environ["BENCH_REDIS"] = stack.enter_context(harness.redis_server()).url
        for count in (300,) if quick else (300, 1000):
            hand = measure("by_hand", "gevent", count)
            ours = measure("flask_app", "gevent", count)
            judge("gevent: times by hand", ours.single / hand.single, 1)
            judge("gevent: KiB of an idle subscriber", ours.idle, 25)
            judge("gevent: seconds for which a burst holds", ours.wait, 0.3)
            if peers:
                peer = measure("starlette_app", "uvicorn", count)
                judge("gevent: times sse-starlette", ours.single / peer.single, 1)
            if MODULE.exists():
                limit = measure("nchan", "nginx", count)
                judge("gevent: times nchan", ours.single / limit.single, 1.5)
        hand = measure("by_hand", "gthread", 300)
        ours = measure("flask_app", "gthread", 300)
        # A queue for each client, which is how it began, took 1.95 times that.
        judge("gthread: times by hand", ours.single / hand.single, 1.95 / 2)


if __name__ == "__main__":
    main("--quick" in sys.argv, "--redis" in sys.argv)
else:
    app: Any = globals()[os.environ["BENCH_APP"]]()
