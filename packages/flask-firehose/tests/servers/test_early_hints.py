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
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

import harness
from flask_firehose import Firehose
from flask_firehose._http import fetch


if TYPE_CHECKING:
    from playwright.sync_api import Browser

DEPLOY = (Path(__file__).parents[4] / "docs/flask-firehose/deploy.md").read_text(
    encoding="utf-8"
)
EARLY = (
    b"HTTP/1.1 103 Early Hints\r\n"
    b"Link: </static/main.css>; rel=preload; as=style\r\n\r\n"
)


LARGE = """\
import random
from flask import Flask, request, session
from flask_firehose import Connector, Firehose, push_static

apps = []
for connector in (None, Connector):
    one = Flask(__name__)
    one.secret_key = "secret"
    Firehose(one, connector)
    apps.append(one)

    @one.get("/")
    def page():
        chance = random.Random(1)
        size = request.args.get("size", 0, int)
        session["note"] = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=size))
        for number in range(30):
            push_static(f"images/picture-number-{number}.png")
        return "page"


def app(environ, start_response):
    return apps["connector=1" in environ["QUERY_STRING"]](environ, start_response)
"""


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
    """With nginx's default HTTP/1.0 to the app, the page is complete."""
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

    port: int
    app: harness.Server

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self.port}"

    def log(self) -> list[tuple[str, float]]:
        """Return what the app was asked for, and when."""
        with urllib.request.urlopen(f"{self.app.url}/log", timeout=10) as response:
            return [(path, at) for path, at in json.load(response)]


@contextmanager
def apache(
    server: harness.Server, certificate: tuple[Path, Path, str]
) -> Iterator[Site]:
    """Run Apache with the site's configuration."""
    (configuration,) = re.findall(r"```apache\n(.*?)```", DEPLOY, re.DOTALL)
    tls = (
        f"SSLEngine on\nSSLCertificateFile {certificate[0]}\n"
        f"SSLCertificateKeyFile {certificate[1]}\n"
    )
    with harness.apache(
        tls + configuration.replace("http://127.0.0.1:8000", server.url),
        modules=["http2", "ssl", "socache_shmcb"],
    ) as running:
        yield Site(running.port, server)


@pytest.fixture(scope="module")
def site(server: harness.Server, certificate: tuple[Path, Path, str]) -> Iterator[Site]:
    """The app behind Apache."""
    with apache(server, certificate) as site:
        yield site


@pytest.fixture(scope="module")
def chromium(certificate: tuple[Path, Path, str]) -> Iterator[Browser]:
    """A browser that trusts the certificate; each visit has a context of its own."""
    option = f"--ignore-certificate-errors-spki-list={certificate[2]}"
    with harness.browser(option) as browser:
        yield browser


