"""Clients that leave or stop reading, bursts, and workers that stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import harness


APP = Path(__file__).with_name("streams_app.py")


def ask(server: harness.Server, path: str, method: str = "GET") -> Any:
    """Send a request and return what the answer says."""
    request = urllib.request.Request(f"{server.url}{path}", method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_until(condition: Any, seconds: float = 50) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def connect(server: harness.Server, path: str, size: int = 0) -> socket.socket:
    """Ask for a stream, and read its first block.

    :param size: of the receive buffer, for a client that will not read.
    """
    client = socket.socket()
    if size:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while b"event: position" not in received:
        received += client.recv(4096)
    return client


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """Read until something comes."""
    parts = [b""]
    while mark not in b"".join(parts[-3:]):
        parts.append(client.recv(1 << 16))
        assert parts[-1], parts[-3:]
    return b"".join(parts)


@pytest.fixture(params=["gthread", "gevent"])
def worker(request: pytest.FixtureRequest) -> str:
    """Each kind of worker that can hold many streams."""
    name: str = request.param
    return name


@pytest.fixture(params=["memory", "redis"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Each broker."""
    if request.param == "memory":
        return {}
    return {"FLASK_STREAMING_REDIS_URL": request.getfixturevalue("redis_url")}


def options_of(worker: str, threads: int) -> list[str]:
    """Return options by which a worker can hold as many streams."""
    if worker == "gevent":
        return ["--worker-connections", str(threads)]
    return ["--threads", str(threads)]


#: The long form has more: ``STREAMING_LISTENERS=200 pytest test_leaving.py``.
LISTENERS = int(os.environ.get("STREAMING_LISTENERS", "40"))


def test_burst_cuts_nobody(worker: str, environ: dict[str, str]) -> None:
    """All listeners get all of 1,000 events that a view publishes at once.

    The application is loaded before gevent patches the worker, which must not matter.
    """
    options = [*options_of(worker, LISTENERS + 20), "--preload"]
    with (
        harness.gunicorn(APP, *options, worker=worker, environ=environ) as server,
        ExitStack() as stack,
    ):
        clients = [
            stack.enter_context(connect(server, "/events?channel=burst"))
            for _ in range(LISTENERS)
        ]
        ids = ask(server, "/publish?channel=burst&count=1000", "POST")["ids"]
        for client in clients:
            received = read_until(client, f"{ids[-1]}\ndata: 999\n".encode())
            seen = [it for it in received.split(b"\n") if it.startswith(b"data: ")]
            assert seen == [b"data: %d" % number for number in range(1000)]
            assert b"event: gap" not in received


def test_one_event_at_a_time(worker: str) -> None:
    """Blocks that are written past the server are in order, whole and in chunks."""
    with harness.gunicorn(APP, *options_of(worker, 20), worker=worker) as server:
        url = f"{server.url}/events?channel=slow"
        with urllib.request.urlopen(url, timeout=60) as answer:
            for number in range(30):
                ask(server, f"/publish?channel=slow&first={number}", "POST")
                while (line := answer.readline()) != b"data: %d\n" % number:
                    assert line in {b"\n", b":\n", b"data: \n"} or line.startswith(
                        (b"id: ", b"event: position", b"retry: ")
                    ), line


def test_left_clients_free_their_threads() -> None:
    """50 tabs that were closed do not keep the next request waiting."""
    with harness.gunicorn(APP, "--threads", "50", worker="gthread") as server:
        clients = [connect(server, "/events?ping=60") for _ in range(49)]
        counted = ask(server, "/counts")
        assert counted["threads"] >= 49
        for client in clients:
            client.close()
        # Long before their first ping, which would tell of them too.
        wait_until(lambda: ask(server, "/counts").get("ClientDisconnected") == 49)


def test_stuck_clients_are_cut(worker: str) -> None:
    """Clients that stop reading are cut once they are behind the history."""
    environ = {"FLASK_STREAMING_HISTORY": "10"}
    options = options_of(worker, 30)
    with (
        harness.gunicorn(APP, *options, worker=worker, environ=environ) as server,
        ExitStack() as stack,
    ):
        for _ in range(8):
            client = connect(server, "/events?channel=stuck", 2048)
            stack.enter_context(client)
        # More than any buffer between here and there holds.
        for _ in range(4):
            ask(server, "/publish?channel=stuck&count=120&size=20000", "POST")
            time.sleep(0.3)
        wait_until(
            lambda: (
                sum(
                    ask(server, "/counts").get(name, 0)
                    for name in ("ClientDisconnected", "ConnectionResetError")
                )
                == 8
            ),
            # Those who just do not read have longer.
            25,
        )


def test_worker_that_stops_ends_its_streams(worker: str) -> None:
    """At SIGTERM streams end in good order, and long before they would be cut."""
    options = [*options_of(worker, 20), "--graceful-timeout", "100"]
    with (
        harness.gunicorn(APP, *options, worker=worker) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(connect(server, "/events")) for _ in range(5)]
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            received = b""
            while part := client.recv(4096):
                received += part
            # They are told when to come back, not all at once, and the body is whole.
            assert b"retry: " in received
            assert received.endswith(b"0\r\n\r\n")
        # Long before the server would cut them.
        assert server.process.wait(60) == 0


def test_reload_replaces_workers_with_open_streams(worker: str) -> None:
    """Old workers end long before their time is over, and new ones answer."""
    options = [*options_of(worker, 20), "--graceful-timeout", "100"]
    with (
        harness.gunicorn(APP, *options, worker=worker, workers=2) as server,
        ExitStack() as stack,
    ):
        for _ in range(6):
            stack.enter_context(connect(server, "/events"))
        assert server.process is not None
        before = {ask(server, "/counts")["process"] for _ in range(20)}
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: not any(map(is_alive, before)))
        assert ask(server, "/counts")["process"] not in before


def test_max_requests_with_an_open_stream(worker: str) -> None:
    """A worker that has served its last request is not kept by its streams."""
    options = [*options_of(worker, 20), "--graceful-timeout", "100"]
    with (
        harness.gunicorn(
            APP, *options, "--max-requests", "10", worker=worker
        ) as server,
        connect(server, "/events"),
    ):
        first = ask(server, "/counts")["process"]
        wait_until(lambda: ask(server, "/counts")["process"] != first)


#: The hook, and no search that could take its place.
HOOK = """
def post_worker_init(worker):
    from flask_streaming import _server, watch_worker

    _server._find_worker = lambda: None
    watch_worker(worker)
"""


def test_worker_is_handed_over(tmp_path: Path) -> None:
    """A worker that gunicorn's hook gave is believed when it says that it stops."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(HOOK)
    options = ["--config", str(config), "--threads", "20", "--graceful-timeout", "100"]
    with (
        harness.gunicorn(
            APP, *options, "--max-requests", "10", worker="gthread"
        ) as server,
        connect(server, "/events"),
    ):
        first = ask(server, "/counts")["process"]
        wait_until(lambda: ask(server, "/counts")["process"] != first)


def is_alive(process: int) -> bool:
    """Return whether a process is there."""
    return Path(f"/proc/{process}").exists()
