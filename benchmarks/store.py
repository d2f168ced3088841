"""Measure saving an upload: time, memory, and bytes written to the disk.

Usage: python benchmarks/store.py [--quick] [uploads] [spool] [s3] [beside]

``spool`` compares one thing alone: what is spooled with the parser writing straight to
the place, for 1 GiB.

Each upload goes over a socket to gunicorn, which runs a Flask app (for Django's row
a Django app), one process for each way of saving. Ratios are to Werkzeug's parser
writing straight to the place, the least that a Flask app can do.

All processes keep freed memory: otherwise glibc hands the parser's buffers back to the
system and fetches them again, up to 500,000 page faults in 256 MiB, and how often is a
matter of luck that differs from process to process by more than the ways of saving do.
"""

from __future__ import annotations

import functools
import http.client
import importlib.util
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import harness


QUICK = "--quick" in sys.argv
KIB, MIB = 1 << 10, 1 << 20
SIZES = {"10 KiB": 10 * KIB, "10 MiB": 10 * MIB}
SIZES |= {"128 MiB": 128 * MIB} if QUICK else {"1 GiB": 1024 * MIB}
ROUNDS = 5
ORDER = random.Random(0)
BOUNDARY = "boundary0123456789"
#: The ways, the limits first; what each costs is told per request.
WAYS = {
    "discard": "limit: Werkzeug parses, nothing is written",
    "direct": "limit: Werkzeug parses straight to the place",
    "ours-spool": "ours, spool=True",
    "ours": "ours",
    "ours-fsync": "ours, spool=True, durable",
    "ours-raw": "ours, the raw body, spool=True",
    "filestorage": "FileStorage.save",
    "reuploaded": "Flask-Reuploaded",
    "django": "Django's FileSystemStorage",
}
#: Bytes; for glibc's malloc.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(64 * MIB),
    "MALLOC_MMAP_THRESHOLD_": str(32 * MIB),
}
NEEDS = {"reuploaded": "flask_uploads", "django": "django"}

APP = '''
import os, re, resource, time, uuid
from pathlib import Path

WAY, FOLDER = os.environ["WAY"], os.environ["FOLDER"]


def measure(save):
    """Return the time of the save itself, and the resources the process has used."""
    begun = time.perf_counter()
    save()
    took = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text()
    written = Path("/proc/self/io").read_text()
    return {
        "save": took,
        "peak": int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024,
        "written": int(re.search(r"wchar: (\\d+)", written)[1]),
        "cpu": time.process_time(),
    }


def reset():
    Path("/proc/self/clear_refs").write_text("5")


def name():
    return f"{uuid.uuid4().hex}.bin"


if WAY == "django":
    import django
    from django.conf import settings
    from django.core.files.storage import FileSystemStorage
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x",
        FILE_UPLOAD_TEMP_DIR=FOLDER, DEBUG=False,
    )
    storage = FileSystemStorage(FOLDER)

    def upload(request):
        file = request.FILES["f"]
        return JsonResponse(measure(lambda: storage.save(name(), file)))

    def clear(request):
        reset()
        return JsonResponse({"cpu": time.process_time()})

    urlpatterns = [path("", upload), path("reset", clear)]
    app = get_wsgi_application()
else:
    from flask import Flask, request

    app = Flask(__name__)

    if WAY.startswith("ours"):
        from flask_store import Store

        app.config.update(STORE_PATH=FOLDER, STORE_FSYNC=WAY == "ours-fsync")
        store = Store(app, spool=WAY != "ours")

    if WAY in {"direct", "discard"}:
        class Nothing:
            def write(self, data):
                return len(data)
            def seek(self, *_):
                return 0

        class Direct(app.request_class):
            def _get_file_stream(self, *args, **options):
                if WAY == "discard":
                    return Nothing()
                return open(Path(FOLDER, name()), "w+b")

        app.request_class = Direct

    if WAY == "reuploaded":
        from flask_uploads import ALL, UploadSet, configure_uploads
        app.config["UPLOADED_FILES_DEST"] = FOLDER
        uploads = UploadSet("files", ALL)
        configure_uploads(app, uploads)

    @app.post("/")
    def upload():
        if WAY == "ours-raw":
            return measure(lambda: store.Provider().save(request.stream, name()))
        file = request.files["f"]
        save = {
            "discard": lambda: None,
            "direct": file.close,
            "filestorage": lambda: file.save(Path(FOLDER, name())),
            "reuploaded": lambda: uploads.save(file, name=name()),
        }.get(WAY) or (lambda: store.Provider().save(file, name()))
        return measure(save)

    @app.get("/reset")
    def clear():
        reset()
        return {"cpu": time.process_time()}
'''


