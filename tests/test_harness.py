"""Every server of the harness starts, answers and stops."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser

APP = """\
from flask import Flask

app = Flask(__name__)
app.get("/")(lambda: "hello")
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    """A file that defines an app."""
    path = tmp_path / "hello_app.py"
    path.write_text(APP)
    return path


def fetch(url: str) -> bytes:
    """Return the body of a page."""
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
    return body


@pytest.mark.parametrize("name", [*harness.WSGI_SERVERS, "uwsgi"])
def test_wsgi_server(name: str, app_file: Path) -> None:
    """Each WSGI server runs an app and is gone afterwards."""
    with harness.serve(name, app_file) as server:
        assert fetch(server.url) == b"hello"
    assert server.process is None


def test_nginx_and_apache(app_file: Path) -> None:
    """Both proxies reach an app behind them."""
    with harness.gunicorn(app_file) as upstream:
        with harness.nginx(f"location / {{ proxy_pass {upstream.url}; }}") as server:
            assert fetch(server.url) == b"hello"
        with harness.apache(f"ProxyPass / {upstream.url}/") as server:
            assert fetch(server.url) == b"hello"


def test_browser(chromium: Browser, app_file: Path) -> None:
    """Chromium shows a page of an app."""
    with harness.waitress(app_file) as server:
        page = chromium.new_page()
        page.goto(server.url)
        assert page.inner_text("body") == "hello"
        page.close()


def test_stores(redis_url: str, memcached_url: str) -> None:
    """The caches' servers have an address."""
    assert redis_url.startswith("redis://127.0.0.1:")
    assert memcached_url.startswith("memcached://127.0.0.1:")


def test_missing_server_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program skips the test and says how to install it."""
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install nothing"):
        harness.require("no-such-program", "apt-get install nothing")


def test_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """If every server is required, a missing one is a failure."""
    monkeypatch.setenv("REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        harness.require("no-such-program", "apt-get install nothing")
