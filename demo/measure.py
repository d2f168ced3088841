"""Thirty slow clients: how many threads they hold, with nginx and without."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

from flask import Blueprint
from flask import Response
from flask import current_app
from flask import jsonify
from flask import request
from werkzeug.wrappers import Response as WerkzeugResponse

from demo.extensions import kaccel
from demo.hood import get_hood
from demo.recorder import MEASURED


measure = Blueprint("measure", __name__)

CLIENTS = 30
#: More than what sockets and nginx's buffers hold.
BYTES = 64_000_000
SAMPLE = "sample.bin"
#: Seconds until a number is taken as it is.
WAIT = 5.0


@measure.get("/measure/sample")
def sample() -> WerkzeugResponse:
    """Send a large file."""
    path = Path(current_app.config["KACCEL_FILES_PATH"], "measure", SAMPLE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(BYTES)  # sparse: it takes no room
    return kaccel.send_file_or_404(str(path))


@measure.post("/measure/slow-clients")
def slow_clients() -> Response:
    """Let clients that do not read request a large file, and count busy threads."""
    host = request.host.partition(":")[0]
    front = int(request.environ.get("HTTP_HOST", ":80").rpartition(":")[2])
    upstream = current_app.config["DEMO_UPSTREAM"]
    held = {"Flask": threads_held(host, upstream or front)}
    if upstream:
        held["nginx"] = threads_held(host, front)
    return jsonify({"clients": CLIENTS, "held": held})


def request_head(host: str) -> bytes:
    """Return a request for the sample."""
    lines = (f"Host: {host}", ": ".join(MEASURED), "\r\n")
    return "\r\n".join(("GET /measure/sample HTTP/1.1", *lines)).encode()


def threads_held(host: str, port: int) -> int:
    """Return how many threads of this process slow clients hold."""
    busy(0)  # what an earlier round may have left
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            address = (host, port)
            client = clients.enter_context(socket.create_connection(address, WAIT))
            client.sendall(request_head(f"{host}:{port}"))
            client.recv(1)
        return busy(0, CLIENTS)


def busy(*expected: int) -> int:
    """Return how many threads send the sample, once the number is an expected one."""
    deadline = time.monotonic() + WAIT
    active = get_hood().recorder.active
    while True:
        count = sum(record.url == "/measure/sample" for record in active.copy())
        if count in expected or time.monotonic() > deadline:
            return count
        time.sleep(0.05)