def make_body(size: int, path: Path, *, raw: bool) -> str:
    """Write a request's body to a file in memory; return its content type."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; '
        'filename="upload.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    block = os.urandom(MIB)
    with path.open("wb") as body:
        if not raw:
            body.write(head.encode())
        for start in range(0, size, MIB):
            body.write(block[: min(MIB, size - start)])
        if not raw:
            body.write(f"\r\n--{BOUNDARY}--\r\n".encode())
    if raw:
        return "application/octet-stream"
    return f"multipart/form-data; boundary={BOUNDARY}"


def post(port: int, body: Path, content_type: str) -> tuple[float, dict[str, Any]]:
    """Send a body; return the seconds to the answer, and the answer."""
    size = body.stat().st_size
    request = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
    )
    address = ("127.0.0.1", port)
    with socket.create_connection(address) as connection, body.open("rb") as source:
        begun = time.perf_counter()
        connection.sendall(request.encode())
        connection.sendfile(source)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        took = time.perf_counter() - begun
    head, _, content = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        raise RuntimeError(answer.decode(errors="replace"))
    return took, json.loads(re.search(rb"\{.*\}", content, re.DOTALL)[0])  # type: ignore[index]


@contextmanager
def site(way: str, folder: Path) -> Iterator[harness.Server]:
    """Run the app that saves in one way."""
    (folder / way).mkdir()
    environ = {"WAY": way, "FOLDER": str(folder / way), **KEEP_MEMORY}
    with harness.gunicorn(
        folder / "bench_app.py", "--timeout", "300", environ=environ
    ) as server:
        yield server


def empty(folder: Path) -> None:
    """Delete what was saved, as it would fill the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def measure(way: str, server: harness.Server, folder: Path, bodies: Path) -> Any:
    """Upload once; return the seconds and the app's report."""
    raw = way == "ours-raw"
    body, kind = bodies / ("raw" if raw else "form"), (bodies / "kind").read_text()
    with urllib.request.urlopen(f"{server.url}/reset") as answer:
        cpu = json.load(answer)["cpu"]
    before = server_written(server)
    took, told = post(server.port, body, "application/octet-stream" if raw else kind)
    told["took"] = took
    told["written"] -= before
    told["cpu"] -= cpu
    empty(folder / way)
    return told


def server_written(server: harness.Server) -> int:
    """Return the bytes that the worker has written so far."""
    assert server.process is not None
    pid = server.process.pid
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    text = Path(f"/proc/{worker}/io").read_text()
    return int(re.search(r"wchar: (\d+)", text)[1])  # type: ignore[index]


def spool() -> None:
    """Compare a spooled upload with the least that it can cost."""
    label = "128 MiB" if QUICK else "1 GiB"
    uploads({label: SIZES[label]}, ["discard", "direct", "ours-spool"])
    print("  the bar for ours is 1.05 x, of the request's time and CPU")


