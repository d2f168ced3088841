"""Measure resumable uploads, beside a bare WSGI loop and a rival.

Usage: python benchmarks/store_tus.py [--quick | --checks]

One file goes by PATCH over a socket to gunicorn (gthread). "bare" is a WSGI app that
reads blocks and writes them to a file, with one fsync: nothing that keeps an upload can
cost less. CPU is the worker's, user and system together, and memory its greatest; the
times of one run compare, those of two do not. The rival is ``resumable-upload``, with
its local storage behind a Flask app as its documentation has it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit


sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import harness


QUICK = "--quick" in sys.argv
MIB = 1 << 20
SIZE = (128 if QUICK else 1024) * MIB
ROUNDS = int(os.environ.get("ROUNDS", "3"))
BLOCK = os.urandom(MIB)
VERSION = {"Tus-Resumable": "1.0.0"}

PROCESS = """
import os, resource
from pathlib import Path
def process():
    used = resource.getrusage(resource.RUSAGE_SELF)
    fields = dict(
        line.split(":") for line in Path("/proc/self/io").read_text().splitlines()
    )
    return f"{used.ru_utime + used.ru_stime} {used.ru_maxrss} {fields['write_bytes']}"
"""
BARE = (
    PROCESS
    + """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/process":
        start_response("200 OK", [])
        return [process().encode()]
    if environ["REQUEST_METHOD"] == "PATCH":
        left = int(environ["CONTENT_LENGTH"])
        with open(os.environ["FILES"] + "/bare", "wb", buffering=0) as target:
            while left and (block := environ["wsgi.input"].read(min(left, 65536))):
                target.write(block)
                left -= len(block)
            os.fsync(target.fileno())
        os.unlink(os.environ["FILES"] + "/bare")
    start_response("204 No Content", [("Location", "/uploads/1")])
    return []
"""
)
OURS = (
    PROCESS
    + """
from flask import Flask
from flask_store import Store, upload_finished
app = Flask(__name__)
app.config["STORE_PATH"] = os.environ["FILES"]
app.config["STORE_FSYNC"] = True
store = Store(app)
app.register_blueprint(store.tus("/uploads", authorize=lambda step, upload: "me"))
app.add_url_rule("/process", view_func=process)
def drop(sender, file, upload):
    file.delete()
upload_finished.connect(drop, app)
"""
)
#: As ours, with the files kept.
KEEPING = OURS.replace("    file.delete()", "    pass")

#: As its documentation has it: the body is given whole.
RIVAL = (
    PROCESS
    + """
from flask import Flask, Response, request
from resumable_upload import SQLiteStorage, TusServer
app = Flask(__name__)
files = os.environ["FILES"]
storage = SQLiteStorage(db_path=files + "/uploads.db", upload_dir=files)
server = TusServer(storage=storage, base_path="/uploads")
app.add_url_rule("/process", view_func=process)
methods = ["POST", "HEAD", "PATCH", "DELETE", "OPTIONS"]
@app.route("/uploads", methods=methods, provide_automatic_options=False)
@app.route("/uploads/<path:name>", methods=methods, provide_automatic_options=False)
def uploads(name=""):
    status, headers, body = server.handle_request(
        request.method, request.path, dict(request.headers), request.get_data()
    )
    return Response(body, status, headers)
"""
)


@contextlib.contextmanager
def serving(code: str, folder: Path) -> Iterator[harness.Server]:
    """Run an app of one worker."""
    (folder / "app.py").write_text(code)
    (folder / "files").mkdir()
    environ = {"FILES": str(folder / "files")}
    with harness.serve("gunicorn-gthread", folder / "app.py", environ=environ) as site:
        yield site


class Answer(NamedTuple):
    """A server's response."""

    status: int
    location: str
    offset: int
    text: str


def ask(
    site: harness.Server,
    method: str,
    url: str,
    fields: Mapping[str, str] = MappingProxyType({}),
    body: bytes = b"",
) -> Answer:
    """Send a request and return the answer."""
    headers = {**VERSION, **fields}
    if method == "PATCH":
        headers["Content-Type"] = "application/offset+octet-stream"
    connection = http.client.HTTPConnection(site.address, timeout=600)
    with contextlib.closing(connection):
        connection.request(method, url, body, headers=headers)
        answer = connection.getresponse()
        return Answer(
            answer.status,
            urlsplit(answer.headers.get("Location", "")).path,
            int(answer.headers.get("Upload-Offset", -1)),
            answer.read().decode(errors="replace"),
        )


