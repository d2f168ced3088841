"""Caddy, HAProxy and Varnish in front of an app."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


@contextlib.contextmanager
def caddy(
    upstream: Server, *, certificate: Path | None = None, key: Path | None = None
) -> Iterator[Server]:
    """Run Caddy, with TLS if there is a certificate."""
    program = require("caddy", "apt-get install caddy")
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    tls = ""
    if certificate is not None:
        site, tls = f"https://localhost:{port}", f"tls {certificate} {key}"
    with temporary_directory("caddy") as directory:
        conf = directory / "Caddyfile"
        conf.write_text(
            "{\nadmin off\nauto_https disable_redirects\nskip_install_trust\n}\n"
            f"{site} {{\n{tls}\nreverse_proxy {upstream.address}\n}}\n"
        )
        command = [program, "run", "--adapter", "caddyfile", "--config", str(conf)]
        environ = {"XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
        server = Server("caddy", command, port, directory, listens, environ)
        with running(server):
            yield server


@contextlib.contextmanager
def haproxy(upstream: Server, *, pem: Path | None = None) -> Iterator[Server]:
    """Run HAProxy, with TLS and HTTP/2 if there is a certificate with its key."""
    program = require("haproxy", "apt-get install haproxy")
    port = free_port()
    tls = f"ssl crt {pem} alpn h2,http/1.1" if pem else ""
    with temporary_directory("haproxy") as directory:
        conf = directory / "haproxy.cfg"
        conf.write_text(
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n"
            " timeout server 30s\n"
            f"listen site\n bind 127.0.0.1:{port} {tls}\n"
            f" server app {upstream.address}\n"
        )
        command = [program, "-db", "-f", str(conf)]
        server = Server("haproxy", command, port, directory, listens)
        with running(server):
            yield server


@contextlib.contextmanager
def varnish(upstream: Server) -> Iterator[Server]:
    """Run Varnish."""
    program = require("varnishd", "apt-get install varnish")
    port = free_port()
    with temporary_directory("varnish") as directory:
        command = [
            program, "-F", "-n", str(directory / "work"), "-a", f"127.0.0.1:{port}",
            "-b", upstream.address, "-s", "malloc,16m",
        ]  # fmt: skip
        with running(Server("varnish", command, port, directory, listens)) as server:
            yield server
