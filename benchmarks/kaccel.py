"""Measure downloads: through nginx by us, by Flask, by a peer, and by nginx alone.

Usage: python benchmarks/kaccel.py [--quick] [--instructions | --paired]

1. One response in process, as a ratio to an empty response of the same framework:
   instructions, counted by callgrind.
2. Throughput and the app's own processor time, by wrk, rounds interleaved.
3. For how long a slow client keeps a worker busy.

With --instructions, only the first, which no other load on the machine changes. With
--paired, only 100 MiB through us and from nginx alone: rounds that alternate, and the
median of their ratios beside its bar.

Compare within one run only.
"""

from __future__ import annotations

import json
import os
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
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from _counting import available
from _counting import instructions
from _counting import measure as counted
from flask import Flask
from flask import Response
from flask import send_file

from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations


HERE = Path(__file__).resolve()
#: The workspace's harness is not installed.
sys.path.insert(0, str(HERE.parent.parent / "tests"))
if TYPE_CHECKING:
    import harness

KIB, MIB = 1024, 1024 * 1024
QUICK = "--quick" in sys.argv
#: What 100 MiB through us reach of nginx alone, at least.
BAR = 0.95
FLASK = ("empty", "bare header", "ours", "ours, full path", "ours, Flask", "send_file")
DJANGO = ("empty (Django)", "django-sendfile2")


def table(
    title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


# One response


def flask_app(variant: str, directory: str) -> Any:
    app = Flask(__name__)
    app.config["KACCEL_FILES_PATH"] = directory
    if variant != "ours, Flask":
        app.config["KACCEL_REDIRECT_PATH"] = "/protected/"
    kaccel = Kaccel(app, guard=variant != "bare header")
    path = f"{directory}/a.txt"
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Disposition": "inline; filename=a.txt",
        "X-Accel-Redirect": "/protected/a.txt",
    }
    views: dict[str, Callable[[], Any]] = {
        "empty": lambda: "",
        "bare header": lambda: Response(headers=headers),
        "ours": lambda: kaccel.send_from_directory("a.txt"),
        "ours, full path": lambda: kaccel.send_file(path),
        "ours, Flask": lambda: kaccel.send_from_directory("a.txt"),
        "send_file": lambda: send_file(path),
    }
    app.add_url_rule("/", view_func=views[variant], endpoint="view")
    return app


def django_app(variant: str, directory: str) -> Any:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse
    from django.urls import path

    if not settings.configured:
        urls = type(sys)("kaccel_urls")
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=urls,
            SENDFILE_BACKEND="django_sendfile.backends.nginx",
            SENDFILE_ROOT=directory,
            SENDFILE_URL="/protected",
        )
        django.setup()
        from django_sendfile import sendfile

        urls.urlpatterns = [  # type: ignore[attr-defined]
            path("empty", lambda _: HttpResponse()),
            path("file", lambda request: sendfile(request, f"{directory}/a.txt")),
        ]
    handler = WSGIHandler()
    url = "/file" if variant == "django-sendfile2" else "/empty"

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return handler(environ | {"PATH_INFO": url}, start_response)

    return app


def requests(variant: str, directory: str) -> Callable[[int], None]:
    """Return what answers a number of requests."""
    from werkzeug.test import EnvironBuilder

    make = django_app if variant in DJANGO else flask_app
    app = make(variant, directory)
    environ = EnvironBuilder("/").get_environ()

    def run(times: int) -> None:
        for _ in range(times):
            body = app(dict(environ), lambda *_: None)
            for _chunk in body:
                pass
            getattr(body, "close", lambda: None)()

    return run


def variants() -> tuple[str, ...]:
    return FLASK + (DJANGO if find_spec("django_sendfile") else ())


def one_response(directory: Path) -> None:
    if not available():
        return
    if not find_spec("django_sendfile"):
        print("django-sendfile2 is left out; pip install django-sendfile2")
    counts = dict(zip(variants(), instructions(str(directory)), strict=True))
    rows = []
    for name, count in counts.items():
        base = counts[DJANGO[0] if name in DJANGO else FLASK[0]]
        rows.append((name, f"{count:,.0f}", f"{count / base:.2f}"))
    table("One response in process", ("response", "instructions", ": empty"), rows)


# Throughput, and a slow client

APP = """
import os, time
from flask import Flask, request, send_file
from flask_kaccel import Kaccel
app = Flask(__name__)
app.config.from_prefixed_env("APP")
kaccel = Kaccel(app)
root = app.config["KACCEL_FILES_PATH"]
busy = []
@app.get("/ours/<name>")
def ours(name):
    return kaccel.send_from_directory(name)
@app.get("/flask/<name>")
def flask(name):
    return send_file(f"{root}/{name}")
@app.get("/busy")
def last():
    return {"busy": busy}
class Timed:
    def __init__(self, wsgi_app):
        self.wsgi_app = wsgi_app
    def __call__(self, environ, start_response):
        started = time.perf_counter()
        body = self.wsgi_app(environ, start_response)
        try:
            yield from body
        finally:
            getattr(body, "close", lambda: None)()
            busy.append(time.perf_counter() - started)
if "TIMED" in os.environ:
    app.wsgi_app = Timed(app.wsgi_app)
"""


