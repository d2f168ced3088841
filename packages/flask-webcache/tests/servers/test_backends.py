"""One contract for every backend, through the whole app."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

import pytest
from cachelib import RedisCache
from flask import Flask

import harness
from flask_webcache import WebCache
from flask_webcache import recache
from flask_webcache._backends import connect


if TYPE_CHECKING:
    from planned import Origin


@pytest.fixture(params=["simple", "file", "redis", "memcached"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each backend."""
    if request.param in ("redis", "memcached"):
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url
    return {"simple": "simple://", "file": f"file://{tmp_path}"}[request.param]


@pytest.fixture(autouse=True)
def close(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what was opened."""
    caches: list[Any] = []

    def make(url: str) -> Any:
        caches.append(connect(url))
        return caches[-1]

    monkeypatch.setattr("flask_webcache._cache.connect", make)
    yield
    for cache in caches:
        if hasattr(cache, "close"):
            cache.close()


@pytest.fixture
def origin(url: str, make_origin: type[Origin]) -> Origin:
    """An app on the backend, with names of its own in it."""
    return make_origin(url=url, key_prefix=f"{time.time_ns()}:")


def test_hit(origin: Origin) -> None:
    """A response comes back as it was, byte for byte."""
    body = bytes(range(256)) * 400
    origin.says("max-age=60", body, X="caf\xe9")
    first, second = origin.get(), origin.get()
    assert second.data == body
    assert second.headers["X"] == first.headers["X"]
    assert second.headers["X-Cache"] == "hit"
    assert origin.get(If_None_Match=second.headers["ETag"]).status_code == 304


def test_vary(origin: Origin) -> None:
    """Variants are kept apart."""
    origin.says("max-age=60", Vary="Foo")
    texts = [origin.get(Foo=foo).text for foo in "121"]
    assert texts == ["made 1", "made 2", "made 1"]


def test_purge(origin: Origin) -> None:
    """URL, tag and all."""
    for number, (purge, value) in enumerate(
        [("purge", ["http://localhost/"]), ("purge_tag", ["news"]), ("purge_all", [])]
    ):
        origin.says("max-age=60", f"old {number}", Cache_Tag="news")
        origin.get()
        with origin.app.app_context():
            getattr(origin.cache, purge)(*value)
        origin.says("max-age=60", f"new {number}", Cache_Tag="news")
        assert origin.get().text == f"new {number}"
        assert origin.get().headers["X-Cache"] == "hit"
        with origin.app.app_context():
            origin.cache.purge("http://localhost/")


def test_validation(origin: Origin) -> None:
    """A stale response is kept, and freshened by a 304."""
    origin.says("max-age=1", "body", ETag='"a"')
    origin.get()
    time.sleep(1.1)
    origin.says("max-age=60", b"", 304)
    assert origin.get().text == "body"
    assert origin.get().headers["X-Cache"] == "hit"


def test_stats(origin: Origin) -> None:
    """Answers are counted."""
    origin.says("max-age=60")
    for _ in range(3):
        origin.get()
    with origin.app.app_context():
        stats = origin.cache.stats()
        assert (stats["hit"], stats["miss"], stats["stored"]) == (2, 1, 1)


def test_lead(origin: Origin) -> None:
    """Among processes, only one gets a lead, and it goes away by itself."""
    vault = origin.app.extensions["webcache"].cache.stock.vault
    if vault is None:
        pytest.skip("a cache in one process has no leads among processes")
    assert [vault.lead("page", owner, 1) for owner in "ab"] == [True, False]
    assert vault.led("page") == "a"
    assert [vault.extend_lead("page", owner, 1) for owner in "ba"] == [False, True]
    vault.end_lead("page", "b")
    assert vault.led("page") == "a"
    deadline = time.monotonic() + 20
    while vault.led("page") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Commands:
    """Counts what a Redis connection sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import redis.connection

        self.sent: list[Any] = []
        connection: Any = redis.connection.AbstractConnection
        send = connection.send_packed_command

        def count(itself: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
            self.sent.append(command)
            return send(itself, command, *args, **kwargs)

        monkeypatch.setattr(connection, "send_packed_command", count)


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"Vary": "Foo"}, {"Cache-Tag": "a, b"}, {"Vary": "Foo", "Cache-Tag": "a"}],
    ids=str,
)
def test_one_round_trip(
    redis_url: str, make_origin: type[Origin], monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str], fast: bool,
) -> None:  # fmt: skip
    """A hit is one round trip; only a process's first, with Vary or tags, is two."""
    origin, other = (make_origin(url=redis_url, fast=fast) for _ in range(2))
    for one in (origin, other):
        one.says("max-age=60", headers=fields)
        one.get("/connect")
    origin.get(Foo="1")
    commands = Commands(monkeypatch)

    def sent(one: Origin) -> int:
        before = len(commands.sent)
        assert one.get(Foo="1").headers["X-Cache"] == "hit"
        return len(commands.sent) - before

    assert [sent(origin) for _ in range(2)] == [1, 1]
    assert [sent(other) for _ in range(3)] == [2 if fields else 1, 1, 1]


