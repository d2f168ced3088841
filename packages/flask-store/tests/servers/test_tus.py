"""Uploads that resume, through real servers, cuts, kills and real clients."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser

APP = Path(__file__).with_name("tus_app.py")
VERSION = {"Tus-Resumable": "1.0.0"}
PATCH = {**VERSION, "Content-Type": "application/offset+octet-stream"}
CLIENT = ("tus-js-client@4.3.1", "uppy@6.0.1")
#: Bytes of an upload that clients send through ten cuts.
SIZE = int(os.environ.get("TUS_BYTES", "10000000"))
CLIENT_SECONDS = 200 + SIZE // 500_000
pytestmark = pytest.mark.timeout(CLIENT_SECONDS + 60)


@dataclass
class Site:
    """A server with the app, and where it keeps its files."""

    server: harness.Server
    files: Path
    log: Path

    def request(
        self, method: str, url: str, body: bytes = b"", **fields: object
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer, read."""
        headers = {key.replace("_", "-"): str(value) for key, value in fields.items()}
        if method == "PATCH":
            headers = {**PATCH, **headers}
        connection = http.client.HTTPConnection(self.server.address, timeout=90)
        with contextlib.closing(connection):
            connection.request(method, url, body, {**VERSION, **headers})
            answer = connection.getresponse()
            answer.read()
        return answer

    def create(self, length: int, name: str) -> str:
        """Create an upload of a file that no other test has; return its path."""
        named = f"filename {base64.b64encode(name.encode()).decode()}"
        answer = self.request(
            "POST", "/uploads", Upload_Length=length, Upload_Metadata=named
        )
        assert answer.status == 201
        return answer.headers["Location"]

    def offset(self, url: str) -> int:
        """Return the offset of an upload."""
        return int(self.request("HEAD", url).headers["Upload-Offset"])

    def finish(self, url: str, data: bytes) -> None:
        """Send what is missing."""
        # Bytes of a request that was cut may still come; clients ask again too.
        for _ in range(20):
            offset = self.offset(url)
            answer = self.request("PATCH", url, data[offset:], Upload_Offset=offset)
            if answer.status != 409:
                assert answer.status == 204
                return
        raise AssertionError("it stays at another offset")

    def stored(self, name: str) -> list[Path]:
        """Return the files that a test has stored under its name, or like it."""
        return [*self.files.glob(f"{name}*")]

    def told(self, name: str) -> int:
        """Return how often the app was told of a file."""
        return self.log.read_text().split().count(name) if self.log.exists() else 0


@contextlib.contextmanager
def serving(name: str, path: Path, **environ: str) -> Iterator[Site]:
    """Run the app."""
    files = path / "files"
    variables = {
        "FLASK_STORE_PATH": str(files),
        "FINISHED": str(path / "finished"),
        **environ,
    }
    options = ["--workers", "2"] if name.startswith("gunicorn") else []
    with harness.serve(name, APP, *options, environ=variables) as server:
        yield Site(server, files, path / "finished")


