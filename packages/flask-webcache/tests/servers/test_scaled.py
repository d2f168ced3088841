"""Backends on several servers and on sockets: one contract, and the cost of outages."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import harness
from flask_webcache._backends import HostDownError
from flask_webcache._backends import connect


HERE = Path(__file__).parent
#: How many pages are asked for while a backend fails.
PAGES = 20


def fleet(stack: ExitStack, count: int = 3) -> list[harness.Server]:
    """Return some Memcached servers."""
    return [stack.enter_context(harness.memcached()) for _ in range(count)]


def hosts(servers: list[Any]) -> str:
    """Return their addresses as in a URL."""
    return ",".join(server.address for server in servers)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key."""
    program = harness.require("openssl", "apt-get install openssl")
    files = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", str(files[0]), "-keyout", str(files[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


@contextmanager
def url_of(kind: str, folder: Path) -> Iterator[str]:
    """Run what a kind of URL needs."""
    with ExitStack() as stack:
        if kind in ("redis", "valkey"):
            server = stack.enter_context(harness.redis_server("--requirepass", "p@ss"))
            yield f"{kind}://default:p%40ss@{server.address}/2?socket_timeout=5"
        elif kind in ("unix", "redis+unix", "valkey+unix"):
            server = stack.enter_context(harness.redis_server())
            yield f"{kind}://{server.directory}/socket?db=3"
        elif kind == "rediss":
            cert, key = certificate(folder)
            port = harness.free_port()
            stack.enter_context(
                harness.redis_server(
                    "--tls-port", str(port), "--tls-cert-file", str(cert),
                    "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert),
                    "--tls-auth-clients", "no",
                )
            )  # fmt: skip
            yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}"
        elif kind == "cluster":
            nodes = stack.enter_context(harness.redis_cluster())
            yield f"redis+cluster://{hosts(nodes[:2])}"
        elif kind == "sentinel":
            sentinel = stack.enter_context(harness.redis_sentinel())
            yield f"redis+sentinel://{sentinel.address}/main/1"
        elif kind == "memcached":
            yield f"memcached://{hosts(fleet(stack))}"
        else:
            yield f"memcached://{stack.enter_context(harness.memcached_on_socket())}"


@pytest.mark.parametrize(
    "kind",
    ["redis", "valkey", "unix", "redis+unix", "valkey+unix", "rediss", "cluster",
     "sentinel", "memcached", "memcached on a socket"],
)  # fmt: skip
def test_contract(kind: str, tmp_path: Path) -> None:
    """Every backend does what cachelib says, with bytes as they are."""
    names = [f"name {number}".replace(" ", "-") for number in range(30)]
    value = bytes(range(256))
    with url_of(kind, tmp_path) as url:
        cache: Any = connect(url)
        try:
            assert cache.get_many(*names) == [None] * 30
            assert cache.get_many() == []
            assert cache.set_many(dict.fromkeys(names, value), 60) == names
            assert cache.get_many(*names) == [value] * 30
            assert cache.get_dict(names[0]) == {names[0]: value}
            assert cache.add(names[0], b"2", 60) is False
            assert cache.add("new", b"", 40 * 24 * 3600) is True
            assert cache.get("new") == b""
            assert [cache.has("new"), cache.has("old")] == [True, False]
            assert [cache.delete("new"), cache.delete("new")] == [True, False]
            assert cache.delete_many(*names[:20], "old") == [*names[:20], "old"]
            assert cache.get_many(*names) == [None] * 20 + [value] * 10
            assert [cache.inc("n"), cache.inc("n", 4), cache.dec("n")] == [1, 5, 4]
            assert cache.set("soon", value, 1)
            deadline = time.monotonic() + 10
            while cache.get("soon") is not None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert cache.clear()
            assert cache.get_many(*names) == [None] * 30
        finally:
            cache.close()


