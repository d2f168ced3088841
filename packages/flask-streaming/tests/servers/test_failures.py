"""A failed stream never looks complete, and a client that left is noticed."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import harness


APP = Path(__file__).with_name("streams_app.py")
SERVERS = (*harness.WSGI_SERVERS, "uwsgi")
KINDS = ("chunks", "megabytes", "csv", "json", "template")


@pytest.fixture(scope="module", params=SERVERS)
def servers(request: pytest.FixtureRequest) -> Iterator[dict[str, harness.Server]]:
    """Each server, and a default nginx in front of it."""
    with ExitStack() as stack:
        direct = stack.enter_context(harness.serve(request.param, APP))
        location = f"location / {{ proxy_pass {direct.url}; }}"
        proxy = stack.enter_context(harness.nginx(location))
        yield {"direct": direct, "nginx": proxy}


def curl(url: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run curl, which tells by its exit code whether the body is complete."""
    command = ["curl", "--silent", "--max-time", "60", *options, url]
    return subprocess.run(command, capture_output=True, check=False)


def counts(server: harness.Server) -> dict[str, Any]:
    """Ask the app what happened."""
    with urllib.request.urlopen(f"{server.url}/counts", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def leave_after_first_bytes(server: harness.Server, path: str) -> None:
    """Ask for a stream, read its beginning and go away."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received or not received.split(b"\r\n\r\n", 1)[1]:
            received += client.recv(4096)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("way", "options"),
    [
        pytest.param("direct", [], id="direct"),
        pytest.param("direct", ["--http1.0"], id="direct-http10"),
        pytest.param("nginx", [], id="nginx"),
    ],
)
def test_failure_shows(
    servers: dict[str, harness.Server], way: str, options: list[str], kind: str
) -> None:
    """Curl does not take a part for the whole."""
    result = curl(f"{servers[way].url}/fail/{kind}", *options)
    assert result.returncode != 0


@pytest.mark.parametrize("kind", ["chunks", "csv"])
def test_failure_is_logged_once(servers: dict[str, harness.Server], kind: str) -> None:
    """The error of a stream that fails is in the log of the server once, not twice."""
    direct = servers["direct"]
    logged = re.compile(r"^(\w+\.)?BrokenError$", re.MULTILINE)

    def reported() -> tuple[int, int]:
        ended = counts(direct).get("BrokenError", 0)
        return ended, len(logged.findall(direct.log()))

    # A client sees the end before it is reported: those of other tests may come yet.
    found, (ended, first) = (-1, -1), reported()
    while found != (ended, first):
        found = ended, first
        time.sleep(0.5)
        ended, first = reported()
    curl(f"{direct.url}/fail/{kind}")
    curl(f"{direct.url}/fail/{kind}", "--http1.0")
    wait_until(lambda: reported()[0] == ended + 2)
    assert reported() == (ended + 2, first + 2)


@pytest.mark.parametrize(
    ("server", "option", "hidden"),
    [
        (harness.granian, "--http1.1", True),
        (harness.cheroot, "--http1.0", True),
        (harness.cheroot, "--http1.1", False),
        (harness.hypercorn, "--http1.0", True),
        (harness.uvicorn, "--http1.0", True),
        (harness.waitress, "--http1.0", False),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_server_that_hides_failures(
    server: Callable[[Path], AbstractContextManager[harness.Server]],
    option: str,
    hidden: bool,
) -> None:
    """If a part would look like the whole, a warning is logged once, beforehand."""
    with server(APP) as running:
        for _ in range(2):
            assert curl(f"{running.url}/whole", option).returncode == 0
        assert (curl(f"{running.url}/fail/csv", option).returncode == 0) == hidden
        warning = "A stream that fails looks complete to the client"
        assert running.log().count(warning) == hidden


def test_unix_socket_hides_failures(tmp_path: Path) -> None:
    """A Unix socket cannot be reset, which is logged, except with HTTP/1.1."""
    path = tmp_path / "socket"
    with harness.gunicorn(APP, "--bind", f"unix:{path}", worker="gthread") as server:
        for option, count in (("--http1.1", 0), ("--http1.0", 1), ("--http1.0", 1)):
            url = "http://localhost/whole"
            assert curl(url, option, "--unix-socket", str(path)).returncode == 0
            assert server.log().count("A stream that fails looks") == count


@pytest.mark.parametrize("option", ["--debug", "--without-threads"])
def test_failure_shows_in_development(option: str) -> None:
    """Neither the debugger nor a server of one thread makes a part look whole."""
    with harness.serve("werkzeug", APP, option) as server:
        assert curl(f"{server.url}/fail/chunks").returncode != 0
        assert curl(f"{server.url}/whole").returncode == 0


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_success_is_whole(servers: dict[str, harness.Server], way: str) -> None:
    """A good stream arrives whole, also over HTTP/1.0."""
    expected = b"".join(b"%d\r\n" % number for number in range(100_000))
    for options in ([], ["--http1.0"]):
        result = curl(f"{servers[way].url}/whole", *options)
        assert result.returncode == 0
        assert result.stdout == expected


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_early_error_is_a_page(servers: dict[str, harness.Server], way: str) -> None:
    """An error before the first row has a status and the app's error page."""
    result = curl(f"{servers[way].url}/early", "--write-out", "%{http_code}")
    assert result.stdout.split(b"\n") == [b'{"error":"broken"}', b"503"]


@pytest.mark.parametrize(
    ("way", "path"),
    [
        ("direct", "/ticks/loud"),
        ("direct", "/ticks/silent"),
        ("direct", "/quiet"),
        ("direct", "/asking"),
        # nginx holds the others back until they are large.
        ("nginx", "/quiet"),
    ],
)
def test_client_leaves(servers: dict[str, harness.Server], way: str, path: str) -> None:
    """The stream of a client that left is closed, and its context torn down once."""
    server = servers[way]
    direct = servers["direct"]
    before, tracebacks = counts(server), direct.log().count("Traceback")
    # Werkzeug's server may meet the client's absence in the middle of a chunk.
    noticed = ["ClientDisconnected"] + ["saw it leave"] * (path == "/asking")

    def grown(*names: str) -> int:
        after = counts(server)
        return sum(after.get(name, 0) - before.get(name, 0) for name in names)

    leave_after_first_bytes(server, path)
    wait_until(lambda: grown("torn down") >= 1 and grown(*noticed) >= 1)
    assert grown("torn down") == grown(*noticed) == 1
    assert grown("closed") == path.startswith("/ticks")
    assert grown("ran to its end") == 0
    # Werkzeug's server looks for the rest of the request before it lets go.
    if direct.name != "werkzeug":
        assert direct.log().count("Traceback") == tracebacks


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    """A server that speaks TLS."""
    openssl = harness.require("openssl", "apt-get install openssl")
    pem = tmp_path_factory.mktemp("tls") / "all.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(pem), "-out", f"{pem}.crt"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    options = ["--certfile", f"{pem}.crt", "--keyfile", str(pem)]
    with harness.gunicorn(APP, *options, worker="gthread") as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_failure_shows_over_tls(
    secure: harness.Server, version: str, kind: str
) -> None:
    """A reset is one below TLS, too."""
    url = f"https://{secure.address}/fail/{kind}"
    assert curl(url, "--insecure", version).returncode != 0


def test_client_leaves_tls(secure: harness.Server) -> None:
    """A client of a TLS server is noticed when it leaves with a farewell."""
    url = f"https://{secure.address}"
    assert curl(f"{url}/ticks/silent", "--insecure", "--max-time", "0.5").returncode

    def closed() -> bool:
        return b'"closed":1' in curl(f"{url}/counts", "--insecure").stdout

    wait_until(closed)


@pytest.fixture(scope="module")
def uwsgi_pass() -> Iterator[harness.Server]:
    """nginx, which speaks uwsgi to uWSGI."""
    address = f"127.0.0.1:{harness.free_port()}"
    location = (
        f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {address}; }}"
    )
    with harness.uwsgi(APP, "--socket", address), harness.nginx(location) as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_failure_shows_through_uwsgi_pass(
    uwsgi_pass: harness.Server, kind: str
) -> None:
    """The uwsgi protocol has no end of a body either."""
    assert curl(f"{uwsgi_pass.url}/fail/{kind}").returncode != 0
    assert curl(f"{uwsgi_pass.url}/whole").returncode == 0