@dataclass(frozen=True)
class Site:
    """gunicorn, and the nginx before it."""

    app: harness.Server
    nginx: harness.Server

    def app_seconds(self) -> float:
        """Return the processor time of gunicorn's worker so far."""
        assert self.app.process is not None
        pid = self.app.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = 0
        for child in children:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(directory: Path, worker: str, **environ: str) -> Iterator[Site]:
    import harness  # what is counted shall start soon

    module = directory / "kaccel_app.py"
    module.write_text(APP)
    files = str(directory / "files")
    config = {"KACCEL_FILES_PATH": files, "KACCEL_REDIRECT_PATH": "/protected/"}
    mirror = Flask(__name__)
    mirror.config.update(config)
    Kaccel(mirror)
    environ |= {f"APP_{key}": value for key, value in config.items()}
    options = ("--keep-alive", "30")
    with harness.gunicorn(module, *options, worker=worker, environ=environ) as app:
        text = nginx_locations(mirror, "http://app")
        alone = f'location /alone/ {{ alias "{files}/"; }}\n'
        http = f"upstream app {{ server {app.address}; keepalive 32; }}"
        with harness.nginx(alone + text, http=http) as nginx:
            yield Site(app, nginx)


def measure(
    site: Site, url: str, connections: int, seconds: int = 1 if QUICK else 3
) -> tuple[float, float, float]:
    """Return requests and MiB per second, and the app's microseconds of each."""
    before = site.app_seconds()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spent = site.app_seconds() - before
    number = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    size = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", done.stdout)
    assert number
    assert size
    scale = {"B": 1 / MIB, "KB": 1 / 1024, "MB": 1.0, "GB": 1024.0}[size[2]]
    each = spent / max(float(number[1]) * seconds, 1) * 1e6
    return float(number[1]), float(size[1]) * scale, each


def throughput(directory: Path) -> None:
    with running(directory, "gthread") as site:
        for file, connections in (("10k", 16), ("100m", 4)):
            urls = {
                "nginx alone": f"{site.nginx.url}/alone/{file}",
                "send_file, direct": f"{site.app.url}/flask/{file}",
                "send_file behind nginx": f"{site.nginx.url}/flask/{file}",
                "ours": f"{site.nginx.url}/ours/{file}",
            }
            rounds = [
                {
                    variant: measure(site, url, connections)
                    for variant, url in urls.items()
                }
                for _ in range(1 if QUICK else 5)
            ]
            rows = []
            for variant in urls:
                number, size, spent = map(
                    statistics.median, zip(*(it[variant] for it in rounds), strict=True)
                )
                # Both of a ratio were taken in the same round, under the same load.
                ratios = [
                    statistics.median(it[variant][1] / it[base][1] for it in rounds)
                    for base in ("nginx alone", "send_file behind nginx")
                ]
                rows.append(
                    (
                        variant, f"{number:,.0f}", f"{size:,.0f}", f"{ratios[0]:.3f}",
                        f"{ratios[1]:.2f}", f"{spent:,.0f}",
                    )
                )  # fmt: skip
            columns = ("through", "requests/s", "MiB/s", ": nginx alone",
                       ": send_file behind nginx", "app's us each")  # fmt: skip
            table(f"Throughput, {file}, {connections} connections", columns, rows)


def paired(directory: Path) -> None:
    """Compare 100 MiB through us with nginx alone, in pairs of rounds."""
    ratios = []
    with running(directory, "gthread") as site:
        urls = [f"{site.nginx.url}/{path}/100m" for path in ("alone", "ours")]
        for number in range(-1, 5 if QUICK else 41):
            # Whoever comes first in a pair comes second in the next.
            order = urls[:: 1 if number % 2 else -1]
            sizes = {url: measure(site, url, 4, seconds=3)[1] for url in order}
            if number >= 0:  # the first warms up
                ratios.append(sizes[urls[1]] / sizes[urls[0]])
    low, median, high = statistics.quantiles(ratios)
    row = (f"{median:.3f}", f"{low:.3f} to {high:.3f}", str(len(ratios)),
           f"{BAR} {'met' if median >= BAR else 'MISSED'}")  # fmt: skip
    columns = ("ours : nginx alone", "half of the pairs", "pairs", "at least")
    table("Throughput, 100 MiB, 4 connections", columns, [row])


def download_slowly(port: int, path: str) -> None:
    """Read 100 MiB at about 50 MiB/s."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request.encode())
        while True:
            wanted = MIB
            while wanted and (data := client.recv(wanted)):
                wanted -= len(data)
            if wanted:
                return
            time.sleep(0.02)


def slow_client(directory: Path) -> None:
    rows = []
    with running(directory, "sync", TIMED="1") as site:
        for variant, server, path in (
            ("send_file, direct", site.app, "/flask/100m"),
            ("send_file behind nginx", site.nginx, "/flask/100m"),
            ("ours", site.nginx, "/ours/100m"),
        ):
            for _ in range(1 if QUICK else 3):
                download_slowly(server.port, path)
            with urllib.request.urlopen(f"{site.app.url}/busy") as reply:
                busy = json.load(reply)["busy"]
            taken = busy[-1:] if QUICK else busy[-3:]
            rows.append((variant, f"{statistics.median(taken) * 1000:.1f}"))
    table("A slow client, 100 MiB at 50 MiB/s", ("through", "worker busy, ms"), rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        files = directory / "files"
        files.mkdir()
        (files / "a.txt").write_bytes(b"x" * 100)
        (files / "10k").write_bytes(os.urandom(10 * KIB))
        (files / "100m").write_bytes(os.urandom(MIB) * 100)
        if "--paired" in sys.argv:
            paired(directory)
            return
        one_response(files)
        if "--instructions" in sys.argv:
            return
        slow_client(directory)
        if shutil.which("wrk"):
            throughput(directory)
        else:
            print("Throughput is left out; apt-get install wrk")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        counted(requests(it, sys.argv[2]) for it in variants())
    else:
        main()