def test_wrong_password_is_hidden() -> None:
    """The error of a server that refuses a login does not show the password."""
    with harness.redis_server("--requirepass", "right") as server:
        cache: Any = connect(f"redis://:marker@{server.address}/0")
        with pytest.raises(Exception, match=r".") as caught:
            cache.get("a")
        cache.close()
    assert "marker" not in f"{caught.value!r} {caught.value} {cache!r}"


def test_full_redis_reads_and_deletes() -> None:
    """On a Redis that is full, storing raises, while reading and deleting work."""
    import redis

    with harness.redis_server() as server:
        cache: Any = connect(server.url)
        cache.set("a", b"1", 60)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            cache.set("b", b"1", 60)
        assert cache.get("a") == b"1"
        assert cache.delete("a") is True
        cache.close()


def test_item_too_large_for_memcached(memcached_url: str) -> None:
    """A page for which Memcached has no room is not stored; that is no outage."""
    cache: Any = connect(memcached_url)
    assert cache.set("large", bytes(2_000_000), 60) is False
    assert cache.set("small", b"1", 60) is True
    cache.close()


def test_dead_memcached_host_costs_its_keys() -> None:
    """Other hosts' keys stay available, its own are missing, and it comes back."""
    names = [f"name{number}" for number in range(60)]
    with ExitStack() as stack:
        servers = fleet(stack)
        cache: Any = connect(f"memcached://{hosts(servers)}")
        cache.set_many(dict.fromkeys(names, b"1"), 60)
        servers[1].kill()
        began = time.monotonic()
        found = cache.get_many(*names)
        assert 20 < found.count(b"1") < 60
        for _ in range(100):
            assert cache.get_many(*names) == found
        assert time.monotonic() - began < 3
        lost = names[found.index(None)]
        with pytest.raises(HostDownError, match="does not answer"):
            cache.get(lost)
        with pytest.raises(HostDownError, match="does not answer"):
            cache.delete(lost)
        kept = names[found.index(b"1")]
        assert cache.set(kept, b"2", 60)
        servers[1].start()
        deadline = time.monotonic() + 10
        while True:
            try:
                cache.set(lost, b"3", 60)
                break
            except HostDownError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        # Nothing has moved: the keys of the others are where they were.
        again = cache.get_many(*names)
        assert again.count(b"1") == found.count(b"1") - 1
        for server in servers:
            server.kill()
        for _ in range(2):
            for name in names:
                with pytest.raises(ConnectionError, match="answer"):
                    cache.get(name)
        with pytest.raises(ConnectionError, match="No host answers") as caught:
            cache.get(lost)
        assert not isinstance(caught.value, HostDownError)
        cache.close()


def test_hanging_memcached_host_costs_one_timeout_a_second() -> None:
    """A host that accepts and says nothing delays one request of a second."""
    with ExitStack() as stack:
        (server,) = fleet(stack, 1)
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        deaf_address = f"127.0.0.1:{deaf.getsockname()[1]}"
        cache: Any = connect(f"memcached://{server.address},{deaf_address}")
        names = [f"name{number}" for number in range(20)]
        slow = 0
        for _ in range(200):
            began = time.monotonic()
            cache.get_many(*names)
            slow += time.monotonic() - began > 0.4
        assert slow <= 3
        cache.close()


def test_memcached_that_was_restarted() -> None:
    """Connections that a restart closed are not mistaken for an outage."""
    with ExitStack() as stack:
        (server,) = fleet(stack, 1)
        cache: Any = connect(f"memcached://{server.address}")
        assert cache.set("a", b"1", 60)
        server.restart()
        assert cache.get("a") is None
        server.restart()
        assert cache.set("a", b"1", 60)
        cache.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("kind", ["redis", "cluster", "sentinel", "memcached"])
def test_fork(kind: str, tmp_path: Path) -> None:
    """Processes that are forked after the first use do not share connections."""
    with url_of(kind, tmp_path) as url:
        cache: Any = connect(url)
        cache.set_many({f"name{n}": b"%d" % n for n in range(20)}, 60)
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                right = all(
                    cache.get(f"name{n}") == b"%d" % n
                    for _ in range(50)
                    for n in range(20)
                )
                os._exit(0 if right else 1)
            children.append(child)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        assert statuses == [0] * 4
        assert cache.get("name7") == b"7"
        cache.close()