def upload(site: harness.Server) -> None:
    """Send one file by PATCH."""
    url = ask(site, "POST", "/uploads", {"Upload-Length": str(SIZE)}).location
    connection = http.client.HTTPConnection(site.address, timeout=600)
    with contextlib.closing(connection):
        connection.request(
            "PATCH",
            url,
            (BLOCK for _ in range(SIZE // MIB)),
            {
                **VERSION,
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(SIZE),
                "Upload-Offset": "0",
            },
        )
        assert connection.getresponse().status == 204


def measure(site: harness.Server) -> tuple[float, int, int]:
    """Return the CPU seconds, the memory in KiB and the bytes written of one upload."""
    cpu, _, written = map(float, ask(site, "GET", "/process").text.split())
    upload(site)
    after, memory, more = map(float, ask(site, "GET", "/process").text.split())
    return after - cpu, int(memory), int(more - written)


def offset(site: harness.Server, url: str) -> int:
    """Return where an upload ends, as the server says, once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(site, "HEAD", url).offset
        time.sleep(0.1)
    return -1


@contextlib.contextmanager
def half(site: harness.Server, url: str) -> Iterator[socket.socket]:
    """Send half of a body, and wait for what comes of it."""
    with socket.create_connection((site.address.partition(":")[0], site.port)) as line:
        line.sendall(
            f"PATCH {url} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
            "Content-Type: application/offset+octet-stream\r\n"
            f"Upload-Offset: 0\r\nContent-Length: {MIB}\r\n\r\n".encode()
        )
        line.sendall(BLOCK[: MIB // 2])
        deadline = time.monotonic() + 10
        while offset(site, url) <= 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield line


def checks(site: harness.Server, folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield features that users have asked for, and whether each works."""
    length = {"Upload-Length": str(MIB)}
    url = ask(site, "POST", "/uploads", length).location
    with half(site, url):
        yield "bytes count while they come", offset(site, url) > 0
        rest = offset(site, url)
        done = ask(site, "PATCH", url, {"Upload-Offset": str(rest)}, BLOCK[rest:])
        yield "a silent connection locks nobody out", done.status == 204
    url = ask(site, "POST", "/uploads", length).location
    with half(site, url):
        for worker in children(site):
            os.kill(worker, signal.SIGKILL)
    yield "a killed worker's bytes are kept", offset(site, url) > 0
    url = ask(site, "POST", "/uploads", length).location

    def patch(letter: int) -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            body = bytes([letter]) * MIB
            return ask(site, "PATCH", url, {"Upload-Offset": "0"}, body).status
        return 0

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(patch, range(8))).count(204)
    yield "of eight PATCHes at once one is taken", won == 1
    for path, name in (("..%2f..%2fetc", "a path"), ("%00", "a zero byte")):
        status = ask(site, "HEAD", f"/uploads/{path}").status
        yield f"{name} as an id is answered by 4xx", 400 <= status < 500
    for value in ("final;../../x", "final;", "some"):
        found = ask(site, "POST", "/uploads", {"Upload-Concat": value, **length})
        yield f"Upload-Concat {value!r} is answered by 4xx", 400 <= found.status < 500
    for value in ("filename %%%", "a YQ==,a YQ=="):
        found = ask(site, "POST", "/uploads", {"Upload-Metadata": value, **length})
        yield f"Upload-Metadata {value!r} is answered by 4xx", found.status == 400
    named = {"Upload-Length": "3", "Upload-Metadata": "filename w6QudHh0"}
    for body in (b"one", b"two"):
        url = ask(site, "POST", "/uploads", named).location
        ask(site, "PATCH", url, {"Upload-Offset": "0"}, body)
    stored = list(folder.rglob("*ä*.txt"))
    yield "files have their own names, and overwrite nothing", len(stored) == 2


def children(site: harness.Server) -> list[int]:
    """Return the workers of a gunicorn."""
    assert site.process is not None
    pid = site.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def compare_checks() -> None:
    """Compare the rival with the features that users ask for."""
    table: dict[str, list[str]] = {}
    for code in (KEEPING, RIVAL):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            folder = Path(name)
            with serving(code, folder) as site:
                for check, holds in checks(site, folder / "files"):
                    table.setdefault(check, []).append("yes" if holds else "no")
    print(f"\n{'':60} {'ours':>5} {'rival':>6}")
    for check, (ours, rival) in table.items():
        print(f"{check:60} {ours:>5} {rival:>6}")


def main() -> None:
    """Compare."""
    if "--checks" not in sys.argv:
        compare_costs()
    compare_checks()


def compare_costs() -> None:
    """Compare CPU, memory and bytes written."""
    ways = {"bare": BARE, "ours": OURS}
    if QUICK:
        # It holds a whole request in memory.
        ways["rival"] = RIVAL
    with contextlib.ExitStack() as stack:
        sites = {}
        for way, code in ways.items():
            # A disk, where the system's temporary folder may be in memory.
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
            )
            sites[way] = stack.enter_context(serving(code, folder))
        found: dict[str, list[tuple[float, int, int]]] = {way: [] for way in ways}
        for number in range(ROUNDS):
            for way in ways if number % 2 else reversed(ways):
                found[way].append(measure(sites[way]))
    print(f"{SIZE // MIB} MiB by one PATCH, {ROUNDS} rounds, medians\n")
    print(f"{'':6} {'CPU s':>7} {'ratio':>6} {'memory MiB':>11} {'written':>8}")
    least = statistics.median(it[0] for it in found["bare"])
    for way, rounds in found.items():
        cpu = statistics.median(it[0] for it in rounds)
        memory = max(it[1] for it in rounds) / 1024
        written = statistics.median(it[2] for it in rounds) / SIZE
        print(f"{way:6} {cpu:7.2f} {cpu / least:6.2f} {memory:11.0f} {written:8.2f}")
    pairs = [
        ours[0] / bare[0]
        for ours, bare in zip(found["ours"], found["bare"], strict=True)
    ]
    print(f"\neach round: {', '.join(f'{it:.2f}' for it in pairs)}; the bar is 1.20")


if __name__ == "__main__":
    main()
