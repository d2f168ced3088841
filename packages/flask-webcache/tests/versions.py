"""Readers and writers of pages with versions, and the faults meanwhile.

The promise: no read that began after an acknowledged write returns an older version,
and none returns another variant than it asked for.
"""

from __future__ import annotations

import http.client
import random
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from itertools import cycle
from pathlib import Path
from typing import Any
from typing import Literal

import harness


APP = Path(__file__).parent / "servers" / "versions_app.py"
PAGES = 6
Backend = Literal["memory", "files", "redis", "memcached", "sentinel", "cluster"]
Fault = Literal[
    "none", "deletions", "replays", "pauses", "restarts", "full", "all", "failover"
]


@dataclass
class Outcome:
    """The counts of one run."""

    reads: int = 0
    hits: int = 0
    writes: int = 0
    refused: int = 0
    faults: int = 0
    #: Each with the page, what was read, and what had been acknowledged.
    stale: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Run:
    """Clients of one server for a time, and until they have read so many times."""

    def __init__(self, port: int, seconds: float, reads: int = 0) -> None:
        self._wanted = reads
        self.outcome = Outcome()
        self._port = port
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._acknowledged = [0] * PAGES

    def perform(self, fault: Callable[[], None] | None) -> Outcome:
        """Let eight readers and three writers work until the end."""
        work: list[Callable[[int], None]] = [*[self._read] * 8, *[self._write] * 3]
        if fault is not None:
            work.append(lambda _: self._disturb(fault))
        threads = [
            threading.Thread(target=self._guarded, args=(one, number))
            for number, one in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10 * self._seconds + 120)
        return self.outcome

    def _guarded(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - for the main thread
            self.outcome.errors.append(f"{work}: {error!r}")

    def _turns(self, number: int) -> Iterator[tuple[random.Random, Any]]:
        choose = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            while not self._over():
                yield choose, connection
        finally:
            connection.close()

    def _read(self, number: int) -> None:
        for choose, connection in self._turns(number):
            page, kind = choose.randrange(PAGES), choose.choice(["page", "plain"])
            variant = choose.choice("ab") if kind == "page" else ""
            fields = {"X-Variant": variant} if variant else {}
            if choose.random() < 0.1:
                fields["Cache-Control"] = "no-cache"
            known = self._acknowledged[page]
            connection.request("GET", f"/{kind}/{page}", headers=fields)
            response = connection.getresponse()
            text = response.read().decode()
            said = response.headers["Cache-Status"]
            with self._lock:
                self._note(
                    f"/{kind}/{page}", response.status, text, variant, known, said
                )

    def _note(
        self, path: str, status: int, text: str, variant: str, known: int, said: str
    ) -> None:
        outcome = self.outcome
        outcome.reads += 1
        if status != 200:
            outcome.errors.append(f"{path}: {status}")
            return
        outcome.hits += "; hit" in said
        version, got = text.split(" ")
        if int(version) < known:
            outcome.stale.append(f"{path}: {version} after {known} ({said})")
        if got != variant:
            outcome.wrong.append(f"{path}: {got} for {variant}")

    def _write(self, number: int) -> None:
        # Each page has one writer, so that its versions grow.
        pages = range(number % 3, PAGES, 3)
        versions = dict.fromkeys(pages, 0)
        for choose, connection in self._turns(number):
            page, by = choose.choice(pages), choose.choice(["url", "tag"])
            versions[page] += 1
            connection.request("POST", f"/write/{page}/{versions[page]}?by={by}")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                self.outcome.writes += 1
                self._acknowledged[page] = versions[page]
            elif response.status == 503:
                self.outcome.refused += 1
            else:
                self.outcome.errors.append(f"write: {response.status}")
            time.sleep(choose.uniform(0.1, 0.4))

    def _disturb(self, fault: Callable[[], None]) -> None:
        while not self._over(1):
            fault()
            self.outcome.faults += 1

    def _over(self, early: float = 0) -> bool:
        # On a busy machine until all has happened, for ten times as long at most.
        now, found = time.monotonic() + early, self.outcome
        late = max(60, 9 * self._seconds)
        enough = found.reads >= self._wanted and found.hits and found.writes
        return now > (self._until if enough else self._until + late)


def run(
    backend: Backend,
    fault: Fault,
    folder: Path,
    seconds: float,
    *,
    fast: bool,
    reads: int = 0,
) -> Outcome:
    """Return what the readers saw in a time, and in so many reads at least."""
    for number in range(PAGES):
        (folder / str(number)).write_text("0")
    environ = {"DATA": str(folder), "FAST": "1" if fast else ""}
    with ExitStack() as stack:
        act: Callable[[], None] | None = None
        if backend == "memory":
            environ["WEBCACHE_URL"] = "simple://"
        elif backend == "files":
            environ["WEBCACHE_URL"] = f"file://{folder}/cache"
        elif backend == "memcached":
            memcached = stack.enter_context(harness.memcached())
            environ["WEBCACHE_URL"] = f"memcached://127.0.0.1:{memcached.port}"
        elif backend == "sentinel":
            sentinel = stack.enter_context(harness.redis_sentinel())
            environ["WEBCACHE_URL"] = f"redis+sentinel://{sentinel.address}/main"
            assert sentinel.master is not None
            act = once(sentinel.master.kill)
        elif backend == "cluster":
            nodes = stack.enter_context(harness.redis_cluster())
            addresses = ",".join(node.address for node in nodes)
            environ["WEBCACHE_URL"] = f"redis+cluster://{addresses}"
            act = once(nodes[1].kill, nodes[1].start)
        else:
            server = stack.enter_context(harness.redis_server(keep=False))
            environ["WEBCACHE_URL"] = server.url
            act = stack.enter_context(fault_of(server, fault))
        app = stack.enter_context(
            harness.gunicorn(
                APP, "--keep-alive", "30", worker="gthread",
                workers=1 if backend == "memory" else 4, environ=environ,
            )
        )  # fmt: skip
        warm(app.port)
        return Run(app.port, seconds, reads).perform(act)


def once(*steps: Callable[[], None]) -> Callable[[], None]:
    """Return what takes one step each time it is called, after a second."""
    left = list(steps)

    def act() -> None:
        time.sleep(1)
        if left:
            left.pop(0)()

    return act


def warm(port: int) -> None:
    """Wait until every worker is likely to have loaded the app."""

    def get(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/ready")
        connection.getresponse().read()
        connection.close()

    for _ in range(2):
        with ThreadPoolExecutor(40) as pool:
            list(pool.map(get, range(40)))


@contextmanager
def fault_of(
    server: harness.RedisServer, fault: Fault
) -> Iterator[Callable[[], None] | None]:
    """Yield what disturbs a Redis once, and takes its time; "all" takes turns."""
    import redis

    if fault == "none":
        yield None
        return
    with redis.Redis.from_url(server.url) as client:
        old: dict[bytes, bytes] = {}
        choose = random.Random(0)

        def deletions() -> None:
            keys = list(client.scan_iter())
            if keys:
                client.delete(choose.choice(keys))
            time.sleep(0.02)

        def replays() -> None:
            for key in client.scan_iter():
                value = client.get(key)
                # Entries, and no generations: that those are old, nobody can know.
                if isinstance(value, bytes) and value.startswith(b"WC"):
                    if key in old and choose.random() < 0.5:
                        client.set(key, old[key], ex=300)
                    elif key not in old or choose.random() < 0.2:
                        old[key] = value
            time.sleep(0.02)

        def pauses() -> None:
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            server.process.send_signal(signal.SIGCONT)
            time.sleep(2)

        def restarts() -> None:
            server.restart()
            time.sleep(1)

        def full() -> None:
            client.config_set("maxmemory", 1)
            time.sleep(0.5)
            client.config_set("maxmemory", 0)
            # Nothing is written for a second after that failed.
            time.sleep(1.5)

        acts = {
            "deletions": deletions, "replays": replays, "pauses": pauses,
            "restarts": restarts, "full": full,
        }  # fmt: skip
        turns = cycle([*[deletions] * 40, *[replays] * 40, pauses, restarts, full])
        yield acts.get(fault, lambda: next(turns)())