class Load:
    """Clients that ask an app for pages all the time, and note what they get."""

    def __init__(self, url: str) -> None:
        # Without a tag: its host would take all pages with it.
        self.url = f"{url}/plain"
        self.errors: list[object] = []
        self.hits = 0
        #: When each page was a hit last.
        self.hit_at: dict[int, float] = {}
        self.requests = 0
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(one,)) for one in range(4)
        ]

    def _work(self, number: int) -> None:
        turn = number
        while not self._done.is_set():
            turn += 1
            began = time.monotonic()
            try:
                url = f"{self.url}?n={turn % PAGES}"
                with urllib.request.urlopen(url, timeout=60) as response:
                    body = response.read()
                    if "; hit" in response.headers["Cache-Status"]:
                        self.hits += 1
                        self.hit_at[turn % PAGES] = began
                    if not body.startswith(b"made "):
                        self.errors.append(body)
            except OSError as error:
                self.errors.append(error)
            self.requests += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(90)

    def hits_within(self, seconds: float) -> None:
        """Wait for twenty more hits."""
        began, before = time.monotonic(), self.hits
        while self.hits < before + 20:
            assert time.monotonic() - began < seconds
            time.sleep(0.02)

    def all_hits_since(self, failed: float, seconds: float) -> float:
        """Wait until each page is a hit again; return how long that took."""
        began = time.monotonic()
        while True:
            passed = time.monotonic() - began
            if sum(at > failed for at in self.hit_at.values()) == PAGES:
                return passed
            assert passed < seconds
            time.sleep(0.02)


def outage(url: str, folder: Path, fail: Callable[[], float], *, back: bool) -> None:
    """Let a backend fail under load: no error for a client, and hits come back.

    They do within 5 s, which is measured with ``HITS_WITHIN=5`` and ``-s`` on a machine
    without other work; one with other work has longer.

    :param fail: returns when the backend failed. If nothing takes the place of what was
        killed, it is started again.
    :param back: whether every page is a hit again, and not only those of other hosts.
    """
    seconds = float(os.environ.get("HITS_WITHIN", "60"))
    environ = {"WEBCACHE_URL": url, "RUNS": str(folder / "runs")}
    with (
        harness.gunicorn(
            HERE / "cache_app.py", worker="gthread", workers=2, environ=environ
        ) as app,
        Load(app.url) as load,
    ):
        load.hits_within(60)
        failed = fail()
        if back:
            passed = load.all_hits_since(failed, seconds)
            print(f"every page is a hit after {passed:.1f} s")  # noqa: T201 - the figure
        else:
            load.hits_within(seconds)
        deadline = time.monotonic() + 60
        while load.requests < 100:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not load.errors
        assert "Traceback" not in app.log()


def test_sentinel_failover_under_load(tmp_path: Path) -> None:
    """The master dies, its replica takes over, and the cache goes on there."""
    with harness.redis_sentinel() as sentinel:
        assert sentinel.master is not None
        url = f"redis+sentinel://{sentinel.address}/main"
        master = sentinel.master

        def fail() -> float:
            master.kill()
            return time.monotonic()

        outage(url, tmp_path, fail, back=True)


def test_cluster_node_lost_under_load(tmp_path: Path) -> None:
    """A node of a Cluster dies and is started again."""
    with harness.redis_cluster() as nodes:

        def fail() -> float:
            nodes[1].kill()
            failed = time.monotonic()
            time.sleep(1.5)
            nodes[1].start()
            return failed

        outage(f"redis+cluster://{hosts(nodes)}", tmp_path, fail, back=True)


def test_memcached_host_lost_under_load(tmp_path: Path) -> None:
    """One of three hosts dies; nobody waits for it to come back."""
    with ExitStack() as stack:
        servers = fleet(stack)

        def fail() -> float:
            servers[2].kill()
            return time.monotonic()

        outage(f"memcached://{hosts(servers)}", tmp_path, fail, back=False)
