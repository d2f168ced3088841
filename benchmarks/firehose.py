"""Measure the cost of links for a request, and the time that Early Hints save.

Usage: python benchmarks/firehose.py [--quick] [--instructions | --visits]

``--instructions`` leaves Chromium out, ``--visits`` the instructions.

The cost is in instructions of one request, counted by callgrind, as ratios to a
Flask page with neither extension nor links (the limit); "by hand" is the same header
joined in the view, and a string in the session. The wait is Chromium's, behind Apache
over HTTP/2 and a relay of 20 ms each way: from the head of a page that takes 300 ms
until its style sheet is there, in 100 visits of new visitors; --instructions leaves it
out.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _counting import available
from _counting import instructions
from _counting import measure
from flask import Flask
from flask import Response
from flask import session
from werkzeug.test import EnvironBuilder

from flask_firehose import Connector
from flask_firehose import Firehose
from flask_firehose import push
from flask_firehose._http import fetch


PAGE = "<!doctype html><title>Page</title><p>Hello"
#: A page, its variants, its links, and its bar: to a page without links, or where
#: visitors are tracked, to the same by hand.
ROWS = (
    ("no links", "plain", "ours", 0, 1.03),
    ("5 links", "hand", "ours", 5, 1.25),
    ("20 links", "hand", "ours", 20, 1.6),
    ("5 links, new visitor", "hand-new", "ours-new", 5, 1.2),
    ("20 links, new visitor", "hand-new", "ours-new", 20, 1.2),
    ("20 links, repeat visitor", "hand-repeat", "ours-repeat", 20, 1.2),
)


def make_app(variant: str, count: int) -> Flask:
    """Make an app whose page at ``/`` pushes a number of links."""
    app = Flask(__name__)
    app.secret_key = "secret"
    urls = [f"/static/style-{number:02}.css" for number in range(count)]
    by, _, tracked = variant.partition("-")
    if by == "ours":
        Firehose(app, Connector if tracked else None)

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
    """Return a function that requests the page a number of times."""
    app = make_app(variant, count)
    environ = EnvironBuilder(path="/").get_environ()
    cookie = ""

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
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


def cost() -> None:
    """Print the table of instructions."""
    if not available():
        return
    limit, *counts = instructions()
    hands, ours = counts[: len(ROWS)], counts[len(ROWS) :]
    print(f"\nInstructions of a request: {limit:,.0f} for a page without links\n")
    print("| page | ours | by hand | ours to | bar |\n|---|---|---|---|---|")
    for row, one, hand in zip(ROWS, ours, hands, strict=True):
        tracked = "-" in row[2]
        ratio = one / (hand if tracked else limit)
        to = f"{ratio:.3f} by hand" if tracked else f"{ratio:.3f} of a page without"
        print(
            f"| {row[0]} | {one / limit:.2f} | {hand / limit:.2f} "
            f"| {to} | {row[4]} {'met' if ratio <= row[4] else 'MISSED'} |"
        )


def measured() -> Iterator[Callable[[int], None]]:
    """Yield the visitors of the table: the limit, by hand, ours.

    Flask's signals cost more once any app of the process has a receiver.
    """
    yield visitor("plain", 0)
    for _, hand, _, count, _ in ROWS:
        yield visitor(hand, count)
    for _, _, ours, count, _ in ROWS:
        yield visitor(ours, count)


APP = """\
import time

from flask import Flask, request, url_for
from flask_firehose import Firehose, hints, push_static, static

app = Flask(__name__)
app.config.from_prefixed_env("APP")
Firehose(app)
PAGE = '<!doctype html><title>Page</title><link rel="stylesheet" href="{}">'
LOG = []


@app.before_request
def log():
    LOG.append(request.path)


@app.get("/log")
def logged():
    return LOG


@app.get("/without")
def without():
    time.sleep(0.3)
    return PAGE.format(url_for("static", filename="main.css"))


@app.get("/declared")
@hints(static("main.css"))
def declared():
    time.sleep(0.3)
    return PAGE.format(push_static("main.css"))


@app.get("/learned")
def learned():
    time.sleep(0.3)
    return PAGE.format(push_static("main.css"))
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


SCRIPT = """() => {
    const [page] = performance.getEntriesByType('navigation')
    const [sheet] = performance.getEntriesByType('resource')
        .filter(entry => entry.name.endsWith('.css'))
    return [sheet.responseEnd - page.finalResponseHeadersStart, sheet.initiatorType]
}"""


def wait(rounds: int) -> None:
    """Print how long after the page Chromium has the style sheet."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import harness

    print("\nFrom the head of the page to its style sheet, 20 ms each way\n")
    print(
        "| static files | page | by the hint | within 50 ms | median | max | requests |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        (directory / "hinting.py").write_text(APP)
        (directory / "static").mkdir()
        (directory / "static/main.css").write_text("p { color: green }\n" * 2000)
        option = f"--ignore-certificate-errors-spki-list={certificate(directory)}"
        for label, age in (("max age", "3600"), ("no-cache", "null")):
            environ = {"APP_FIREHOSE_EARLY_HINTS": "true"}
            environ["APP_SEND_FILE_MAX_AGE_DEFAULT"] = age
            file = directory / "hinting.py"
            with (
                harness.gunicorn(file, worker="gthread", environ=environ) as server,
                harness.apache(
                    APACHE.format(directory=directory, url=server.url),
                    modules=["http2", "ssl", "socache_shmcb"],
                ) as apache,
                harness.relay(apache.port, seconds=0.02) as port,
                harness.browser(option) as chromium,
            ):
                page = chromium.new_page()
                for path in ("/declared", "/learned", "/without"):
                    for number in range(8):
                        teach(f"{server.url}{path}", number)
                    url = f"https://localhost:{port}{path}"
                    visits = [visit(page, url, server.url) for _ in range(rounds + 1)]
                    print(f"| {label} | {path} | {row(visits[1:])} |", flush=True)


def row(visits: list[tuple[float, str, int]]) -> str:
    delays = sorted(delay for delay, _, _ in visits)
    hinted = sum(kind == "early-hints" for _, kind, _ in visits)
    soon = sum(delay <= 50 for delay in delays)
    asked = ", ".join(map(str, sorted({requests for _, _, requests in visits})))
    return (
        f"{hinted} of {len(visits)} | {soon} | {delays[len(visits) // 2]:.0f} ms "
        f"| {delays[-1]:.0f} ms | {asked}"
    )


def teach(url: str, number: int) -> None:
    """Visit a page as one of several people."""
    fetch(url, {"Sec-Fetch-Mode": "navigate", "User-Agent": f"Browser {number}"})


def visit(page: Any, url: str, app: str) -> tuple[float, str, int]:
    """Visit a page with an empty cache.

    :return: the milliseconds, why the style sheet was fetched, and how often.
    """

    def asked() -> int:
        with urllib.request.urlopen(f"{app}/log") as response:
            found: list[str] = json.load(response)
        return found.count("/static/main.css")

    page.context.new_cdp_session(page).send("Network.clearBrowserCache")
    before = asked()
    page.goto(url)
    delay, kind = page.evaluate(SCRIPT)
    return delay, kind, asked() - before


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        measure(measured())
    else:
        if "--visits" not in sys.argv:
            cost()
        if "--instructions" not in sys.argv:
            wait(5 if "--quick" in sys.argv else 100)
