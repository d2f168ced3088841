"""No read that began after an acknowledged write shows what was there before it."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import harness


HERE = Path(__file__).parent
PAGES = ("a", "b", "av", "bv")
#: How long each run is, in seconds; 60 for the figures in the documentation.
SECONDS = float(os.environ.get("COHERENCE_SECONDS", "4"))


class Check:
    """Readers and writers of a site, who compare what they see."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reads = self.writes = self.hits = 0
        self.stale: list[str] = []
        self.acknowledged = dict.fromkeys(PAGES, 0)
        self.lock = threading.Lock()
        self.over = threading.Event()

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[str, str]:
        """Return the body and Cache-Status of a request; nothing where it fails."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = urllib.request.Request(self.url + path, None, named, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as response:
                return response.read().decode(), response.headers["Cache-Status"]
        except urllib.error.HTTPError as error:
            with error:
                return "", ""

    def read(self) -> None:
        """Read pages until it is over."""
        chance = random.Random()
        while not self.over.is_set():
            page = chance.choice(PAGES)
            with self.lock:
                at_least = self.acknowledged[page]
            fields = {"X_Plan": chance.choice("12")}
            if chance.random() < 0.1:
                fields["Cache_Control"] = "no-cache"
            text, status = self.ask(f"/{page}", **fields)
            with self.lock:
                self.reads += 1
                self.hits += "; hit" in status
                if int(text) < at_least:
                    self.stale.append(f"{page}: {text} < {at_least}, {status}")

    def write(self) -> None:
        """Change pages until it is over."""
        chance = random.Random()
        while not self.over.wait(chance.uniform(0.02, 0.15)):
            page = chance.choice(PAGES)
            tag = "?tag" if chance.random() < 0.5 else ""
            text, _ = self.ask(f"/{page}{tag}", "POST")
            if text:
                with self.lock:
                    self.writes += 1
                    known = self.acknowledged[page]
                    self.acknowledged[page] = max(known, int(text))

    def run(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Read and write for a while."""
        # Processes that have just started answer late.
        for _ in range(40):
            self.ask("/a")
        work = [self.read] * 12 + [self.write] * 3
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if meanwhile is None:
                self.over.wait(max(0.0, deadline - time.monotonic()))
            else:
                meanwhile()
        self.over.set()
        for thread in threads:
            thread.join(60)
        print(f"{self.reads} reads, {self.hits} hits, {self.writes} writes")  # noqa: T201 - what the run is for
        assert self.stale == []
        assert self.reads > 50
        assert self.hits > 5
        assert self.writes > 5


def site(
    folder: Path, url: str, fast: str, workers: int = 4
) -> AbstractContextManager[harness.Server]:
    """Return the app on a backend, to be entered."""
    versions = folder / "versions.db"
    with sqlite3.connect(versions) as connection:
        connection.execute("CREATE TABLE pages (page TEXT PRIMARY KEY, version INT)")
        connection.executemany("INSERT INTO pages VALUES (?, 0)", [(p,) for p in PAGES])
    connection.close()
    environ = {"WEBCACHE_URL": url, "VERSIONS": str(versions), "FAST": fast}
    return harness.gunicorn(
        HERE / "coherence_app.py", "--threads=4", worker="gthread", workers=workers,
        environ=environ,
    )  # fmt: skip


@pytest.mark.parametrize("fast", ["", "1"], ids=["hooks", "fast"])
@pytest.mark.parametrize("backend", ["memory", "files", "redis", "memcached"])
def test_coherence(
    backend: str, fast: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On every backend, in both modes."""
    workers = 4
    if backend == "memory":
        url, workers = "simple://", 1
    elif backend == "files":
        url = f"file://{tmp_path}/cache"
    else:
        url = request.getfixturevalue(f"{backend}_url")
    with site(tmp_path, url, fast, workers) as server:
        Check(server.url).run()


def test_coherence_of_a_lossy_redis(tmp_path: Path) -> None:
    """While keys vanish at random."""
    import redis

    with harness.redis_server() as backend:
        client = redis.Redis.from_url(backend.url)

        def lose() -> None:
            key = client.randomkey()
            if isinstance(key, bytes):
                client.delete(key)
            time.sleep(0.02)

        with site(tmp_path, backend.url, "") as server:
            Check(server.url).run(lose)
        client.close()
