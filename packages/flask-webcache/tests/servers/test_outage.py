"""Redis stopped, started again, and filled with what is not ours."""

from __future__ import annotations

import os
import pickle
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import RedisServer


HERE = Path(__file__).parent


def get(server: harness.Server, path: str = "/page") -> tuple[str, str]:
    """Return the body and what the cache says of a GET."""
    with urllib.request.urlopen(f"{server.url}{path}", timeout=60) as response:
        return response.read().decode(), response.headers["Cache-Status"]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis to stop."""
    with harness.redis_server() as server:
        yield server


@pytest.fixture(params=["1"], ids=["fast"])
def server(
    request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path
) -> Iterator[harness.Server]:
    """The app on it."""
    environ = {
        "WEBCACHE_URL": redis.url,
        "RUNS": str(tmp_path / "runs"),
        "FAST": request.param,
    }
    with harness.gunicorn(
        HERE / "cache_app.py", worker="gthread", environ=environ
    ) as server:
        yield server


def until_hit(server: harness.Server) -> None:
    """Wait until the cache is used again."""
    deadline = time.monotonic() + 60
    while "; hit" not in get(server)[1]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("server", ["", "1"], ids=["hooks", "fast"], indirect=True)
def test_outage(server: harness.Server, redis: RedisServer) -> None:
    """The app answers while Redis is down, and the cache works again afterwards."""
    until_hit(server)
    redis.stop()
    began = time.monotonic()
    for _ in range(20):
        assert get(server)[0].startswith("made ")
    assert time.monotonic() - began < 20
    for kind in ("reading", "writing"):
        assert server.log().count(f"The cache backend failed ({kind})") == 1
    assert "Traceback" not in server.log()
    redis.start()
    until_hit(server)


class Trap:
    """A pickle that leaves a trace where it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_garbage(server: harness.Server, redis: RedisServer, tmp_path: Path) -> None:
    """Garbage, wrong types and pickles are misses; nothing of them is run."""
    import redis as library

    trap = tmp_path / "trap"
    evil = pickle.dumps(Trap(str(trap)))
    with library.Redis.from_url(redis.url) as client:
        until_hit(server)
        for data in (b"", b"WC1", os.urandom(200), evil, b"!" + evil, b"7"):
            for key in list(client.scan_iter()):
                client.set(key, data)
            assert get(server)[0].startswith("made ")
        until_hit(server)
        for key in list(client.scan_iter()):
            client.delete(key)
            client.rpush(key, "x")
        for _ in range(3):
            assert get(server)[0].startswith("made ")
    assert not trap.exists()
    assert "Traceback" not in server.log()


def test_memory_stays_flat(server: harness.Server, redis: RedisServer) -> None:
    """Requests for ever new URLs do not fill the process, with Redis or without."""
    assert server.process is not None
    parent = server.process.pid

    def memory() -> int:
        worker = Path(f"/proc/{parent}/task/{parent}/children")
        (pid,) = worker.read_text().split()
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def visit(name: str, number: int) -> None:
        for count in range(number):
            get(server, f"/page?{name}={count}")

    visit("warm", 200)
    before = memory()
    visit("up", 400)
    redis.stop()
    visit("down", 400)
    # Ten kilobytes for each would be noticed.
    assert memory() - before < 6_000_000
