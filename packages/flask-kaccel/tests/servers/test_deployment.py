"""The work that nginx takes over, and the headers with which apps control it."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import harness
from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations


PREFIX = {"KACCEL_REDIRECT_PATH": "/protected/"}
MIB = 1024 * 1024


def counts(site: Any, fetch: Any) -> Any:
    """Return what the app has counted."""
    return json.loads(fetch(site.app.address, "/counts").body)


def test_connections_to_the_app_are_kept(deploy: Any, fetch: Any) -> None:
    """Twenty downloads need no more than three connections to the app."""
    with deploy(keepalive=True, **PREFIX) as site:
        for _ in range(20):
            assert len(fetch(site.nginx.address, "/send?10k.bin").body) == 10240
        assert counts(site, fetch)["ports"] <= 3


def test_slow_client(deploy: Any, fetch: Any, tree: Path) -> None:
    """A client that takes its time keeps nginx busy, and no worker."""
    big = tree / "big.bin"
    with big.open("wb") as file:
        file.truncate(100 * MIB)
    with deploy(worker="sync", timed=True, **PREFIX) as site:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", site.nginx.port)) as client:
                client.sendall(b"GET /send?big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(1024)
                # The one worker is free while the client has read 1 KiB of it.
                counts(site, fetch)
        assert min(counts(site, fetch)["busy"][0::2]) < 0.005
    big.unlink()


def test_stream_without_buffering(deploy: Any) -> None:
    """The first chunk of a stream arrives before the last is made."""
    with deploy(**PREFIX) as site:
        connection = HTTPConnection(site.nginx.address, timeout=20)
        connection.request("GET", "/stream")
        response = connection.getresponse()
        assert response.read(5) == b"first"
        site.gate.touch()
        assert response.read() == b"last"
        connection.close()
        site.gate.unlink()


def test_time_in_nginx_cache(deploy: Any, fetch: Any, tmp_path: Path) -> None:
    """The app says how long nginx may keep an ordinary response; it keeps no file."""
    tmp_path.chmod(0o777)
    http = f"proxy_cache_path {tmp_path}/cache keys_zone=zone:1m;"
    cached = "    proxy_cache zone;\n    proxy_cache_valid 60s;\n    proxy_pass "

    def amend(text: str) -> str:
        return text.replace("    proxy_pass ", cached)

    with deploy(http=http, amend=amend, KACCEL_CACHE_EXPIRES=60, **PREFIX) as site:
        for path, requests in (
            ("/cached?expires=60", 1),
            ("/cached?expires=0", 2),
            ("/cached?expires=", 1),
            ("/send?a.txt", 2),
        ):
            before = counts(site, fetch)["ports"]
            for _ in range(2):
                assert fetch(site.nginx.address, path).body
            assert counts(site, fetch)["ports"] - before == requests, path


@pytest.mark.parametrize("server", harness.WSGI_SERVERS)
def test_every_server(tree: Path, app_module: Path, fetch: Any, server: str) -> None:
    """Every WSGI server hands over as well as it sends."""
    environ = {
        "FILES": str(tree), "GATE": str(tree), "APP_KACCEL_FILES_PATH": str(tree),
        "APP_KACCEL_REDIRECT_PATH": "/protected/", "APP_KACCEL_SECRET": "s" * 16,
    }  # fmt: skip
    app = Flask(__name__)
    app.config.update({key[4:]: it for key, it in environ.items() if "KACCEL" in key})
    Kaccel(app)
    with (
        harness.serve(server, app_module, environ=environ) as behind,
        harness.nginx(nginx_locations(app, behind.url)) as nginx,
    ):
        for path in ("/send?10k.bin", "/send?empty.txt", "/static/sub/dir/a.txt"):
            for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=0-1,3-4"}):
                for method in ("GET", "HEAD"):
                    handed = fetch(nginx.address, path, headers, method)
                    sent = fetch(behind.address, path, headers, method)
                    assert handed.seen == sent.seen
