"""The browser's side of live events, in a real browser behind a real nginx."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

import harness
from flask_streaming import Streaming


if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page

APP = Path(__file__).with_name("streams_app.py")
LISTEN = """async ([path, options]) => {
    const { EventStream } = await import("/flask-streaming/events.js");
    const stream = window.stream = new EventStream(path, options);
    window.seen = []; window.gaps = 0; window.states = [];
    stream.addEventListener("message", (event) => window.seen.push(event.data));
    stream.addEventListener("gap", () => window.gaps++);
    stream.addEventListener("open", () => window.states.push("open"));
    stream.addEventListener("close", () => window.states.push("close"));
    stream.addEventListener("error", (event) => window.states.push(event.status));
}"""
PROXY = """location / {{
    proxy_pass http://127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
}}"""
#: The long form has more: ``STREAMING_RESTARTS=20 pytest test_client.py``.
RESTARTS = int(os.environ.get("STREAMING_RESTARTS", "4"))


@pytest.fixture(scope="module")
def workers(redis_session: harness.RedisServer) -> Iterator[harness.Server]:
    """Two workers, which share their events over Redis."""
    environ = {"FLASK_STREAMING_REDIS_URL": redis_session.url}
    with harness.gunicorn(
        APP, "--threads", "20", worker="gthread", workers=2, environ=environ
    ) as server:
        yield server


@pytest.fixture(scope="module")
def front(workers: harness.Server) -> Iterator[harness.Server]:
    """The nginx in front of them, which answers 502 while they are away."""
    with harness.nginx(PROXY.format(port=workers.port)) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, front: harness.Server) -> Iterator[Page]:
    """A page of the app."""
    with chromium.new_page() as page:
        page.set_default_timeout(60_000)
        page.goto(f"{front.url}/page")
        yield page


@pytest.mark.parametrize("status", [502, 503])
def test_failure_passes(page: Page, status: int) -> None:
    """It comes back from answers that an EventSource gives up at."""
    page.evaluate(LISTEN, [f"/refuse/{status}", {"retry": 20}])
    page.wait_for_function("window.seen.includes('back')")


@pytest.mark.parametrize(
    ("status", "states"), [(403, [403, "close"]), (204, ["close"])]
)
def test_refusal_stays(page: Page, status: int, states: list[object]) -> None:
    """It ends where the view refuses, which is reported, and at a 204."""
    page.evaluate(LISTEN, [f"/refuse/{status}", {"retry": 20}])
    page.wait_for_function("window.stream.closed")
    assert page.evaluate("window.states") == states


def test_page_in_the_place_of_events(page: Page) -> None:
    """It ends at a response that is not a stream, such as a login page."""
    page.evaluate(LISTEN, ["/page", {}])
    page.wait_for_function("window.stream.closed")
    assert page.evaluate("window.states") == [200, "close"]


def test_silence_is_noticed(page: Page) -> None:
    """A connection without even a ping is replaced."""
    page.evaluate(LISTEN, ["/silent", {"retry": 20, "timeout": 300}])
    page.wait_for_function("window.states.length >= 3")


def test_pings_are_no_silence(page: Page) -> None:
    """Pings, of which listeners see nothing, keep a connection."""
    page.evaluate(LISTEN, ["/quiet", {"retry": 20, "timeout": 3000}])
    page.wait_for_timeout(3500)
    assert page.evaluate("window.states") == ["open"]


def test_close(page: Page) -> None:
    """A stream that the page closed stays closed, and its last id can be read."""
    page.evaluate(LISTEN, ["/count-down", {}])
    page.evaluate("window.stream.close()")
    assert page.evaluate("[window.stream.closed, window.states.at(-1)]") == [
        True,
        "close",
    ]


def test_from_a_position(page: Page) -> None:
    """A position that the page was rendered with is where the stream begins."""
    page.evaluate(
        """async () => {
        const { EventStream } = await import("/flask-streaming/events.js");
        window.stream = new EventStream("/count-down", { lastEventId: "4" });
        window.seen = [];
        const see = (event) => window.seen.push(event.lastEventId);
        window.stream.addEventListener("number", see);
    }"""
    )
    page.wait_for_function("window.stream.closed")
    assert page.evaluate("window.seen") == ["5", "6", "7"]
    assert page.evaluate("window.stream.lastEventId") == "7"


def test_parser(page: Page) -> None:
    """A stream is read as the standard says, wherever its parts are cut."""
    stream = (
        "\ufeff: comment\r\ndata: a\r\ndata:b\r\n\r\n"
        "event: x\rid: 1\rdata\r\r"
        "id: 2\n\nretry: 70\nretry: 7x\nid: \0\nunknown: 1\ndata:  two \n\n"
        "data: cut off"
    )
    found = page.evaluate(
        """async (stream) => {
        const { parser } = await import("/flask-streaming/events.js");
        const bytes = new TextEncoder().encode(stream);
        const results = new Set();
        for (let size = 1; size <= bytes.length; size++) {
            const seen = [], decoder = new TextDecoder();
            const parse = parser((e) => seen.push(e), (ms) => seen.push(ms));
            for (let at = 0; at < bytes.length; at += size) {
                const part = bytes.slice(at, at + size);
                parse(decoder.decode(part, { stream: true }));
            }
            results.add(JSON.stringify(seen));
        }
        return [...results].map(JSON.parse);
    }""",
        stream,
    )
    assert found == [
        [
            {"type": "message", "data": "a\nb"},
            {"type": "x", "data": "", "id": "1"},
            {"type": "message", "data": None, "id": "2"},
            70,
            {"type": "message", "data": " two "},
        ]
    ]


def test_restarts(
    page: Page, workers: harness.Server, redis_session: harness.RedisServer
) -> None:
    """A page loses nothing, and sees nothing twice, in restarts behind nginx."""
    publisher = Flask(__name__)
    publisher.config["STREAMING_REDIS_URL"] = redis_session.url
    streaming = Streaming(publisher)
    numbers = itertools.count()
    sent: list[str] = []

    def publish(count: int) -> None:
        with publisher.app_context():
            for number in itertools.islice(numbers, count):
                streaming.publish("client", str(number))
                sent.append(str(number))

    page.evaluate(LISTEN, ["/events?channel=client", {"retry": 20}])
    page.wait_for_function("window.states.includes('open')")
    publish(3)
    page.wait_for_function("window.seen.length === 3")
    with ThreadPoolExecutor(1) as pool:
        for turn in range(RESTARTS):
            # Each second time at once, without waiting for open streams.
            workers.stop_signal = (signal.SIGTERM, signal.SIGQUIT)[turn % 2]
            workers.stop()
            # Some while there is no server, and some while it comes back.
            publish(3)
            later = pool.submit(publish, 3)
            workers.start()
            later.result()
    page.wait_for_function(f"window.seen.length >= {len(sent)}")
    publish(1)
    page.wait_for_function(f"window.seen.at(-1) === '{sent[-1]}'")
    assert page.evaluate("window.seen") == sent
    assert page.evaluate("window.gaps") == 0