def test_apache(site: Site) -> None:
    """Apache forwards the 103 over HTTP/2."""
    curl = harness.require("curl", "apt-get install curl")
    options = ["-sik", "--http2", "-HSec-Fetch-Mode: navigate"]
    done = subprocess.run(
        [curl, *options, f"{site.url}/declared"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(
        "HTTP/2 103 \nlink: </static/main.css>; rel=preload; as=style\n\nHTTP/2 200 \n"
    )


def visit(chromium: Browser, site: Site, path: str) -> tuple[str, int]:
    """Visit a page as somebody new.

    :return: why its style sheet was fetched, and how often.
    """
    before = len(site.log())
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.url}{path}?seconds=0.3")
    entries = "performance.getEntriesByType('resource')"
    page.wait_for_function(f"{entries}.some(one => one.name.endsWith('.css'))")
    resources = json.loads(page.evaluate(f"JSON.stringify({entries})"))
    context.close()
    kinds = [
        one["initiatorType"]
        for one in resources
        if one["name"].endswith("/static/main.css")
    ]
    asked = [path for path, _ in site.log()[before:] if path.endswith(".css")]
    return ", ".join(kinds), len(asked)


@pytest.mark.parametrize("path", ["/declared", "/explicit", "/learned"])
def test_browser(site: Site, chromium: Browser, path: str) -> None:
    """Chromium fetches the style sheet by the hint, and once.

    Over loopback a 103 may arrive before the browser has noted that it sent the
    request, and is lost then. On no real network it does; a busy machine may hold the
    browser up for longer than the relay, once. The benchmark asks for every visit.
    """
    for number in range(8):
        heads(site.app, path, f"User-Agent: {number}")
    with harness.relay(site.port, seconds=0.005) as port:
        far = replace(site, port=port)
        visits = [visit(chromium, far, path) for _ in range(4)]
    assert visits.count(("early-hints", 1)) >= 3, visits


def test_browser_without_hints(site: Site, chromium: Browser) -> None:
    """Without a 103 the style sheet waits for the page."""
    assert visit(chromium, site, "/plain") == ("link", 1)


def test_browser_without_a_max_age(
    app_file: Path, certificate: tuple[Path, Path, str], chromium: Browser
) -> None:
    """A file that browsers ask for again is left to the page: one request."""
    environ = {
        "APP_FIREHOSE_EARLY_HINTS": "true", "APP_SEND_FILE_MAX_AGE_DEFAULT": "null",
    }  # fmt: skip
    with (
        harness.gunicorn(app_file, worker="gthread", environ=environ) as server,
        apache(server, certificate) as site,
    ):
        for _ in range(2):
            assert visit(chromium, site, "/declared") == ("link", 1)


def interim(url: str) -> tuple[int, int]:
    """Return how many 103s a navigation got, and the status of the page."""
    answer = fetch(url, {"Sec-Fetch-Mode": "navigate"}, insecure=True)
    return sum(status == 103 for _, status, _ in answer.interim), answer.status


def test_proxies(
    server: harness.Server, certificate: tuple[Path, Path, str], tmp_path: Path
) -> None:
    """Each proxy does with a 103 what the table of the site says."""
    cert, key, _ = certificate
    pem = tmp_path / "site.pem"
    pem.write_text(cert.read_text() + key.read_text())
    later = "proxy_http_version 1.1;"
    with (
        apache(server, certificate) as apache_site,
        harness.caddy(server, certificate=cert, key=key) as caddy,
        harness.haproxy(server, pem=pem) as haproxy,
        harness.varnish(server) as varnish,
        harness.nginx(f"location / {{ proxy_pass {server.url}; }}") as nginx,
        harness.nginx(f"location / {{ {later} proxy_pass {server.url}; }}") as lost,
    ):
        assert interim(f"{apache_site.url}/declared") == (1, 200)
        assert interim(f"https://localhost:{caddy.port}/declared") == (1, 200)
        assert interim(f"https://localhost:{haproxy.port}/declared") == (1, 200)
        assert interim(f"{nginx.url}/declared") == (0, 200)
        assert interim(f"{varnish.url}/declared") == (0, 503)
        received = heads(lost, "/declared")
        # It takes the 103 for the answer, and sends what follows as its body.
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 103 Early Hints\r\nServer: nginx")
        assert body.startswith(b"HTTP/1.1 200 OK\r\nServer: gunicorn")


def test_head_with_a_session(tmp_path: Path) -> None:
    """A large session and many links pass an nginx with its default buffer."""
    (tmp_path / "large.py").write_text(LARGE)
    with (
        harness.gunicorn(tmp_path / "large.py") as server,
        harness.nginx(f"location / {{ proxy_pass {server.url}; }}") as nginx,
    ):
        for connector in ("0", "1"):
            for size in range(2000, 2800, 100):
                answer = fetch(f"{nginx.url}/?size={size}&connector={connector}", {})
                assert answer.status == 200
                assert answer.get("set-cookie")


def test_check(site: Site) -> None:
    """The command finds on a real site what its visitors get."""
    app = Flask(__name__)
    Firehose(app)
    runner = app.test_cli_runner()
    arguments = ["firehose", "check", "--insecure", f"{site.url}/declared?seconds=0.2"]
    result = runner.invoke(args=arguments)
    assert result.exit_code == 0, result.output
    for expected in (
        "ok    HTTP/2: browsers act on a 103",
        "ok    a navigation got a 103, ",
        "ok    a request that is not a navigation got no 103",
        "ok    the page has 1 links in its header",
        "ok    /static/main.css: 18 bytes, public, max-age=60",
        "note  answered by gunicorn",
    ):
        assert expected in result.output
    result = runner.invoke(args=[*arguments, "--json"])
    found = [json.loads(line) for line in result.output.splitlines()]
    assert {"level": "ok", "text": "HTTP/2: browsers act on a 103"} in found
    result = runner.invoke(args=["firehose", "check", f"{site.app.url}/plain"])
    assert result.exit_code == 1
    assert "bad   HTTP/1.1: browsers ignore a 103" in result.output
    assert "bad   a navigation got no 103" in result.output
    result = runner.invoke(args=["firehose", "check", "http://127.0.0.1:1/"])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1/ cannot be fetched" in result.output
