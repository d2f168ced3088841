"""The contract on every server.

A class of ``test_servers.py`` subclasses :class:`Serves` for one server, or for one way
of running it. The server is started once for all tests of the class.
"""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import harness
from harness.compatibility import Subject


#: No navigation: such requests are sent no Early Hints.
ORDINARY = {"Sec-Fetch-Mode": "cors", "Accept-Encoding": "identity"}
FILE = bytes(range(256)) * 4096
SECONDS = 20.0
APP = Path(__file__).with_name("site_app.py")


Running = AbstractContextManager[harness.Server]


@dataclass
class Site:
    """A server that runs the app."""

    server: harness.Server
    directory: Path

    def ends(self) -> list[str]:
        """Return how the streams ended so far."""
        path = self.directory / "ends"
        return path.read_text().split() if path.exists() else []


def wait_for(url: str) -> None:
    """Wait for an answer: some servers listen before they have loaded the app."""
    request = urllib.request.Request(url, headers=ORDINARY)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read()


def ask(
    site: Site,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    *,
    seconds: float = SECONDS,
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return the status, the header and the body of an answer."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", site.server.port, timeout=seconds
    )
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connection):
        connection.request(method, path, body, ORDINARY | fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


@contextmanager
def connected(site: Site, path: str, **headers: str) -> Iterator[socket.socket]:
    """Send a request over a new connection."""
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    address = ("127.0.0.1", site.server.port)
    with socket.create_connection(address, SECONDS) as client:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
        client.sendall(request.encode())
        yield client


def read_until(client: socket.socket, word: bytes) -> bytes:
    """Read until a word came."""
    received = b""
    while word not in received:
        part = client.recv(65536)
        assert part, f"the connection ended after {received!r}"
        received += part
    return received


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline, f"{what}, within 8 s"
        time.sleep(0.02)


def quiet_log(site: Site) -> str:
    """Return the log once nothing more is written to it."""
    said, before = site.server.log(), ""
    deadline = time.monotonic() + 10
    while said != before:
        assert time.monotonic() < deadline, "the log should come to rest"
        before = said
        time.sleep(0.5)
        said = site.server.log()
    return said


def curl(site: Site, path: str, *options: str) -> int:
    """Return curl's exit code, which tells whether the body is complete."""
    url = f"{site.server.url}{path}"
    command = ["curl", "--silent", "--max-time", "20", "--output", "/dev/null"]
    return subprocess.run([*command, *options, url], check=False).returncode


@contextmanager
def closing_all(site: Site, streams: int) -> Iterator[None]:
    """Listen with some clients."""
    clients = []
    try:
        for _ in range(streams):
            address = ("127.0.0.1", site.server.port)
            client = socket.create_connection(address, SECONDS)
            clients.append(client)
            client.sendall(b"GET /events/idle HTTP/1.1\r\nHost: localhost\r\n\r\n")
            read_until(client, b"\r\n\r\n")
        yield
    finally:
        for client in clients:
            client.close()


class Serves:
    """The contract; a subclass names its server and starts it."""

    subject: ClassVar[Subject]

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        """Start the server with the app of this folder."""
        raise NotImplementedError

    @classmethod
    def environ(cls, redis_url: str) -> dict[str, str]:
        """Return what several processes share."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def site(
        cls,
        redis_session: harness.RedisServer,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[Site]:
        """The server, for all tests of the class."""
        directory = tmp_path_factory.mktemp("site")
        (directory / "files").mkdir()
        (directory / "files" / "data.bin").write_bytes(FILE)
        environ = cls.environ(redis_session.url)
        with cls.start({"SITE_DIRECTORY": str(directory)} | environ) as server:
            wait_for(f"{server.url}/download")
            yield Site(server, directory)

    @pytest.mark.cell("flask-kaccel")
    def test_download(self, site: Site) -> None:
        """A file is sent whole, in part, and not to a client that has it."""
        status, headers, body = ask(site, "/download")
        assert (status, body) == (200, FILE)
        status, part, body = ask(site, "/download", Range="bytes=1000-200999")
        assert (status, body) == (206, FILE[1000:201000])
        assert part["Content-Range"] == f"bytes 1000-200999/{len(FILE)}"
        status, _, body = ask(site, "/download", If_None_Match=headers["ETag"])
        assert (status, body) == (304, b"")

    @pytest.mark.cell("flask-store")
    def test_upload(self, site: Site) -> None:
        """A file of 5 MB is stored, and served as it was."""
        content = secrets.token_bytes(5_000_000)
        body = (
            b"--b0undary\r\nContent-Disposition: form-data; name=file; filename=a.bin"
            b"\r\n\r\n" + content + b"\r\n--b0undary--\r\n"
        )
        kind = "multipart/form-data; boundary=b0undary"
        status, _, url = ask(site, "/upload", "POST", body, Content_Type=kind)
        assert status == 200
        status, headers, served = ask(site, url.decode())
        assert status == 200
        assert served == content
        assert "sandbox" in headers["Content-Security-Policy"]

    @pytest.mark.cell("flask-webcache")
    def test_cached_page(self, site: Site) -> None:
        """Every visitor gets the page that was made first."""
        pages = [ask(site, "/page") for _ in range(6)]
        assert {status for status, _, _ in pages} == {200}
        assert len({body for _, _, body in pages}) == 1
        for _, headers, _ in pages[1:]:
            assert "; hit" in headers["Cache-Status"]

    @pytest.mark.cell("flask-firehose")
    def test_links(self, site: Site) -> None:
        """The page names its style sheet once, made or stored."""
        for _ in range(2):
            _, headers, _ = ask(site, "/page")
            links = ", ".join(headers.get_all("Link", []))
            assert links.count("</static/style.css>") == 1

    @pytest.mark.cell("flask-firehose")
    def test_early_hints(self, site: Site) -> None:
        """A navigation gets one 103 where the server can send it, and then the page."""
        fresh = f"/page?{secrets.token_hex(4)}"
        with connected(site, fresh, Sec_Fetch_Mode="navigate") as client:
            received = read_until(client, b"</title>")
        heads = re.findall(rb"^HTTP/1.1 (\d+)", received, re.MULTILINE)
        can = self.subject.distribution == "gunicorn"
        assert heads == ([b"103", b"200"] if can else [b"200"])

    @pytest.mark.cell("flask-streaming")
    def test_csv(self, site: Site) -> None:
        """A table of 1 MB arrives whole."""
        status, _, body = ask(site, "/rows.csv")
        assert status == 200
        lines = body.decode().splitlines()
        assert [line.split(",")[0] for line in lines] == [str(n) for n in range(256)]
        assert {len(line.split(",")[1]) for line in lines} == {4096}

    @pytest.mark.cell("flask-streaming")
    def test_first_event(self, site: Site) -> None:
        """A listener gets the first event while the stream goes on."""
        channel = f"/events/{secrets.token_hex(4)}"
        with connected(site, channel) as client:
            # The first ping: the subscription is there.
            read_until(client, b":")
            status, _, _ = ask(site, channel, "POST", b"")
            assert status == 200
            read_until(client, b"data: hello\n\n")

    @pytest.mark.cell("flask-streaming")
    def test_client_leaves(self, site: Site) -> None:
        """A stream whose client left ends within seconds."""
        before = site.ends().count("ClientDisconnected")
        with connected(site, "/slow.csv") as client:
            read_until(client, b"xxx")
        wait_until(
            lambda: site.ends().count("ClientDisconnected") > before,
            "the stream should end when its client leaves",
        )

    @pytest.mark.cell("flask-streaming")
    @pytest.mark.parametrize("version", ["1.1", "1.0"])
    def test_failure_shows(self, site: Site, version: str) -> None:
        """No client mistakes a failed stream for a complete one."""
        harness.require("curl", "apt-get install curl")
        option = f"--http{version}"
        assert curl(site, "/rows.csv", option) == 0
        assert curl(site, "/broken.csv?marker=shown", option) != 0

    @pytest.mark.cell("flask-streaming")
    def test_failure_is_logged_once(self, site: Site) -> None:
        """A stream that failed is in the log once, with its error."""
        harness.require("curl", "apt-get install curl")
        marker = secrets.token_hex(8)
        before = len(site.ends())
        curl(site, f"/broken.csv?marker={marker}")
        wait_until(lambda: len(site.ends()) > before, "the stream should end")
        logged = re.findall(rf"BrokenRowError: {marker}", quiet_log(site))
        assert len(logged) == 1


class Replaces(Serves):
    """A server that replaces its workers."""

    @pytest.mark.cell("flask-streaming")
    def test_workers_are_replaced(self, site: Site) -> None:
        """No request waits for a worker that is replaced while streams are open."""
        with closing_all(site, 4):
            for _ in range(100):
                # Less than gunicorn waits for streams, more than a slow machine needs.
                assert ask(site, "/page", seconds=25)[0] == 200
