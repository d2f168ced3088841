"""Measure responses from the cache: ours, a peer's, and the limit of any cache.

Usage: python benchmarks/webcache.py [--quick] [--instructions]

1. One request in process, in microseconds of processor time and as a ratio to the bare
   Flask view that a hit saves: the best of interleaved rounds, on every backend.
2. With --instructions, the instructions of one request by callgrind, as ratios, and
   nothing else. The server's part (the WSGI environments) is done beforehand, and the
   garbage collector, which stays on, is not led through what was there before the first
   request.
3. Requests per second through gunicorn, beside nginx's proxy_cache and Varnish.
4. Fifty requests at once for a page that is not there yet.

Compare within one run only.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Flask
from flask import Response

from flask_webcache import Config
from flask_webcache import MemoryCache
from flask_webcache import WebCache


HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent / "tests"))

import _counting  # noqa: E402 - beside this file

import harness  # noqa: E402 - the workspace's, which is not installed


QUICK = "--quick" in sys.argv
ROUNDS, TURNS = (3, 100) if QUICK else (7, 300)
#: The very views and requests that a miss of ours runs.
UNCACHED = "bare Flask at a miss"
LIMITS = ("bare WSGI", "bare Flask", UNCACHED)
OURS = (
    "hit", "304", "Vary hit", "miss", "miss with ETag", "fast hit", "fast 304",
    "fast Vary hit",
)  # fmt: skip
#: What each may cost at most, to the bare view.
BARS = {
    "fast hit": 0.11, "fast 304": 0.12, "fast Vary hit": 0.16, "hit": 1.25,
    "Vary hit": 1.30, "304": 1.30, "miss with ETag": 1.8,
}  # fmt: skip
PEER = ("Flask-Caching hit", "Flask-Caching miss")


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


# One request


def environ(path: str, **fields: str) -> dict[str, Any]:
    """Return what a WSGI server hands on."""
    return {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path,
        "QUERY_STRING": "", "REQUEST_URI": path, "RAW_URI": path,
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "HTTP_ACCEPT": "*/*",
        "HTTP_USER_AGENT": "Mozilla/5.0", "HTTP_ACCEPT_ENCODING": "gzip, br",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True,
        "wsgi.run_once": False, **fields,
    }  # fmt: skip


def answer(app: Any, request: dict[str, Any]) -> list[tuple[str, str]]:
    """Have a request answered as a WSGI server does, and return the fields."""
    got: list[tuple[str, str]] = []

    def start(_: str, headers: list[tuple[str, str]], *__: Any) -> Any:
        got[:] = headers

    body = app(request, start)
    for _ in body:
        pass
    if hasattr(body, "close"):
        body.close()
    return got


def bare_wsgi(body: bytes) -> Any:
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]

    def app(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [body]

    return app


def flask_app(body: bytes, **fields: str) -> Flask:
    app = Flask("bench")
    app.secret_key = "secret"
    text = body.decode()

    @app.get("/page")
    @app.get("/page/<number>")
    def page(**_: str) -> Any:
        return Response(text, headers=fields) if fields else text

    return app


def peer_app(body: bytes, url: str) -> Any:
    import flask_caching

    app = flask_app(body)
    kind, _, rest = url.partition("://")
    config = {
        "simple": {"CACHE_TYPE": "SimpleCache"},
        "file": {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": f"{rest}-peer"},
        "redis": {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url},
        "memcached": {
            "CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [rest],
        },
    }[kind]  # fmt: skip
    cache = flask_caching.Cache(app, config=config)
    app.view_functions["page"] = cache.cached(timeout=300)(app.view_functions["page"])
    return app


#: The app of a case, and what makes the environment of its next request.
Prepared = tuple[Any, Callable[[], dict[str, Any]]]


def prepared(
    case: str, body: bytes, url: str, cache: MemoryCache | None = None
) -> Prepared:
    """Set a case up."""
    counter = iter(range(10**9))
    if case == "bare WSGI":
        return bare_wsgi(body), lambda: environ("/page")
    if case == "bare Flask":
        return flask_app(body), lambda: environ("/page")
    if case.startswith("Flask-Caching"):
        app = peer_app(body, url)
    else:
        more = {"Vary": "Accept-Encoding"} if "Vary" in case else {}
        if case == "miss with ETag":
            more = {"ETag": '"of the view"'}
        app = flask_app(body, **{"Cache-Control": "max-age=300"}, **more)
        prefix = f"{time.time_ns()}:"
        config = Config(url=url, key_prefix=prefix)
        if case != UNCACHED:
            WebCache(app, cache=cache, config=config, fast="fast" in case)
    if "miss" in case:
        return app, lambda: environ(f"/page/{next(counter)}")
    etag = dict(answer(app, environ("/page"))).get("ETag", "")
    asked = {"HTTP_IF_NONE_MATCH": etag} if "304" in case else {}
    return app, lambda: environ("/page", **asked)


def cases() -> tuple[str, ...]:
    if find_spec("flask_caching") is None:
        print("No Flask-Caching: pip install flask-caching")
        return LIMITS + OURS
    return LIMITS + OURS + PEER


def timed(runs: dict[str, Prepared]) -> dict[str, float]:
    """Return the processor time of a request in microseconds, the best of rounds."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for case, (app, make) in runs.items():
            requests = [make() for _ in range(TURNS)]
            began = time.process_time()
            while requests:
                answer(app, requests.pop())
            spent = (time.process_time() - began) / TURNS * 1e6
            best[case] = min(best[case], spent)
    return best