def uploads(sizes: dict[str, int] = SIZES, ways: list[str] | None = None) -> None:
    """Compare the ways of saving an upload."""
    ways = ways or [way for way in WAYS if usable(way)]
    disk = Path(__file__).parent.resolve()
    with (
        tempfile.TemporaryDirectory(dir=disk) as made,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        folder, bodies = Path(made), Path(memory)
        (folder / "bench_app.py").write_text(APP)
        for label, size in sizes.items():
            kind = make_body(size, bodies / "form", raw=False)
            make_body(size, bodies / "raw", raw=True)
            (bodies / "kind").write_text(kind)
            rounds = ROUNDS if size > MIB else 20 * ROUNDS
            compare(label, size, ways, rounds, folder, bodies)


def compare(
    label: str, size: int, ways: list[str], rounds: int, folder: Path, bodies: Path
) -> None:
    """Run all ways in turn, and print what each costs."""
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with ExitStack() as stack:
        servers = {way: stack.enter_context(site(way, folder)) for way in ways}
        for number in range(rounds + 1):
            # Nobody always comes after the same one.
            for way in ORDER.sample(ways, len(ways)):
                told = measure(way, servers[way], folder, bodies)
                if number:
                    results[way].append(told)
    for way in ways:
        shutil.rmtree(folder / way)
    limits = {key: least(results["direct"], key) for key in ("took", "cpu")}
    base = least(results["discard"], "peak")
    print(f"\n{label:47}{'request':>12}{'':>9}{'CPU':>12}{'':>9}{'save':>12}", end="")
    print(f"{'memory':>12}{'written':>9}")
    for way in ways:
        took, cpu = (least(results[way], key) for key in ("took", "cpu"))
        save = statistics.median(it["save"] for it in results[way])
        peak = max(it["peak"] for it in results[way]) - base
        written = least(results[way], "written") / size
        print(
            f"  {WAYS[way]:45}{took * 1000:9.1f} ms{took / limits['took']:7.2f} x"
            f"{cpu * 1000:9.1f} ms{cpu / limits['cpu']:7.2f} x"
            f"{save * 1000:9.3f} ms{peak / MIB:+8.1f} MiB{written:7.2f} x"
        )


def least(results: list[dict[str, Any]], key: str) -> float:
    """Return the least of some results."""
    return float(min(it[key] for it in results))


def usable(way: str) -> bool:
    """Return whether a peer is installed."""
    module = NEEDS.get(way)
    if module is None or importlib.util.find_spec(module):
        return True
    print(f"{WAYS[way]} is left out: pip install 'Flask-Reuploaded' 'Django'")
    return False


S3_APP = """
import json, re, sys, time
from pathlib import Path
from flask_store.config import Config
from flask_store.stores.s3 import S3Store

config, way, path = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
store = S3Store(config=Config.from_mapping(config))
client = store.bucket.client
store.exists("warm.txt")
Path("/proc/self/clear_refs").write_text("5")
status = Path("/proc/self/status")
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
before = peak()
times = []
for number in range(3):
    with open(path, "rb") as file:
        begun, cpu = time.perf_counter(), time.process_time()
        if way == "ours":
            store.save(file, f"{number}.bin")
        elif way == "upload_fileobj":
            client.upload_fileobj(file, store.bucket.name, f"bare/{number}.bin")
        else:
            client.put_object(Bucket=store.bucket.name, Key=f"bare/{number}", Body=file)
        times.append((time.perf_counter() - begun, time.process_time() - cpu))
print(json.dumps({"took": min(it for it, _ in times), "cpu": min(it for _, it in times),
                  "peak": (peak() - before) * 1024}))
"""


def to_s3() -> None:
    """Compare our save to boto3's own uploads, against one light server."""
    size = (32 if QUICK else 256) * MIB
    ways = {
        "put_object": "limit: bare put_object, which may overwrite",
        "upload_fileobj": "bare upload_fileobj, which may overwrite",
        "ours": "ours, one request",
        "ours-parts": "ours, in parts",
    }
    with tempfile.NamedTemporaryFile() as file, harness.s3_server() as server:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        config = {**server.config, "STORE_S3_CONDITIONAL": "always"}
        results = {}
        for way in ways:
            given = config | {
                "STORE_PATH": way,
                "STORE_S3_MULTIPART_THRESHOLD": (5 if way == "ours-parts" else 512)
                * MIB,
            }
            name = way.removesuffix("-parts")
            command = [sys.executable, "-c", S3_APP, json.dumps(given), name, file.name]
            results[way] = json.loads(subprocess.check_output(command))
    limit = results["put_object"]
    print(
        f"\n{f'{size // MIB} MiB to S3':47}{'save':>12}{'':>9}{'CPU':>12}{'memory':>12}"
    )
    for way, label in ways.items():
        it = results[way]
        print(
            f"  {label:45}{it['took'] * 1000:9.1f} ms"
            f"{it['took'] / limit['took']:7.2f} x{it['cpu'] * 1000:9.1f} ms"
            f"{it['peak'] / MIB:+8.1f} MiB"
        )


BESIDE_APP = """
import os, uuid
from flask import Flask, request
from flask_store import Store

way = os.environ["WAY"]
app = Flask(__name__)
app.config.update(STORE_PATH=os.environ["FOLDER"])
if way.startswith("s3"):
    app.config.from_prefixed_env()
    app.config["STORE_PATH"] = "beside"
store = Store(app, spool=way.endswith("spool"))
app.register_blueprint(store.tus("/uploads", authorize=lambda *_: "me"))


@app.post("/")
def upload():
    if way == "discard":
        while request.stream.read(1 << 16):
            pass
        return {}
    file = request.stream if way.endswith("raw") else request.files["f"]
    if way != "parse":
        store.Provider().save(file, f"{uuid.uuid4().hex}.bin")
    return {}


@app.get("/")
def ping():
    return "pong"
"""


def beside() -> None:
    """Compare how soon a gevent worker answers others while it takes an upload."""
    ways = {
        "idle": "no upload",
        "discard": "limit: the raw body is read and dropped",
        "parse": "limit: Werkzeug parses a form, without a spool",
        "raw": "ours, the raw body, durable",
        "spool": "ours, a form, spool=True, durable",
        "form": "ours, a form, durable",
        "tus": "ours, a PATCH of tus, durable",
        "s3-raw": "ours, the raw body to S3",
        "s3-spool": "ours, a form, spool=True, S3 afterwards",
    }
    size = (128 if QUICK else 1024) * MIB
    print(f"\n{f'other requests during {size // MIB} MiB':47}", end="")
    print(f"{'median':>12}{'p99 (50)':>12}{'longest':>12}{'number':>9}")
    disk = Path(__file__).parent.resolve()
    with (
        tempfile.TemporaryDirectory(dir=disk) as made,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
        harness.s3_server() as s3,
    ):
        folder = Path(made)
        (folder / "beside_app.py").write_text(BESIDE_APP)
        for way, label in ways.items():
            body = Path(memory, "body")
            raw = way in {"discard", "raw", "tus", "s3-raw"}
            kind = make_body(size, body, raw=raw)
            environ = {"WAY": way, "FOLDER": str(folder / "files"), **KEEP_MEMORY}
            environ |= {f"FLASK_{key}": str(it) for key, it in s3.config.items()}
            provider = "S3GeventStore" if way == "s3-spool" else "S3Store"
            environ["FLASK_STORE_PROVIDER"] = f"flask_store.stores.s3.{provider}"
            environ["FLASK_STORE_SPOOL_PATH"] = str(folder / "spool")
            with harness.gunicorn(
                folder / "beside_app.py", "--timeout", "300", worker="gevent",
                environ=environ,
            ) as server:  # fmt: skip
                send: Callable[[], object] = functools.partial(
                    post, server.port, body, kind
                )
                if way == "tus":
                    send = functools.partial(patch, server.port, body)
                times = pings(server.port, None if way == "idle" else send)
            empty(folder / "files")
            times.sort()
            p99 = times[int(len(times) * 0.99)]
            print(
                f"  {label:45}{statistics.median(times) * 1000:9.1f} ms"
                f"{p99 * 1000:9.1f} ms{times[-1] * 1000:9.1f} ms{len(times):9}"
            )


def patch(port: int, body: Path) -> None:
    """Send a body by tus."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(body.stat().st_size)}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/uploads", headers=headers)
    answer = connection.getresponse()
    answer.read()
    with body.open("rb") as source:
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        length = {"Content-Length": headers["Upload-Length"]}
        connection.request(
            "PATCH", answer.headers["Location"], source, {**headers, **kind, **length}
        )
        status = connection.getresponse().status
    connection.close()
    if status != 204:
        raise RuntimeError(f"the PATCH was answered by {status}")


def pings(port: int, send: Callable[[], object] | None) -> list[float]:
    """Ask again and again while an upload runs; return the seconds of each."""
    times: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        ask(connection)
        sent = pool.submit(send) if send else None
        deadline = time.monotonic() + (1 if QUICK else 5)
        while not sent.done() if sent else time.monotonic() < deadline:
            times.append(ask(connection))
            time.sleep(0.005)
        if sent:
            sent.result()
        connection.close()
    return times


def ask(connection: http.client.HTTPConnection) -> float:
    """Send a small request; return the seconds to its answer."""
    begun = time.perf_counter()
    connection.request("GET", "/")
    connection.getresponse().read()
    return time.perf_counter() - begun


if __name__ == "__main__":
    parts: dict[str, Callable[[], None]]
    parts = {"uploads": uploads, "spool": spool, "s3": to_s3, "beside": beside}
    for part in [it for it in sys.argv[1:] if it in parts] or [
        "uploads",
        "s3",
        "beside",
    ]:
        parts[part]()
