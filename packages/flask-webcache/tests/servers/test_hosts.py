"""Several Memcached hosts, one of which is down: what is still stored and purged."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from flask import Flask
from flask import Response

import harness
from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache._vault import PURGES


RUNS = itertools.count()


def made_app(url: str) -> Flask:
    """Return an app of which another one shares the store."""
    app = Flask(__name__)
    app.secret_key = "secret"
    WebCache(app, config=Config(url=url))

    @app.get("/<path:path>")
    def page(path: str) -> Response:
        fields = {"Cache-Control": "max-age=600"}
        if path.startswith("tag"):
            fields["Cache-Tag"] = path.partition("/")[0]
        return Response(f"made {next(RUNS)}", headers=fields)

    return app


def host_of(app: Flask, servers: list[harness.Server], name: str) -> harness.Server:
    """Return the server that a name is at."""
    backend: Any = app.extensions["webcache"].cache.stock.vault._cache
    index = backend._hosts.index(backend._host(name))
    found: harness.Server = servers[index]
    return found


def paths_elsewhere(app: Flask, servers: list[Any], down: Any, start: str) -> list[str]:
    """Return paths whose pages are at other servers."""
    cache = app.extensions["webcache"].cache
    vault = cache.stock.vault
    found = [
        path
        for path in (f"/{start}{number}" for number in range(200))
        if (key := cache.url_key(f"http://localhost{path}"))
        and host_of(app, servers, vault.name(key, vault.home(key))) is not down
    ]
    assert len(found) > 20
    return found[:20]


def get(app: Flask, path: str) -> tuple[str, str]:
    """Return what a page says, and whether it is a hit."""
    response = app.test_client().get(path)
    return response.text, response.headers["X-Cache"]


def eventually(check: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Fleet:
    """Two apps on three servers, and the server that the purges of tags stand on."""

    def __init__(self, stack: ExitStack) -> None:
        servers = [stack.enter_context(harness.memcached()) for _ in range(3)]
        self.servers = servers
        url = f"memcached://{','.join(server.address for server in servers)}"
        self.app, self.other = made_app(url), made_app(url)
        self.cache = self.app.extensions["webcache"].cache
        vault = self.cache.stock.vault
        self.down = host_of(self.app, servers, vault.thing_name(PURGES, ""))
        # Where a host is depends on its port.
        self.tag = next(
            tag
            for tag in map("tag{}".format, range(200))
            if host_of(self.app, servers, vault.thing_name(f"tag {tag}", ""))
            is not self.down
        )
        self.plain = paths_elsewhere(self.app, servers, self.down, "plain")
        self.tagged = paths_elsewhere(self.app, servers, self.down, f"{self.tag}/")


def test_host_of_purges_is_down() -> None:
    """Pages of other hosts are stored: at once, or with a new tag by the third run."""
    with ExitStack() as stack:
        fleet = Fleet(stack)
        app, other = fleet.app, fleet.other
        fleet.down.kill()
        for path in fleet.plain:
            assert [get(app, path)[1], get(other, path)[1]] == ["miss", "hit"]
        for path in fleet.tagged:
            texts = [get(app, path)[0] for _ in range(3)]
            assert get(other, path) == (texts[-1], "hit")


def test_tag_is_purged_as_far_as_can_be() -> None:
    """A purge that one host misses is not done, yet pages of the others are gone."""
    with ExitStack() as stack:
        fleet = Fleet(stack)
        app, other, path = fleet.app, fleet.other, fleet.tagged[0]
        old = get(app, path)[0]
        assert get(other, path) == (old, "hit")
        fleet.down.kill()
        assert not fleet.cache.purge_tag(fleet.tag)
        assert get(other, path)[0] != old
        assert [get(app, path)[1] for _ in range(3)] == ["miss"] * 3
        fleet.down.start()
        eventually(lambda: get(app, path)[1] == "hit")
        assert get(app, path)[0] != old
        assert fleet.cache.purge_tag(fleet.tag)
        assert get(other, path)[1] == "miss"


def test_host_that_is_restarted_brings_nothing_back() -> None:
    """Pages of a purged tag are gone, whichever host starts empty after the purge."""
    with ExitStack() as stack:
        fleet = Fleet(stack)
        app = fleet.app
        paths = [f"/{fleet.tag}/{number}" for number in range(30)]
        for path in paths:
            get(app, path)
        old = [get(app, path) for path in paths]
        assert {said for _, said in old} == {"hit"}
        assert fleet.cache.purge_tag(fleet.tag)
        for server in fleet.servers:
            server.restart()
            assert not {get(app, path)[0] for path in paths} & {text for text, _ in old}
