"""Files through a real Apache with mod_xsendfile."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness


SECRET = "the-secret-of-the-server-in-front"
CONFIGURATION = """
XSendFile on
XSendFilePath {files}
ProxyPreserveHost on
RequestHeader set X-Kaccel-Secret {secret}
ProxyPass / {url}/
"""
ETAG = '"6553f100-2800"'
Fetch = Callable[..., Any]


@dataclass(frozen=True)
class Site:
    """An app and the Apache before it."""

    app: harness.Server
    apache: harness.Server


@pytest.fixture(scope="module")
def site(tree: Path, app_module: Path) -> Iterator[Site]:
    """An app that sends itself what did not come by Apache."""
    config = {
        "KACCEL_BACKEND": "x-sendfile",
        "KACCEL_FILES_PATH": str(tree),
        "KACCEL_SECRET": SECRET,
    }
    environ = {f"APP_{key}": json.dumps(value) for key, value in config.items()}
    environ |= {"FILES": str(tree), "GATE": str(tree)}
    with harness.gunicorn(app_module, environ=environ) as app:
        text = CONFIGURATION.format(files=tree, secret=SECRET, url=app.url)
        with harness.apache(text, modules=["xsendfile"]) as apache:
            yield Site(app, apache)


@pytest.mark.parametrize("view", ["send", "flask"])
def test_same_by_both(site: Site, fetch: Fetch, case: Any, view: str) -> None:
    """Every file and path is right through Apache, and the same without it."""
    url = case.url.replace("send", view)
    by_apache = fetch(site.apache.address, url)
    by_flask = fetch(site.app.address, url)
    if case.content is None:
        assert by_apache.status == by_flask.status == 404
    elif view == "flask" and case.id in ("latin-1", "newline"):
        assert by_apache.status == by_flask.status == 500
    else:
        assert by_apache.body == case.content
        # mod_xsendfile takes ranges without a word.
        assert by_apache.seen | {"Accept-Ranges": ["bytes"]} == by_flask.seen


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=0-4"}, 206),
        ({"Range": "bytes=99999-"}, 416),
        ({"Range": "bytes=0-4", "If-Range": ETAG}, 206),
        ({"Range": "bytes=0-4", "If-Range": '"other"'}, 200),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304),
        ({"If-Match": '"other"'}, 412),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(
    site: Site, fetch: Fetch, headers: Any, status: int, method: str
) -> None:
    """Apache answers conditions and ranges by the validator that the app gives."""
    for view in ("send", "flask"):
        reply = fetch(site.apache.address, f"/{view}?10k.bin", headers, method)
        assert reply.status == status
        if status < 400:
            assert reply.headers["ETag"] == ETAG
        for name, value in reply.headers:
            assert not name.lower().startswith(("x-sendfile", "x-kaccel-"))
            assert "/files" not in value


def test_status_of_its_own(site: Site, fetch: Fetch) -> None:
    """A file with another status keeps it."""
    reply = fetch(site.apache.address, "/gone")
    assert (reply.status, reply.body) == (410, b"<p>hello")