@contextmanager
def backends() -> Iterator[dict[str, str]]:
    """Run the servers and return the URL of each backend."""
    with ExitStack() as stack:
        redis = stack.enter_context(harness.redis_server())
        memcached = stack.enter_context(harness.memcached())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        yield {
            "memory": "simple://",
            "FileSystemCache": f"file://{folder}/cache",
            "Redis": redis.url,
            "Memcached": f"memcached://{memcached.address}",
        }


def one_request() -> None:
    with backends() as urls:
        for size in (1024, 100 * 1024):
            rows = []
            for name, url in urls.items():
                runs = {
                    case: prepared(case, b"x" * size, url)
                    for case in cases()
                    # Its client library for Memcached is one that we do without.
                    if not (name == "Memcached" and case in PEER)
                }
                found = timed(runs)
                rows += [
                    [name, case, f"{spent:.1f}", f"{spent / found['bare Flask']:.2f}"]
                    for case, spent in found.items()
                ]
            columns = ["backend", "request", "µs", "to bare Flask"]
            table(f"One request of {size // 1024} KiB, in process", columns, rows)


# Instructions

#: The sizes of stores whose misses are compared.
STORES = (100, 100_000)


def counted(cases: Sequence[str]) -> dict[str, float]:
    """Return the instructions of one request of each case."""
    return dict(zip(cases, _counting.instructions(*cases), strict=True))


def instructions() -> None:
    if not _counting.available():
        return
    counts = counted(cases())
    bare = {case: UNCACHED if "miss" in case else "bare Flask" for case in counts}
    rows = [
        [case, f"{number:.0f}", f"{number / counts[bare[case]]:.3f}", bar(case)]
        for case, number in counts.items()
    ]
    columns = ["request", "instructions", "to bare Flask", "at most"]
    table("Instructions of one request of 1 KiB in memory", columns, rows)
    full = counted([f"miss on {size} items" for size in STORES])
    small, large = full.values()
    rows = [[case, f"{number:.0f}", ""] for case, number in full.items()]
    rows.append(["ratio", f"{large / small:.3f}", "1.20"])
    columns = ["request", "instructions", "at most"]
    table("Instructions of a miss on a full store", columns, rows)


def bar(case: str) -> str:
    return f"{BARS[case]:.2f}" if case in BARS else ""


def round_trips() -> None:
    """Print how many commands Redis got for one hit."""
    import redis

    rows = []
    with harness.redis_server() as server, redis.Redis.from_url(server.url) as client:
        for case in ("hit", "Vary hit", "304", "fast hit", "fast Vary hit", "fast 304"):
            app, make = prepared(case, b"x", server.url)
            answer(app, make())

            def commands() -> int:
                stats: Any = client.info("commandstats")
                return sum(
                    one["calls"] for name, one in stats.items() if "info" not in name
                )

            before = commands()
            for _ in range(10):
                answer(app, make())
            rows.append([case, f"{(commands() - before) / 10:.1f}"])
    table("Redis commands of one request", ["request", "commands"], rows)


def child(*names: str) -> None:
    """Make the requests of each case, for callgrind to count."""
    _counting.measure([requests(case) for case in names])


def requests(case: str) -> Callable[[int], None]:
    """Return a function that makes some of the requests of a case."""
    full = re.fullmatch(r"miss on (\d+) items", case)
    cache = None
    if full is not None:
        size = int(full[1])
        cache = MemoryCache(max_items=size, max_bytes=10**9)
        cache.set_many({f"item {number}": b"x" * 1024 for number in range(size)})
    app, make = prepared(case, b"x" * 1024, "simple://", cache)
    # What a server does is no part of the request.
    waiting = [make() for _ in range(_counting.REQUESTS + 20)]

    def run(number: int) -> None:
        for _ in range(number):
            answer(app, waiting.pop())

    return run


