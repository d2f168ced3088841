"""A store that tries to speak for the site, or to learn what is not its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

import harness
from flask_kaccel import Kaccel
from flask_kaccel._fronts import configuration
from flask_kaccel._store import StoreOptions


SECRET = "the-secret-of-the-server-in-front"
Fetch = Callable[..., Any]
#: A store whose answer is written into the request: status, fields, body.
STORE = """
import json, time
from flask import Flask, Response, request
app = Flask(__name__)
seen = []
@app.get("/seen")
def show():
    return seen
@app.route("/<path:key>", methods=["GET", "PUT", "POST", "DELETE"])
def answer(key):
    seen.append([request.method, dict(request.headers), request.get_data(as_text=True)])
    if key.startswith("own/"):
        return key
    status, fields, body = json.loads(request.args["answer"])
    response = Response(body, status=status)
    for name, value in fields:
        response.headers.add(name, value)
    return response
"""


@dataclass(frozen=True)
class Site:
    """An app, the nginx before it, and a store that answers as it is told."""

    nginx: harness.Server
    store: harness.Server

    def path(
        self, status: int, fields: list[list[str]], body: str, key: str = "a.txt"
    ) -> str:
        """Return the site's path of an object with which the store answers so."""
        answer = quote(json.dumps([status, fields, body]), safe="")
        return self.object(f"{key}?answer={answer}&X-Amz-Signature=signed")

    def object(self, rest: str) -> str:
        """Return the site's path of an object."""
        return f"/object?{quote(f'{self.store.url}/{rest}', safe='')}"


