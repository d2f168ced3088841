"""Events in a real browser, between processes, and over outages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page

APP = Path(__file__).with_name("streams_app.py")
LISTEN = """([path, type]) => {
    const source = window.source = new EventSource(path);
    window.seen = []; window.states = [];
    source.onopen = () => window.states.push("open");
    source.onerror = () => window.states.push(source.readyState);
    source.addEventListener(type, (event) => window.seen.push(event.data));
}"""


def post(server: harness.Server, path: str) -> dict[str, Any]:
    """Send a request without a body."""
    request = urllib.request.Request(f"{server.url}{path}", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(scope="module", params=harness.WSGI_SERVERS[1:])
def server(request: pytest.FixtureRequest) -> Iterator[harness.Server]:
    """Each server that can hold more than one stream."""
    with harness.serve(request.param, APP) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, server: harness.Server) -> Iterator[Page]:
    """A page of the app."""
    with chromium.new_page() as page:
        page.goto(f"{server.url}/page")
        yield page


def test_browser_resumes_until_204(page: Page) -> None:
    """EventSource comes back with its last id, and stops at a 204; text is intact."""
    page.evaluate(LISTEN, ["/count-down", "number"])
    page.wait_for_function("window.source.readyState === EventSource.CLOSED")
    expected = [f"{number}\u2028\n\u0085" for number in range(1, 7)]
    assert page.evaluate("window.seen") == expected


def test_browser_resumes_after_failure(page: Page) -> None:
    """A stream that breaks is taken up after the last event that came."""
    page.evaluate(LISTEN, ["/count-down?break", "number"])
    page.wait_for_function("window.source.readyState === EventSource.CLOSED")
    assert len(page.evaluate("window.seen")) == 6


def test_browser_opens_at_once(page: Page) -> None:
    """The connection is open while no event comes, not even a ping."""
    page.evaluate(LISTEN, ["/silent", "message"])
    page.wait_for_function("window.states[0] === 'open'")
    assert page.evaluate("window.seen") == []


def test_browser_sees_cut_download(page: Page) -> None:
    """``fetch`` rejects a stream that failed in the middle."""
    script = "fetch('/fail/megabytes').then((r) => r.text()).then(() => 0, () => 1)"
    assert page.evaluate(script) == 1


def test_restart_is_told(chromium: Browser) -> None:
    """After a restart, the embedded broker tells a client what it cannot know."""
    with harness.gunicorn(APP, worker="gthread") as server, chromium.new_page() as page:
        page.goto(f"{server.url}/page")
        page.evaluate(LISTEN, ["/events", "message"])
        page.evaluate(
            "window.source.addEventListener('gap', () => window.seen.push('gap'))"
        )
        page.wait_for_function("window.states[0] === 'open'")
        post(server, "/publish?first=1")
        page.wait_for_function("window.seen.length === 1")
        server.restart()
        post(server, "/publish?first=2")
        page.wait_for_function("window.seen.length === 3")
        post(server, "/publish?first=3")
        page.wait_for_function("window.seen.length === 4")
        assert page.evaluate("window.seen") == ["1", "gap", "2", "3"]


class Listener:
    """A client that comes back by itself, as a browser does."""

    def __init__(self, server: harness.Server, path: str = "/events") -> None:
        self.server = server
        self.path = path
        self.connected = 0
        self.seen: list[int] = []
        self.other: list[str] = []
        self.last_id = ""

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.listen()
            await asyncio.sleep(0.1)

    async def listen(self) -> None:
        """Listen until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        head = f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n"
        writer.write(head.encode())
        try:
            event = ""
            async for line in reader:
                match line.decode().rstrip("\r\n").partition(": "):
                    case ("retry", _, _):
                        self.connected += 1
                    case ("id", _, value):
                        self.last_id = value
                    case ("event", _, event):
                        pass
                    case ("data", _, value):
                        if event and event != "position":
                            self.other.append(event)
                        elif value.isdigit() and not event:
                            self.seen.append(int(value))
                    case ("", _, _):
                        event = ""
        finally:
            writer.close()