# Through servers


APP = """
import os, sys, time
sys.path.insert(0, {folder!r})
import webcache as bench
from flask_webcache import Config, WebCache
app = bench.flask_app(b"x" * 1024, **{{"Cache-Control": "max-age=300"}})
url = os.environ.get("BENCH_CACHE")
if url:
    WebCache(app, config=Config(url=url), fast=os.environ.get("BENCH_FAST") == "1")
@app.get("/slow")
def slow():
    os.write(2, b"view runs\\n")
    time.sleep(0.5)
    return app.response_class("slow", headers={{"Cache-Control": "max-age=300"}})
"""
VCL = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}
"""


def wrk(url: str) -> float:
    seconds = "2" if QUICK else "5"
    program = harness.require("wrk", "apt-get install wrk")
    done = subprocess.run(
        [program, "-t1", "-c16", f"-d{seconds}s", url],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    match = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert match is not None
    return float(match[1])


@contextmanager
def varnish(port: int) -> Iterator[str]:
    """Run Varnish in front of a port."""
    own = harness.free_port()
    with tempfile.TemporaryDirectory() as folder:
        vcl = Path(folder, "default.vcl")
        vcl.write_text(VCL.format(port=port))
        process = subprocess.Popen(
            ["varnishd", "-F", "-j", "none", "-n", folder,
             "-a", f"127.0.0.1:{own}", "-f", str(vcl)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{own}/page").close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{own}"
        finally:
            process.terminate()
            process.wait(10)


def throughput(app: Path, redis_url: str) -> None:
    variants = {
        "bare Flask": {},
        "ours, memory": {"BENCH_CACHE": "simple://"},
        "ours, Redis": {"BENCH_CACHE": redis_url},
        "ours, memory, fast": {"BENCH_CACHE": "simple://", "BENCH_FAST": "1"},
        "ours, Redis, fast": {"BENCH_CACHE": redis_url, "BENCH_FAST": "1"},
    }
    found = {}
    for name, settings in variants.items():
        with harness.gunicorn(app, worker="gthread", environ=settings) as server:
            urllib.request.urlopen(f"{server.url}/page").close()
            found[name] = wrk(f"{server.url}/page")
    with harness.gunicorn(app, worker="gthread") as server:
        folder = str(app.parent / "nginx")
        http = f"proxy_cache_path {folder} keys_zone=one:1m;"
        location = (
            f"location / {{ proxy_pass {server.url}; proxy_cache one; "
            "proxy_http_version 1.1; }"
        )
        with harness.nginx(location, http=http) as nginx:
            urllib.request.urlopen(f"{nginx.url}/page").close()
            found["nginx proxy_cache"] = wrk(f"{nginx.url}/page")
        if shutil.which("varnishd"):
            with varnish(server.port) as url:
                found["Varnish"] = wrk(f"{url}/page")
        else:
            print("No Varnish: apt-get install varnish")
    rows = [
        [name, f"{rate:.0f}", f"{rate / found['bare Flask']:.1f}"]
        for name, rate in found.items()
    ]
    columns = ["answers from", "requests per second", "to bare Flask"]
    table("Through one gunicorn worker of 8 threads, 1 KiB", columns, rows)


def stampede(app: Path, redis_url: str) -> None:
    rows = []
    for name, settings in {
        "bare Flask": {},
        "ours, Redis": {"BENCH_CACHE": redis_url},
    }.items():
        with harness.gunicorn(
            app, "--threads=16", worker="gthread", workers=4, environ=settings
        ) as server:

            def get(_: int, url: str = f"{server.url}/slow") -> None:
                urllib.request.urlopen(url, timeout=30).close()

            began = time.monotonic()
            with ThreadPoolExecutor(50) as pool:
                list(pool.map(get, range(50)))
            spent = time.monotonic() - began
            runs = server.log().count("view runs")
            rows.append([name, str(runs), f"{spent:.2f}"])
    columns = ["", "view runs", "seconds for all"]
    table("50 at once, a view of 0.5 s, 4 workers", columns, rows)


def main() -> None:
    if "--child" in sys.argv:
        child(*sys.argv[sys.argv.index("--child") + 1 :])
        return
    if "--instructions" in sys.argv:
        instructions()
        return
    one_request()
    round_trips()
    with tempfile.TemporaryDirectory() as folder, harness.redis_server() as redis:
        app = Path(folder, "bench_app.py")
        app.write_text(APP.format(folder=str(HERE.parent)))
        throughput(app, redis.url)
        stampede(app, redis.url)


if __name__ == "__main__":
    main()