def test_round_trips_of_a_miss(
    redis_url: str, make_origin: type[Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look, the lead, another look, the generations, the page, and the lead again."""
    origin = make_origin(url=redis_url)
    origin.says("max-age=60")
    origin.get("/other")
    commands = Commands(monkeypatch)
    assert origin.get("/page").headers["X-Cache"] == "miss"
    assert len(commands.sent) == 6


def test_restart_empties_the_cache(make_origin: type[Origin]) -> None:
    """A server that is restarted may have lost purges: nothing of before answers."""
    with harness.redis_server() as server:
        origin = make_origin(url=server.url)
        origin.says("max-age=600")
        origin.get()
        assert origin.get().headers["X-Cache"] == "hit"
        server.restart()
        # Whoever first meets the closed connection goes on without the cache.
        until(lambda: origin.get().headers["X-Cache"] == "hit")
        assert origin.get().text != "made 1"


def test_purge_lost_in_a_failover(make_origin: type[Origin]) -> None:
    """A purge that the replica has not heard of does not bring the page back."""
    import redis

    with harness.redis_sentinel() as sentinel:
        assert sentinel.master is not None
        assert sentinel.replica is not None
        origin = make_origin(url=f"redis+sentinel://{sentinel.address}/main")
        origin.says("max-age=600", "old")
        origin.get()
        with redis.Redis.from_url(sentinel.replica.url) as replica:
            until(lambda: any(value.startswith(b"WC") for value in values(replica)))
        assert sentinel.replica.process is not None
        sentinel.replica.process.send_signal(signal.SIGSTOP)
        with redis.Redis.from_url(sentinel.master.url) as master:
            master.execute_command("CLIENT KILL TYPE replica")
        with origin.app.app_context():
            assert origin.cache.purge("http://localhost/")
        sentinel.master.kill()
        sentinel.replica.process.send_signal(signal.SIGCONT)
        origin.says("max-age=600", "new")
        until(lambda: origin.get().headers["X-Cache"] == "hit")
        assert origin.get().text == "new"


def values(client: Any) -> list[bytes]:
    """Return everything in a database."""
    return [client.get(key) for key in client.scan_iter()]


def until(met: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_redis_without_the_right_to_ask(make_origin: type[Origin]) -> None:
    """A user who may not call INFO still has a cache."""
    import redis

    with harness.redis_server() as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL SETUSER app on >pw ~* +@all -info")
        origin = make_origin(url=f"redis://app:pw@{server.address}/0")
        origin.says("max-age=60")
        assert [origin.get().headers["X-Cache"] for _ in "ab"] == ["miss", "hit"]


def test_redis_of_one_s_own(redis_url: str) -> None:
    """A RedisCache that the app made keeps its own serializer."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        cache = RedisCache(host=client)
        app = Flask(__name__)
        app.secret_key = "secret"
        WebCache(app, cache=cache)
        app.add_url_rule("/", view_func=lambda: ("x", {"Cache-Control": "max-age=9"}))
        for said in ("miss", "hit"):
            assert app.test_client().get("/").headers["X-Cache"] == said
        cache.set("own", {"a": 1})
        assert cache.get("own") == {"a": 1}


def test_nothing_pickled(redis_url: str, make_origin: type[Origin]) -> None:
    """Entries in Redis have our own format."""
    import redis

    origin = make_origin(url=redis_url)
    origin.says("max-age=60", Vary="Foo", Cache_Tag="a")
    origin.get()
    with redis.Redis.from_url(redis_url) as client:
        items = [value for value in values(client) if not value.isdigit()]
    assert len(items) == 2
    assert all(value.startswith(b"WC2") for value in items)


def test_renewal_by_rq(
    redis_url: str, make_origin: type[Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of RQ renews a stale page from what is in its queue."""
    import redis
    from rq import Queue
    from rq import SimpleWorker

    with redis.Redis.from_url(redis_url) as connection:
        queue = Queue(connection=connection)
        dispatch = recache.make_rq_dispatcher(queue, "webcache_shop:app")
        origin = make_origin(
            url=redis_url, preemptive_recache_seconds=50,
            preemptive_recache_callback=dispatch,
        )  # fmt: skip
        shop = ModuleType("webcache_shop")
        shop.app = origin.app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "webcache_shop", shop)
        origin.says("max-age=40")
        origin.get("/page?a=b")
        assert origin.get("/page?a=b").text == "made 1"
        assert SimpleWorker([queue], connection=connection).work(burst=True)
        assert len(origin.seen) == 2
        assert origin.get("/page?a=b").text == "made 2"