@pytest.fixture(
    scope="module",
    params=["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "uwsgi"],
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Each server that lets an app see half a body."""
    with serving(request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two gthread workers, for all tests of the module."""
    with serving("gunicorn-gthread", tmp_path_factory.mktemp("gunicorn")) as site:
        yield site


def begin(site: Site, url: str, length: int, offset: int = 0) -> socket.socket:
    """Send the head of a PATCH."""
    connection = socket.create_connection(("127.0.0.1", site.server.port), 90)
    head = {**PATCH, "Host": "x", "Upload-Offset": offset, "Content-Length": length}
    lines = [f"PATCH {url} HTTP/1.1", *(f"{key}: {it}" for key, it in head.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["fin", "rst", "half-close"])
def test_cut(site: Site, how: str) -> None:
    """A cut body is kept as far as it came, and the upload goes on from there."""
    data = random.Random(1).randbytes(1_000_000)
    url = site.create(len(data), f"{how}.bin")
    with begin(site, url, len(data)) as connection:
        connection.sendall(data[:700_001])
        wait_until(lambda: site.offset(url) > 600_000)
        if how == "rst":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if how == "half-close":
            connection.shutdown(socket.SHUT_WR)
            assert b" 204 " not in connection.recv(100)
    assert 600_000 < site.offset(url) <= 700_001
    assert site.stored(f"{how}.bin") == []
    site.finish(url, data)
    (path,) = site.stored(f"{how}.bin")
    assert path.read_bytes() == data
    assert site.told(f"{how}.bin") == 1


def test_silent_connection_locks_nobody_out(gunicorn: Site) -> None:
    """Another PATCH goes on at once where a connection died unnoticed."""
    data = random.Random(2).randbytes(300_000)
    url = gunicorn.create(len(data), "silent.bin")
    with begin(gunicorn, url, len(data)) as connection:
        connection.sendall(data[:200_000])
        wait_until(lambda: gunicorn.offset(url) > 0)
        gunicorn.finish(url, data)
        # Its late bytes come to an upload that is finished.
        connection.sendall(data[200_000:])
        answer = connection.recv(100)
        assert b" 40" in answer
    (path,) = gunicorn.stored("silent.bin")
    assert path.read_bytes() == data


def test_patches_at_once_never_interleave(gunicorn: Site) -> None:
    """Of eight PATCHes with other bytes over two workers, one is taken."""
    size = 400_000
    url = gunicorn.create(size, "once.bin")

    def patch(letter: bytes) -> int:
        with contextlib.suppress(OSError):
            return gunicorn.request("PATCH", url, letter * size, Upload_Offset=0).status
        return 0  # refused before all was read

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(patch, [b"%c" % (65 + n) for n in range(8)]))
    assert statuses.count(204) == 1
    (path,) = gunicorn.stored("once.bin")
    assert len(set(path.read_bytes())) == 1


def test_killed_workers(gunicorn: Site) -> None:
    """Workers that are killed in the middle of PATCHes lose nothing they told of."""
    draw = random.Random(3)
    data = draw.randbytes(3_000_000)
    url = gunicorn.create(len(data), "killed.bin")
    offset = 0
    # Few, as workers take their time to start; a thousand are in test_tus_crash.py.
    for _ in range(3):
        with (
            begin(gunicorn, url, len(data) - offset, offset) as connection,
            contextlib.suppress(OSError),
        ):
            connection.sendall(data[offset : offset + draw.randrange(1, 300_000)])
            for worker in children(gunicorn.server):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        told = offset_after_kill(gunicorn, url)
        assert told >= offset
        offset = told
        part = gunicorn.files / ".tus" / url.rpartition("/")[2]
        # A worker may have begun with what the connection of a killed one held.
        kept = part.read_bytes()
        assert len(kept) >= offset
        assert data.startswith(kept)
    gunicorn.finish(url, data)
    (path,) = gunicorn.stored("killed.bin")
    assert path.read_bytes() == data
    assert gunicorn.told("killed.bin") == 1


def children(server: harness.Server) -> list[int]:
    """Return the workers of a gunicorn."""
    assert server.process is not None
    pid = server.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def offset_after_kill(site: Site, url: str) -> int:
    """Return the offset, once a new worker answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return site.offset(url)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline
            time.sleep(0.1)


class Relay:
    """A bad line: it cuts connections to a server after some bytes.

    :param cuts: after how many bytes from the client each of the first is cut.
    """

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._target = port
        self._cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(
                    target=self._serve, args=(client,), daemon=True
                ).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self._target), 90)
            with server:
                back = threading.Thread(
                    target=self._pass, args=(server, client), daemon=True
                )
                back.start()
                self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        while data := client.recv(65536):
            server.sendall(data)
            passed += len(data)
            if self._cuts and passed > self._cuts[0]:
                self._cuts.pop(0)
                self.cut += 1
                server.shutdown(socket.SHUT_RDWR)
                return

    @staticmethod
    def _pass(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            try:
                while data := server.recv(65536):
                    client.sendall(data)
            finally:
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A large file."""
    path = tmp_path / "big.bin"
    path.write_bytes(random.Random(4).randbytes(SIZE))
    return path


@pytest.fixture
def line(gunicorn: Site) -> Iterator[Relay]:
    """A line that is cut ten times."""
    draw = random.Random(5)
    # Fewer bytes than a client sends in one request, however large the file is.
    cuts = [draw.randrange(500_000) for _ in range(10)]
    relay = Relay(gunicorn.server.port, cuts)
    yield relay
    relay.close()


def disturb(site: Site, relay: Relay) -> None:
    """Kill the workers after the third cut, and restart the server after the sixth."""
    wait_until(lambda: relay.cut >= 3, CLIENT_SECONDS)
    for worker in children(site.server):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: relay.cut >= 6, CLIENT_SECONDS)
    site.server.restart()


def same(path: Path, other: Path) -> bool:
    """Return whether two files have the same content."""
    digests = []
    for one in (path, other):
        with one.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return digests[0] == digests[1]


TUS_JS = """
const fs = require("fs"), tus = require("tus-js-client");
const [endpoint, path, filename] = process.argv.slice(1);
new tus.Upload(fs.createReadStream(path), {
    endpoint, uploadSize: fs.statSync(path).size,
    metadata: { filename },
    retryDelays: Array(60).fill(200),
    onError: (error) => { console.error(error); process.exit(1); },
    onSuccess: () => process.exit(0),
}).start();
"""


def test_tus_js_client(gunicorn: Site, line: Relay, big: Path) -> None:
    """The reference client gets a file through ten cuts, a kill and a restart."""
    node = harness.require("node", "apt-get install nodejs npm")
    home = harness.node_packages(*CLIENT)
    endpoint = f"http://127.0.0.1:{line.port}/uploads"
    with ThreadPoolExecutor(1) as pool:
        trouble = pool.submit(disturb, gunicorn, line)
        done = subprocess.run(
            [node, "--eval", TUS_JS, endpoint, str(big), "tus.bin"],
            cwd=home, capture_output=True, timeout=CLIENT_SECONDS, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        trouble.result()
    assert line.cut == 10
    (path,) = gunicorn.stored("tus.bin")
    assert same(path, big)


TUSPY = """
import contextlib, sys, time
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

endpoint, url, path = sys.argv[1:]
for _ in range(100):
    # It gives up where it cannot ask for the offset, and is then told to go on.
    with contextlib.suppress(TusCommunicationError, OSError):
        TusClient(endpoint).uploader(
            path, chunk_size=1_000_000, upload_checksum=True, url=url
        ).upload()
        sys.exit()
    time.sleep(0.1)
sys.exit("it did not get through")
"""


def test_tuspy(gunicorn: Site, line: Relay, big: Path) -> None:
    """The Python client does so with a checksum for each piece."""
    harness.require_module("tusclient", "pip install tuspy")
    endpoint = f"http://127.0.0.1:{line.port}/uploads"
    url = f"http://127.0.0.1:{line.port}{gunicorn.create(SIZE, 'tuspy.bin')}"
    with ThreadPoolExecutor(1) as pool:
        trouble = pool.submit(disturb, gunicorn, line)
        done = subprocess.run(
            [sys.executable, "-c", TUSPY, endpoint, url, str(big)],
            capture_output=True, timeout=CLIENT_SECONDS, check=False, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        trouble.result()
    assert line.cut == 10
    (path,) = gunicorn.stored("tuspy.bin")
    assert same(path, big)


def test_uppy(chromium: Browser, tmp_path: Path, big: Path) -> None:
    """Uppy in a browser does so too."""
    scripts = harness.node_packages(*CLIENT) / "node_modules" / "uppy" / "dist"
    with serving("gunicorn-gthread", tmp_path, SCRIPTS=str(scripts)) as site:
        draw = random.Random(6)
        relay = Relay(site.server.port, [draw.randrange(SIZE // 20) for _ in range(10)])
        with chromium.new_page() as page, ThreadPoolExecutor(1) as pool:
            trouble = pool.submit(disturb, site, relay)
            page.goto(f"http://127.0.0.1:{relay.port}/page")
            page.evaluate("""async () => {
                const { Uppy, Tus } = await import("/js/uppy.min.mjs");
                window.uppy = new Uppy().use(Tus, {
                    endpoint: "/uploads", retryDelays: Array(60).fill(200),
                });
                window.uppy.on("complete", (result) => { window.result = result; });
                const input = document.createElement("input");
                input.type = "file"; input.id = "file";
                input.onchange = () => {
                    const [data] = input.files;
                    window.uppy.addFile({ name: data.name, data });
                    window.uppy.upload();
                };
                document.body.append(input);
            }""")
            page.set_input_files("#file", big)
            page.wait_for_function("window.result", timeout=1000 * CLIENT_SECONDS)
            assert page.evaluate("window.result.failed.length") == 0
            trouble.result()
        relay.close()
        assert relay.cut == 10
        (path,) = site.stored("big")
        assert (path.name, same(path, big)) == ("big.bin", True)


def test_parallel_parts(gunicorn: Site, big: Path) -> None:
    """Three parts at once become one file."""
    node = harness.require("node", "apt-get install nodejs npm")
    home = harness.node_packages(*CLIENT)
    script = TUS_JS.replace("uploadSize: fs.statSync(path).size", "parallelUploads: 3")
    endpoint = f"{gunicorn.server.url}/uploads"
    done = subprocess.run(
        [node, "--eval", script, endpoint, str(big), "parts.bin"],
        cwd=home, capture_output=True, timeout=CLIENT_SECONDS, text=True,
            check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = gunicorn.stored("parts.bin")
    assert same(path, big)
