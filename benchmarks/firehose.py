"""What links cost a request, and what early hints save a browser.

Usage: python benchmarks/firehose.py [--quick]

The cost is in instructions of one request, counted by callgrind, as ratios to a
Flask page with neither extension nor links (the limit); "by hand" is the same header
joined in the view, and a string in the session. The wait is Chromium's, behind Apache
over HTTP/2: from its request for a page that takes a second to that for its style
sheet.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from flask import Response
from flask import session
from werkzeug.test import EnvironBuilder

from flask_firehose import Firehose
from flask_firehose import push


PAGE = "<!doctype html><title>Page</title><p>Hello"
ROWS = (
    ("no links", "plain", "ours", 0),
    ("5 links, untracked", "hand", "ours", 5),
    ("20 links, untracked", "hand", "ours", 20),
    ("5 links, new visitor", "hand-new", "ours-new", 5),
    ("20 links, new visitor", "hand-new", "ours-new", 20),
    ("20 links, repeat visitor", "hand-repeat", "ours-repeat", 20),
)
REQUESTS = (50, 350)


def make_app(variant: str, count: int) -> Flask:
    """Make an app whose page at ``/`` pushes a number of links."""
    app = Flask(__name__)
    app.secret_key = "secret"
    urls = [f"/static/style-{number:02}.css" for number in range(count)]
    by, _, tracked = variant.partition("-")
    if by == "ours":
        Firehose(app) if tracked else Firehose(app, connector=None)

    def plain() -> str:
        return PAGE

    def ours() -> str:
        for url in urls:
            push(url, as_="style")
        return PAGE

    def hand() -> Response:
        response = Response(PAGE)
        new = urls
        if tracked:
            seen = session.get("pushed", "").split()
            new = [url for url in urls if url not in seen]
            if new:
                session["pushed"] = " ".join(seen + new)
        if new:
            response.headers["Link"] = ", ".join(
                f"<{url}>; rel=preload; as=style" for url in new
            )
        return response

    views: dict[str, Callable[[], Any]] = {"plain": plain, "ours": ours, "hand": hand}
    app.add_url_rule("/", view_func=views[by])
    return app


def visitor(variant: str, count: int) -> Callable[[int], None]:
    """Return what asks for the page a number of times."""
    app = make_app(variant, count)
    environ = EnvironBuilder(path="/").get_environ()
    cookie = ""

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        nonlocal cookie
        assert status == "200 OK"
        cookie = dict(headers).get("Set-Cookie", "").partition(";")[0] or cookie

    def run(times: int) -> None:
        for _ in range(times):
            fresh = dict(environ)
            if cookie and variant.endswith("repeat"):
                fresh["HTTP_COOKIE"] = cookie
            body: Any = app(fresh, start_response)
            b"".join(body)
            body.close()

    return run


def child(variant: str, count: int, times: int) -> None:
    """Run under callgrind; what went before is no garbage to look through."""
    run = visitor(variant, count)
    run(5)
    gc.collect()
    gc.freeze()
    run(times)


def instructions(variant: str, count: int) -> float:
    """Return the instructions of one request."""
    totals = []
    for times in REQUESTS:
        command = [
            "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
            sys.executable, __file__, "--child", variant, str(count), str(times),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        match = re.search(r"Collected : (\d+)", done.stderr)
        assert match
        totals.append(int(match[1]))
    return (totals[1] - totals[0]) / (REQUESTS[1] - REQUESTS[0])


def cost(rows: tuple[tuple[str, str, str, int], ...]) -> None:
    """Print the table of instructions."""
    if shutil.which("valgrind") is None:
        print("The cost is not counted: apt-get install valgrind")
        return
    limit = instructions("plain", 0)
    print(f"\nInstructions of a request: {limit:,.0f} for a page without links\n")
    print("| page | ours | by hand | limit |\n|---|---|---|---|")
    for label, hand, ours, count in rows:
        ratios = [instructions(name, count) / limit for name in (ours, hand)]
        print(f"| {label} | {ratios[0]:.2f} | {ratios[1]:.2f} | 1 |", flush=True)


APP = """\
import time

from flask import Flask, Response, request
from flask_firehose import Firehose, hints, push_static

app = Flask(__name__)
app.config["FIREHOSE_EARLY_HINTS"] = True
Firehose(app, connector=None)
PAGE = '<!doctype html><title>Page</title><link rel="stylesheet" href="{}">'
LOG = []


@app.before_request
def log():
    LOG.append((request.path, time.monotonic()))


@app.get("/log")
def logged():
    return LOG


@app.get("/without")
def without():
    time.sleep(1)
    return PAGE.format("/static/main.css")


@app.get("/link")
def link():
    time.sleep(1)
    headers = {"Link": "</static/main.css>; rel=preload; as=style"}
    return Response(PAGE.format("/static/main.css"), headers=headers)


@app.get("/declared")
@hints("/static/main.css")
def declared():
    time.sleep(1)
    return PAGE.format("/static/main.css")


@app.get("/learned")
def learned():
    time.sleep(1)
    return PAGE.format(push_static("main.css"))


@app.get("/static/main.css", endpoint="css")
def css():
    headers = {"Cache-Control": "max-age=60"}
    return Response("p { color: green }", mimetype="text/css", headers=headers)
"""
APACHE = """\
SSLEngine on
SSLCertificateFile {directory}/certificate.pem
SSLCertificateKeyFile {directory}/key.pem
Protocols h2 http/1.1
H2EarlyHints on
ProxyPass / {url}/
"""


def certificate(directory: Path) -> str:
    """Make one for localhost; return what tells Chromium to trust its key."""

    def openssl(*arguments: str) -> bytes:
        command = ["openssl", *arguments]
        done = subprocess.run(command, cwd=directory, check=True, capture_output=True)
        return done.stdout

    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    )  # fmt: skip
    key = openssl("pkey", "-in", "key.pem", "-pubout", "-outform", "DER")
    return b64encode(hashlib.sha256(key).digest()).decode()


def wait(rounds: int) -> None:
    """Print when Chromium asks for the style sheet."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import harness

    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        (directory / "hinting.py").write_text(APP)
        option = f"--ignore-certificate-errors-spki-list={certificate(directory)}"
        with (
            harness.gunicorn(directory / "hinting.py", worker="gthread") as server,
            harness.apache(
                APACHE.format(directory=directory, url=server.url),
                modules=["http2", "ssl", "socache_shmcb"],
            ) as apache,
            harness.browser(option) as chromium,
        ):
            print("\nThe style sheet is asked for, after the page that takes 1 s\n")
            print("| page | seconds |\n|---|---|")
            # The first visit opens what is opened once, and teaches.
            for path in ("/learned", "/declared", "/learned", "/link", "/without"):
                delays = []
                for _ in range(rounds):
                    context = chromium.new_context()
                    context.new_page().goto(f"https://localhost:{apache.port}{path}")
                    context.close()
                    with urllib.request.urlopen(f"{server.url}/log") as response:
                        log = json.load(response)
                    start = max(at for seen, at in log if seen == path)
                    asked = [at for seen, at in log if seen == "/static/main.css"]
                    delays.append(f"{min(filter(start.__lt__, asked)) - start:.3f}")
                print(f"| {path} | {', '.join(delays)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        quick = "--quick" in sys.argv
        cost(ROWS[:2] if quick else ROWS)
        wait(1 if quick else 5)
