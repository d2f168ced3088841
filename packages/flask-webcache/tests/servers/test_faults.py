"""No read that began after an acknowledged write returns an older version."""

from __future__ import annotations

import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from versions import APP
from versions import Backend
from versions import Fault
from versions import run
from versions import warm

import harness


def check(
    backend: Backend, fault: Fault, folder: Path, seconds: float, *, fast: bool
) -> None:
    """Run for some seconds, and look for older versions.

    ``benchmarks/coherence.py`` does the same for a minute and 10,000 reads.
    """
    outcome = run(backend, fault, folder, seconds, fast=fast, reads=200)
    assert outcome.errors == []
    assert outcome.stale == []
    assert outcome.wrong == []
    assert outcome.reads >= 100
    assert outcome.hits > 0
    assert outcome.writes > 0
    assert fault == "none" or outcome.faults > 0


@pytest.mark.parametrize(
    ("backend", "fast"),
    [("memory", False), ("files", True), ("redis", False), ("memcached", True)],
)
def test_coherence(backend: Backend, fast: bool, tmp_path: Path) -> None:
    """Four processes, or one with a memory of its own, and nothing goes wrong."""
    check(backend, "none", tmp_path, 3, fast=fast)


@pytest.mark.parametrize(("backend", "fast"), [("sentinel", True), ("cluster", False)])
def test_coherence_over_a_failover(
    backend: Backend, fast: bool, tmp_path: Path
) -> None:
    """The master dies and its replica takes over; a node of a Cluster is restarted."""
    check(backend, "failover", tmp_path, 6, fast=fast)


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
def test_coherence_under_faults(fast: bool, tmp_path: Path) -> None:
    """Redis loses keys, gets old ones back, hangs, starts empty, and is full."""
    check("redis", "all", tmp_path, 12, fast=fast)


def herd(port: int, path: str, size: int) -> list[int]:
    """Return the status of requests made at once; 0 where the worker has died."""

    def get(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(get, range(size)))


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Return what the view has noted, in the order of time."""
    runs = folder / "runs"
    lines = runs.read_text().splitlines() if runs.exists() else []
    found = [(word, int(pid), float(at)) for word, pid, at in map(str.split, lines)]
    return sorted(found, key=lambda event: event[2])


def test_leader_is_killed(redis_url: str, tmp_path: Path) -> None:
    """One other request takes over, within the lifetime of the lock."""
    environ = {"WEBCACHE_URL": redis_url, "DATA": str(tmp_path), "LOCK_SECONDS": "2"}
    with (
        harness.gunicorn(
            APP, "--threads=16", worker="gthread", workers=4, environ=environ
        ) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        warm(server.port)
        found = pool.submit(herd, server.port, "/slow/1.5", 50)
        deadline = time.monotonic() + 60
        while not events(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        began = time.monotonic()
        os.kill(events(tmp_path)[0][1], signal.SIGKILL)
        statuses = found.result(120)
        # The lock and the view, five times over for a busy machine.
        assert time.monotonic() - began < 5 * (2 + 1.5)
    assert set(statuses) <= {200, 0}
    assert statuses.count(200) >= 20
    assert len([word for word, _, _ in events(tmp_path) if word == "begin"]) <= 2


def test_view_slower_than_the_lock(redis_url: str, tmp_path: Path) -> None:
    """A view that takes longer than the lock lives still runs once at a time."""
    environ = {"WEBCACHE_URL": redis_url, "DATA": str(tmp_path), "LOCK_SECONDS": "1"}
    with harness.gunicorn(
        APP, "--threads=16", worker="gthread", workers=4, environ=environ
    ) as server:
        warm(server.port)
        assert set(herd(server.port, "/slow/3.0", 20)) == {200}
    running = 0
    for word, _, _ in events(tmp_path):
        running += 1 if word == "begin" else -1
        assert 0 <= running <= 1
