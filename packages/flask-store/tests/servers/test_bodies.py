"""Bodies that end too early, and forms of many parts, under real servers."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import harness
from flask_store.config import Config
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from harness.waiting import LONG
from harness.waiting import WAIT
from harness.waiting import until


SIZE = 700_000

APP = """
import json, os, resource
from flask import Flask, request
from flask_store import Store
from flask_store.config import Config
from flask_store.stores.memory import MemoryStore
from flask_store.stores.s3 import S3GeventStore, S3Store

given = json.loads(os.environ["STORE_TEST_CONFIG"])
app = Flask(__name__)
app.config["STORE_PATH"] = given["local"]
app.config["MAX_FORM_PARTS"] = 5000
store = Store(app, spool=True)
others = {
    "memory": MemoryStore(),
    "s3": S3Store(config=Config.from_mapping(given["s3"])),
    "background": S3GeventStore(config=Config.from_mapping(given["s3"])),
}


@app.post("/<kind>/<how>")
def save(kind, how):
    provider = others.get(kind) or store.Provider()
    outcome = "saved"
    try:
        stream = request.stream if how == "raw" else request.files.get("afile")
        provider.save(stream, "a.bin")
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    with open(os.environ["STORE_TEST_LOG"], "a") as log:
        log.write(f"{kind} {how} {outcome}\\n")
    return outcome


@app.post("/many")
def many():
    # What is open at the most.
    files = request.files.getlist("afile")
    used = len(os.listdir("/proc/self/fd"))
    names = [str(store.Provider().save(file)) for file in files]
    return {"used": used, "names": len(set(names))}
"""


def request_head(path: str, length: int | None, form: bool) -> bytes:
    """Return the head of a request."""
    kind = "multipart/form-data; boundary=b" if form else "application/octet-stream"
    framing = "Transfer-Encoding: chunked"
    if length is not None:
        framing = f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {kind}\r\n{framing}\r\n\r\n"
    ).encode()


def chunked(data: bytes) -> bytes:
    """Return a body in chunks."""
    chunks = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(it), it) for it in chunks) + b"0\r\n\r\n"


def in_form(data: bytes) -> bytes:
    """Return a form with one file."""
    head = b'Content-Disposition: form-data; name="afile"; filename="a.bin"'
    return b"--b\r\n" + head + b"\r\n\r\n" + data + b"\r\n--b--\r\n"


def post(server: harness.Server, data: bytes) -> None:
    """Send bytes, and no more; wait until the server is done with them."""
    address = ("127.0.0.1", server.port)
    # The server may hang up first.
    with (
        socket.create_connection(address, timeout=WAIT) as sock,
        contextlib.suppress(OSError),
    ):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


SERVERS = ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "uwsgi", "waitress"]


@pytest.fixture
def given(s3_session: harness.S3Server, tmp_path: Path) -> dict[str, Any]:
    """The configuration of all stores."""
    return {
        "local": str(tmp_path / "uploads"),
        "s3": {
            **s3_session.config,
            "STORE_PATH": f"tests/{tmp_path.name}",
            "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        },
    }


def serve(kind: str, given: dict[str, Any], folder: Path) -> Any:
    """Run the app under a server."""
    (folder / "bodies_app.py").write_text(APP)
    environ = {
        "STORE_TEST_CONFIG": json.dumps(given),
        "STORE_TEST_LOG": str(folder / "log"),
    }
    return harness.serve(kind, folder / "bodies_app.py", environ=environ)


#: What servers raise where Werkzeug reads a form that ends too early.
PASSED_ON = ("ChunkMissingTerminator", "NoMoreData", "InvalidChunk", "OSError")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_cut_bodies(server: str, given: dict[str, Any], tmp_path: Path) -> None:
    """Of a body that is cut nothing is saved, and the error names the client."""
    places = random.Random(server)
    log = tmp_path / "log"
    log.write_text("")
    cases = [
        (store, how, framing)
        for store in ("local", "memory", "s3", "background")
        for how in ("raw", "form")
        for framing in ("length", "chunked")
    ]
    with serve(server, given, tmp_path) as running:
        for _ in range(20 if LONG else 1):
            for case in cases:
                post(running, cut(places, *case))
        for store in ("local", "memory", "s3", "background"):
            body = in_form(b"whole")
            post(running, request_head(f"/{store}/form", len(body), True) + body)
        until(lambda: log.read_text().count("form saved") == 4, "not all are saved")
        until(lambda: len(list(stores(given)[1].list())) == 2, "one is not sent")
    outcomes = [line.split(" ", 2) for line in log.read_text().splitlines()]
    aborts = ("DisconnectedError: 400", "ClientDisconnected: 400", *PASSED_ON)
    for _, how, outcome in outcomes[:-4]:
        # Werkzeug reads a form before it is saved, and passes the server's error on.
        expected = aborts if how == "form" else aborts[:1]
        assert outcome.startswith(expected)
    assert [it.size for it in stores(given)[0].list()] == [5]
    assert [it.size for it in stores(given)[1].list()] == [5] * 2


def cut(places: random.Random, store: str, how: str, framing: str) -> bytes:
    """Return a request that ends too early."""
    data = places.randbytes(SIZE)
    body = in_form(data) if how == "form" else data
    length = len(body) if framing == "length" else None
    # The form's last lines are no part of a file.
    end = places.randrange(100, len(body) - 100)
    sent = body if length else chunked(body)
    return request_head(f"/{store}/{how}", length, how == "form") + sent[:end]


def stores(given: dict[str, Any]) -> tuple[LocalStore, S3Store]:
    """Return the stores of the app."""
    return (
        LocalStore(config=Config(path=given["local"])),
        S3Store(config=Config.from_mapping(given["s3"])),
    )


def test_form_of_many_files(given: dict[str, Any], tmp_path: Path) -> None:
    """A form of a thousand small files takes few descriptors."""
    part = (
        b'--b\r\nContent-Disposition: form-data; name="afile"; '
        b'filename="%d.bin"\r\n\r\n%s\r\n'
    )
    parts = b"".join(part % (number, b"x" * 600) for number in range(990))
    large = b"".join(part % (number, b"x" * 100_000) for number in (991, 992))
    with serve("gunicorn-sync", given, tmp_path) as server:

        def ask(body: bytes) -> dict[str, int]:
            request = urllib.request.Request(
                f"{server.url}/many",
                body + b"--b--\r\n",
                {"Content-Type": "multipart/form-data; boundary=b"},
            )
            with urllib.request.urlopen(request, timeout=WAIT) as response:
                answer: dict[str, int] = json.load(response)
            return answer

        none = ask(large[: len(large) // 2])
        answer = ask(parts + large)
    assert answer["names"] == 992
    assert answer["used"] <= none["used"] + 20
    sizes = sorted(it.size or 0 for it in stores(given)[0].list())
    assert sizes == [600] * 990 + [100_000] * 3
