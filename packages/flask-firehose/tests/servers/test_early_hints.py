"""103 Early Hints, from gunicorn and through proxies, to a browser."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import subprocess
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EARLY = (
    b"HTTP/1.1 103 Early Hints\r\n"
    b"Link: </static/main.css>; rel=preload; as=style\r\n\r\n"
)


def heads(
    server: harness.Server, path: str, *lines: str, version: str = "1.1"
) -> bytes:
    """Send a request; return all bytes that come."""
    request = (f"GET {path} HTTP/{version}", f"Host: {server.address}", *lines)
    if not any("sec-fetch-mode" in line.lower() for line in lines):
        request += ("Sec-Fetch-Mode: navigate",)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        head = "\r\n".join((*request, "Connection: close", "", ""))
        connection.sendall(head.encode())
        received = b""
        while more := connection.recv(65536):
            received += more
    return received


@pytest.fixture(scope="module", params=["sync", "gthread", "gevent"])
def gunicorn(
    request: pytest.FixtureRequest, app_file: Path
) -> Iterator[harness.Server]:
    """The app under each worker of gunicorn."""
    environ = {"APP_FIREHOSE_EARLY_HINTS": "true"}
    with harness.gunicorn(app_file, worker=request.param, environ=environ) as server:
        yield server


@pytest.mark.parametrize("path", ["/declared", "/explicit"])
def test_gunicorn(gunicorn: harness.Server, path: str) -> None:
    """One 103 comes before the page."""
    received = heads(gunicorn, path)
    assert received.startswith(EARLY + b"HTTP/1.1 200 OK\r\n")
    assert received.count(b"HTTP/1.1 103") == 1


def test_early(gunicorn: harness.Server) -> None:
    """The 103 comes while the view still works."""
    with socket.create_connection(("127.0.0.1", gunicorn.port), 10) as connection:
        started = time.monotonic()
        connection.sendall(
            b"GET /declared?seconds=0.5 HTTP/1.1\r\nHost: a\r\n"
            b"Sec-Fetch-Mode: navigate\r\n\r\n"
        )
        received = b""
        while EARLY not in received:
            received += connection.recv(65536)
        assert time.monotonic() - started < 0.4
        while b"HTTP/1.1 200 OK" not in received:
            received += connection.recv(65536)
        assert time.monotonic() - started >= 0.5


def test_learned(gunicorn: harness.Server) -> None:
    """After some visitors, a page that says nothing of hints is sent one."""
    for number in range(8):
        received = heads(gunicorn, "/learned", f"User-Agent: {number}")
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert heads(gunicorn, "/learned").startswith(EARLY)


def test_next_answer(gunicorn: harness.Server) -> None:
    """A client that takes a 103 for the answer gets the answers in their order."""
    connection = http.client.HTTPConnection("127.0.0.1", gunicorn.port, timeout=10)
    with closing(connection):
        for path, text in (("/declared", "Page"), ("/log", "declared")) * 3:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            assert text in response.read().decode()


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("1.0", "Sec-Fetch-Mode: navigate"),
        ("1.1", "Sec-Fetch-Mode: cors"),
        ("1.1", "sec-fetch-mode:no-cors"),
    ],
)
def test_not_wanted(gunicorn: harness.Server, version: str, line: str) -> None:
    """An old client, or one that does not navigate, is sent the page alone."""
    received = heads(gunicorn, "/declared", line, version=version)
    assert re.match(rb"HTTP/1\.[01] 200 OK\r\n", received)


@pytest.mark.parametrize("name", ["waitress", "werkzeug", "uwsgi"])
def test_other_servers(app_file: Path, name: str) -> None:
    """A server that cannot send a 103 sends the page with its links."""
    environ = {"APP_FIREHOSE_EARLY_HINTS": "true"}
    with harness.serve(name, app_file, environ=environ) as server:
        for path in ("/declared", "/explicit", "/learned", "/learned"):
            with urllib.request.urlopen(f"{server.url}{path}", timeout=10) as response:
                assert response.status == 200
                assert response.headers["Link"].startswith("</static/main.css>; rel=")


def test_old_nginx(server: harness.Server) -> None:
    """Nginx as it comes speaks HTTP/1.0 to the app, and the page is whole."""
    with harness.nginx(f"location / {{ proxy_pass {server.url}; }}") as nginx:
        received = heads(nginx, "/declared")
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"HTTP/1.1 103" not in received


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A certificate for localhost, its key, and what tells it to Chromium."""
    openssl = harness.require("openssl", "apt-get install openssl")
    directory = tmp_path_factory.mktemp("certificate")
    certificate, key = directory / "certificate.pem", directory / "key.pem"

    def run(*arguments: str | Path) -> bytes:
        return subprocess.run(
            [openssl, *arguments], check=True, capture_output=True
        ).stdout

    run(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    )  # fmt: skip
    der = run("pkey", "-in", key, "-pubout", "-outform", "DER")
    return certificate, key, b64encode(hashlib.sha256(der).digest()).decode()