@pytest.fixture(scope="module", params=["plain", "cache", "resolver"])
def site(
    request: pytest.FixtureRequest,
    app_module: Any,
    tree: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The site, with each option of the printed block."""
    directory = tmp_path_factory.mktemp("store")
    directory.chmod(0o777)
    module = directory / "hostile_store.py"
    module.write_text(STORE)
    options, http = StoreOptions(), ""
    if request.param == "cache":
        http = f"proxy_cache_path {directory}/cache keys_zone=objects:1m;"
        options = StoreOptions(cache="objects")
    elif request.param == "resolver":
        options = StoreOptions(resolver="127.0.0.1:5")
    with harness.gunicorn(module, worker="gthread") as store:
        config = {
            "KACCEL_FILES_PATH": str(tree),
            "KACCEL_REDIRECT_PATH": "/protected/",
            "KACCEL_MAPPINGS": {f"{store.url}/": "/s3/"},
            "KACCEL_SECRET": SECRET,
        }
        app = Flask(__name__)
        app.config.update(config)
        Kaccel(app)
        environ = {f"APP_{key}": json.dumps(value) for key, value in config.items()}
        environ |= {"FILES": str(tree), "GATE": str(tree)}
        with harness.gunicorn(app_module, worker="gthread", environ=environ) as behind:
            state = app.extensions["kaccel"]
            text = configuration(state, "nginx", behind.url, (), options)
            with harness.nginx(text, http=http) as nginx:
                yield Site(nginx, store)


ATTACKS = {
    "opens-a-directory": (200, [["X-Accel-Redirect", "/protected/a.txt"]], 200),
    "opens-the-app": (200, [["X-Accel-Redirect", "/who"]], 200),
    "slows-down": (200, [["X-Accel-Limit-Rate", "1"]], 200),
    "charset": (200, [["X-Accel-Charset", "koi8-r"]], 200),
    "cached-for-ever": (200, [["X-Accel-Expires", "31536000"]], 200),
    "redirects-to-itself": (307, [["Location", "http://STORE/a.txt?secret"]], 502),
    "redirects-elsewhere": (302, [["Location", "https://evil.example/"]], 502),
    "refuses": (403, [["X-Amz-Error-Code", "AccessDenied"]], 404),
    "knows-nothing": (404, [["Cache-Control", "max-age=31536000"]], 404),
    "asks-for-a-password": (401, [["WWW-Authenticate", "Basic realm=x"]], 502),
    "fails": (503, [["Retry-After", "5"]], 502),
    "condition": (412, [], 412),
    "range": (416, [], 416),
    "its-own-fields": (
        200,
        [
            ["Cache-Control", "public, max-age=31536000"],
            ["Content-Disposition", "inline; filename=evil.html"],
            ["Expires", "Thu, 01 Jan 2099 00:00:00 GMT"],
            ["Content-Security-Policy", "default-src *"],
            ["Strict-Transport-Security", "max-age=0"],
            ["Access-Control-Allow-Origin", "*"],
            ["Clear-Site-Data", '"*"'],
            ["Refresh", "0; url=https://evil.example/"],
            ["Link", "<https://evil.example/x.js>; rel=preload"],
            ["X-Frame-Options", "ALLOWALL"],
            ["Vary", "*"],
        ],
        200,
    ),
    "cookies": (200, [["Set-Cookie", "session=stolen; Path=/"]], 200),
    "tells-of-itself": (
        200,
        [
            ["Via", "1.1 internal"],
            ["x-amz-request-id", "5"],
            ["x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:secret"],
            ["x-amz-bucket-region", "eu-secret-1"],
            ["x-goog-hash", "secret"],
            ["X-Powered-By", "secret"],
        ],
        200,
    ),
}
ALLOWED = {
    "Server", "Date", "Content-Type", "Content-Length", "Connection", "Set-Cookie",
    "Content-Disposition", "Cache-Control", "Content-Security-Policy", "Accept-Ranges",
    "Transfer-Encoding",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_answer(site: Site, fetch: Fetch, name: str) -> None:
    """A store's answer is its bytes and their type; the rest is the site's own."""
    status, fields, expected = ATTACKS[name]
    body = "the bucket and its key"
    path = site.path(status, fields, body, f"{name}.txt")
    for _ in range(2):  # the second from the cache, if there is one
        reply = fetch(site.nginx.address, path)
        assert reply.status == expected
        # nginx passes on the challenge of a 401, which no browser heeds with a 502.
        challenge = {"WWW-Authenticate"} if status == 401 else set()
        assert set(reply.headers.keys()) <= ALLOWED | challenge
        assert reply.headers.getlist("Content-Security-Policy") == ["sandbox"]
        assert reply.headers.getlist("Set-Cookie") == ["own=1; Path=/"]
        shown = str(reply.headers) + reply.body.decode()
        for secret in ("secret", "signed", "/s3/", site.store.address, "evil"):
            assert secret not in shown
        if expected == 200:
            assert reply.body == body.encode()
            assert reply.headers.getlist("Cache-Control") == ["private, max-age=5"]
            disposition = ['attachment; filename="a b.txt"']
            assert reply.headers.getlist("Content-Disposition") == disposition
        else:
            assert b"bucket" not in reply.body
            assert "Cache-Control" not in reply.headers
            assert "Content-Disposition" not in reply.headers


def test_what_the_store_learns(site: Site, fetch: Fetch) -> None:
    """The store sees a bare GET: no login, no cookie, no visitor, no secret."""
    headers = {
        "Authorization": "Bearer of-the-visitor",
        "Cookie": "session=of-the-visitor",
        "Referer": "https://site.example/of-the-visitor",
        "X-Forwarded-For": "10.1.2.3",
        "X-Kaccel-Secret": "of-the-visitor",
    }
    path = site.object("own/seen.txt")
    reply = fetch(site.nginx.address, path, headers)
    assert reply.body == b"own/seen.txt"
    seen = json.loads(fetch(site.store.address, "/seen").body)
    method, fields, body = seen[-1]
    assert (method, body) == ("GET", "")
    told = json.dumps(fields)
    for secret in ("of-the-visitor", "10.1.2.3", SECRET):
        assert secret not in told


@pytest.mark.parametrize(
    "key",
    [
        "a b.txt",
        "100%.txt",
        "a%20b.txt",
        "q?x.txt",
        "naïve-日本語.txt",
        "a+b&c=d;e.txt",
    ],
)
def test_every_key(site: Site, fetch: Fetch, key: str) -> None:
    """Keys arrive as they were signed, with a name server or a cache too."""
    reply = fetch(site.nginx.address, site.object(f"own/{quote(key)}"))
    assert (reply.status, reply.body.decode()) == (200, f"own/{key}")


def test_ways_in(site: Site, fetch: Fetch) -> None:
    """Nobody reaches the store, or an error's location, but by the app."""
    for path in ("/s3/own/a.txt", "/s3/", "/s3../own/a", "/@kaccel_404", "/s3"):
        reply = fetch(site.nginx.address, path)
        assert reply.status == 404
        assert b"own/" not in reply.body
