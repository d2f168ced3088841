"""HTTP/2 push from the ``Link`` header, by nginx and Apache."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

import harness


DEPLOY = (Path(__file__).parents[4] / "docs/flask-firehose/deploy.md").read_text(
    encoding="utf-8"
)


def snippet(mark: str, server: harness.Server) -> str:
    """Return the site's configuration that has the mark, for a server."""
    blocks = re.findall(r"```(?:nginx|apache)\n(.*?)```", DEPLOY, re.DOTALL)
    (found,) = [block for block in blocks if mark in block]
    assert isinstance(found, str)
    return found.replace("http://127.0.0.1:8000", server.url)


def promised(url: str, *options: str, **query: object) -> tuple[int, list[str]]:
    """GET a page over HTTP/2; return its status and the paths promised with it."""
    nghttp = harness.require("nghttp", "apt-get install nghttp2-client")
    done = subprocess.run(
        [nghttp, "-nv", "--timeout=10", *options, f"{url}?{urlencode(query, True)}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    status = re.search(r"recv \(stream_id=13\) :status: (\d+)", done.stdout)
    assert status, done.stdout
    paths = re.findall(r"recv \(stream_id=13\) :path: (.*)", done.stdout)
    return int(status[1]), paths


@pytest.fixture(scope="module")
def nginx(late_server: harness.Server) -> Iterator[str]:
    """An nginx that pushes, as the site says."""
    locations = snippet("http2_push_preload", late_server)
    # nginx promises ten at most unless told otherwise.
    locations += "http2_max_concurrent_pushes 100;"
    with harness.nginx(locations, listen=" http2") as nginx:
        yield nginx.url


@pytest.fixture(scope="module")
def apache(late_server: harness.Server) -> Iterator[str]:
    """An Apache that pushes, as the site says."""
    configuration = snippet("H2Push", late_server)
    with harness.apache(configuration, modules=["http2"]) as apache:
        yield apache.url


@pytest.fixture(params=["nginx", "apache"])
def front(request: pytest.FixtureRequest) -> str:
    """The URL of each server that pushes."""
    url = request.getfixturevalue(request.param)
    assert isinstance(url, str)
    return url


URLS: dict[str, tuple[str | None, str | None]] = {
    "path": ("/static/main.css", "/static/main.css"),
    "query": ("/static/main.css?v=1", "/static/main.css?v=1"),
    "fragment": ("/static/main.css#f", "/static/main.css"),
    "space": ("/a b.css", "/a%20b.css"),
    "utf-8": ("/文é.css", "/%E6%96%87%C3%A9.css"),
    "encoded": ("/%C3%A9%20.css", "/%C3%A9%20.css"),
    "comma": ("/a,b.css", "/a,b.css"),
    "semicolon": ("/a;b.css", "/a;b.css"),
    "quote": ('/a"b.css', "/a%22b.css"),
    "backslash": ("/a\\b.css", "/a%5Cb.css"),
    "no extension": ("/static/unknown", "/static/unknown"),
    "angle bracket": ("/x>; rel=preload, </static/b.js", None),
    "line break": ("/a\r\nX: y", None),
    "relative": ("a.css", None),
    "dot relative": ("./a.css", None),
    "network path": ("//localhost/a.css", None),
    "absolute": ("https://localhost/a.css", None),
    "javascript": ("javascript:alert(1)", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("url", "path"), URLS.values(), ids=URLS)
def test_url(front: str, url: str, path: str | None) -> None:
    """Every URL is promised rightly or not at all, and the page arrives."""
    status, paths = promised(f"{front}/", u=[url, "/static/last.js"])
    assert status == 200
    assert sorted(paths) == sorted(filter(None, [path, "/static/last.js"]))


RELS = {
    "preload": ("preload", 1),
    "upper case": ("PreLoad", 1),
    "two": ("preload prefetch", 1),
    "prefetch": ("prefetch", 0),
    "modulepreload": ("modulepreload", 0),
    "preconnect": ("preconnect", 0),
    "unknown": ("stylesheet", 0),
}


@pytest.mark.parametrize(("rel", "count"), RELS.values(), ids=RELS)
def test_rel(front: str, rel: str, count: int) -> None:
    """Preloads are pushed; other links are left to the browser."""
    paths = ["/static/main.css"] * count
    assert promised(f"{front}/", u="/static/main.css", rel=rel) == (200, paths)


def test_twice(front: str) -> None:
    """A URL that is pushed twice is promised once."""
    urls = ["/static/main.css", "/static/main.css#again"]
    assert promised(f"{front}/", u=urls) == (200, ["/static/main.css"])


@pytest.mark.parametrize(
    "images", ["a.png 1x, b.png 2x", "a 1x, </evil.js>; rel=preload", '"; rel=preload']
)
def test_quoted_commas(front: str, images: str) -> None:
    """An attribute's commas cost no other link, and inject none."""
    status, paths = promised(f"{front}/", u=["/a.css", "/b.js"], set=images)
    assert (status, paths[:2]) == (200, ["/a.css", "/b.js"])
    assert set(paths[2:]) <= {"/a.png"}


def test_no_push(front: str) -> None:
    """A client that wants no push gets none."""
    assert promised(f"{front}/", "--no-push", u="/static/main.css") == (200, [])


@pytest.mark.parametrize("code", [302, 404, 500])
def test_errors(front: str, code: int) -> None:
    """Responses that are not pages push nothing."""
    assert promised(f"{front}/status/{code}") == (code, [])


def test_head(front: str) -> None:
    """Nothing is pushed for HEAD."""
    options = ("-H:method: HEAD",)
    assert promised(f"{front}/", *options, u="/static/main.css") == (200, [])


def test_three_hundred(front: str) -> None:
    """A page that pushes 300 files arrives, with the most important of them."""
    status, paths = promised(f"{front}/", count=300, u="/static/main.css")
    assert status == 200
    assert paths[0] == "/static/main.css"
    assert len(paths) == 20