@dataclass
class Site:
    """The app behind Apache, over TLS."""

    url: str
    option: str
    app: harness.Server

    def log(self) -> list[tuple[str, float]]:
        """Return what the app was asked for, and when."""
        with urllib.request.urlopen(f"{self.app.url}/log", timeout=10) as response:
            return [(path, at) for path, at in json.load(response)]


@pytest.fixture(scope="module")
def site(server: harness.Server, certificate: tuple[Path, Path, str]) -> Iterator[Site]:
    """Apache with the README's configuration."""
    (configuration,) = re.findall(r"```apache\n(.*?)```", README, re.DOTALL)
    tls = (
        f"SSLEngine on\nSSLCertificateFile {certificate[0]}\n"
        f"SSLCertificateKeyFile {certificate[1]}\n"
    )
    with harness.apache(
        tls + configuration.replace("http://127.0.0.1:8000", server.url),
        modules=["http2", "ssl", "socache_shmcb"],
    ) as apache:
        option = f"--ignore-certificate-errors-spki-list={certificate[2]}"
        yield Site(f"https://localhost:{apache.port}", option, server)


def test_apache(site: Site) -> None:
    """Apache forwards the 103 over HTTP/2."""
    curl = harness.require("curl", "apt-get install curl")
    done = subprocess.run(
        [curl, "-sik", "--http2", f"{site.url}/declared"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(
        "HTTP/2 103 \nlink: </static/main.css>; rel=preload; as=style\n\nHTTP/2 200 \n"
    )


def visit(chromium: Browser, site: Site, path: str) -> tuple[float, str]:
    """Return how long after the page its style sheet is asked for, and by what."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.url}{path}?seconds=1")
    script = "JSON.stringify(performance.getEntriesByType('resource'))"
    resources = json.loads(page.evaluate(script))
    context.close()
    log = site.log()
    started = max(at for logged, at in log if logged == path)
    asked = min(at for logged, at in log if logged.endswith(".css") and at > started)
    (kind,) = (
        resource["initiatorType"]
        for resource in resources
        if resource["name"].endswith("/static/main.css")
    )
    return asked - started, kind


@pytest.mark.parametrize("path", ["/declared", "/explicit", "/learned"])
def test_browser(site: Site, path: str) -> None:
    """Chromium asks for the style sheet before the page has come.

    It ignores one 103 in twenty or so, on a busy machine.
    """
    # The first visitor teaches, where there is something to learn.
    assert b"HTTP/1.1 200 OK" in heads(site.app, path)
    with harness.browser(site.option) as chromium:
        visits = [visit(chromium, site, path)]
        while visits[-1][0] > 0.1 and len(visits) < 4:
            visits.append(visit(chromium, site, path))
    delay, kind = visits[-1]
    assert delay < 0.1, visits
    assert kind == "early-hints"


def test_browser_without_hints(site: Site) -> None:
    """Without a 103 the style sheet waits for the page."""
    with harness.browser(site.option) as chromium:
        delay, kind = visit(chromium, site, "/plain")
    assert delay > 1
    assert kind == "link"