async def settle(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def attend(listeners: list[Listener], act: Callable[[], Any]) -> None:
    """Run the listeners, and what is to happen meanwhile."""
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        await settle(lambda: all(listener.connected for listener in listeners), 60)
        await act()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def listening(listeners: list[Listener], act: Callable[[], Any]) -> None:
    """Do the same where the browser's own loop does not run."""
    with ThreadPoolExecutor(1) as executor:
        # Not in Python's development mode, which takes most of the machine.
        executor.submit(asyncio.run, attend(listeners, act), debug=False).result()


@pytest.fixture
def workers(redis_session: Any, redis_url: str) -> Iterator[harness.Server]:
    """Two gevent workers that share a Redis."""
    environ = {"FLASK_STREAMING_REDIS_URL": redis_url}
    options = ["--worker-connections", "2000", "--backlog", "2000"]
    with harness.gunicorn(
        APP, *options, worker="gevent", workers=2, environ=environ
    ) as server:
        yield server


#: The long form has more: ``STREAMING_CLIENTS=1500 pytest test_events.py``.
CLIENTS = int(os.environ.get("STREAMING_CLIENTS", "200"))


def test_fan_out_over_workers(workers: harness.Server) -> None:
    """Many clients of two workers each see each event once, in order."""
    listeners = [Listener(workers) for _ in range(CLIENTS)]

    async def act() -> None:
        for count in (1, 2, 3):
            await asyncio.to_thread(post, workers, f"/publish?first={count}")

            def arrived(count: int = count) -> bool:
                return all(len(listener.seen) == count for listener in listeners)

            await settle(arrived)

    listening(listeners, act)
    assert all(listener.seen == [1, 2, 3] for listener in listeners)


def test_killed_worker(workers: harness.Server) -> None:
    """When a worker is killed, its clients miss nothing and see nothing twice."""
    listeners = [Listener(workers) for _ in range(20)]

    async def act() -> None:
        await asyncio.to_thread(post, workers, "/publish?first=0&count=50")
        with urllib.request.urlopen(f"{workers.url}/counts") as answer:
            os.kill(json.load(answer)["process"], signal.SIGKILL)
        for first in range(50, 100, 10):
            await asyncio.to_thread(post, workers, f"/publish?first={first}&count=10")
        await settle(lambda: all(len(it.seen) >= 100 for it in listeners))

    listening(listeners, act)
    assert all(listener.seen == list(range(100)) for listener in listeners)
    assert not any(listener.other for listener in listeners)


def test_redis_restarts(workers: harness.Server, redis_session: Any) -> None:
    """When Redis was away, clients see what came before and after, by themselves."""
    listeners = [Listener(workers) for _ in range(20)]
    late = Listener(workers)

    async def act() -> None:
        await asyncio.to_thread(post, workers, "/publish?first=0&count=10")
        await asyncio.to_thread(redis_session.stop)
        task = asyncio.create_task(late.run())
        await settle(lambda: late.connected > 1)
        await asyncio.to_thread(redis_session.start)
        number = 10
        while not late.seen:
            await asyncio.to_thread(post, workers, f"/publish?first={number}")
            await asyncio.sleep(0.05)
            number += 1
        await settle(lambda: all(len(it.seen) == number for it in listeners))
        task.cancel()

    listening(listeners, act)
    seen = listeners[0].seen
    assert seen == list(range(len(seen)))
    assert all(listener.seen == seen for listener in listeners)
    assert late.seen == seen[-len(late.seen) :]
    assert not any(listener.other for listener in listeners)


@pytest.mark.parametrize("path", ["/events", "/pumped", "/wrapped"])
def test_nothing_is_left(redis_url: str, path: str) -> None:
    """60 clients that leave hold no stream, thread, file or database connection."""
    pytest.importorskip("sqlalchemy")
    environ = {"FLASK_STREAMING_REDIS_URL": redis_url}
    with harness.gunicorn(
        APP, "--threads", "90", worker="gthread", environ=environ
    ) as server:

        def ask(path: str) -> Any:
            with urllib.request.urlopen(f"{server.url}{path}") as answer:
                return json.load(answer)

        def counts() -> dict[str, int]:
            found: dict[str, int] = ask("/counts")
            return found

        before = counts()
        assert ask("/connections") == 0
        # A bare subscription does not keep the context that holds the connection.
        kept = 0 if path == "/events" else 60
        listeners = [Listener(server, f"{path}?database") for _ in range(60)]

        async def act() -> None:
            assert all(listener.connected == 1 for listener in listeners)
            assert ask("/connections") == kept

        listening(listeners, act)
        wait_until(lambda: counts().get("ClientDisconnected", 0) == 60)
        wait_until(lambda: counts()["pumps"] == ask("/connections") == 0)
        assert counts().get("closed", 0) == kept
        # The pool of Redis and that of the worker keep theirs; the streams keep none.
        wait_until(lambda: counts()["files"] <= before["files"] + 12)
