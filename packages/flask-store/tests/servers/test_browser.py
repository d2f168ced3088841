"""Stored pages in a real browser: none of them runs."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import harness
from flask_store.config import Config
from flask_store.stores.s3 import S3Store


if TYPE_CHECKING:
    from playwright.sync_api import Browser

APP = """
import json, os
from flask import Flask, request
from flask_store import Store

app = Flask(__name__)
app.config["STORE_PATH"] = os.environ["STORE_TEST_PATH"]
store = Store(app)
ran = []


@app.route("/ran/<name>", methods=["GET", "POST"])
def run(name):
    ran.append(name)
    return ""


@app.get("/ran")
def all_ran():
    return ran


@app.post("/save/<name>")
def save(name):
    return store.Provider().save(request.stream, name).absolute_url()


@app.get("/frame")
def frame():
    return f"<!doctype html><iframe src='{request.args['url']}'></iframe>"
"""

XHTML = "http://www.w3.org/1999/xhtml"
SVG = "http://www.w3.org/2000/svg"
SCRIPT = "new Image().src='{origin}/ran/{name}'"
EVIL = {
    "page.html": "<!doctype html><script>{script}</script>",
    "page.htm": '<!doctype html><img src=x onerror="{script}">',
    "page.xhtml": f"<html xmlns='{XHTML}'><script>{{script}}</script></html>",
    "image.svg": f"<svg xmlns='{SVG}'><script>{{script}}</script></svg>",
    "feed.xml": f"<svg xmlns='{SVG}'><script>{{script}}</script></svg>",
    "text.txt": "<!doctype html><script>{script}</script>",
    "image.png": "<!doctype html><script>{script}</script>",
    "no-extension": "<!doctype html><script>{script}</script>",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    """A site that serves what it stores."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "site_app.py").write_text(APP)
    environ = {"STORE_TEST_PATH": str(folder / "uploads")}
    with harness.werkzeug_server(folder / "site_app.py", environ=environ) as server:
        yield server


def test_control(site: harness.Server, chromium: Browser) -> None:
    """The script of the tests does run where a page may run it."""
    page = chromium.new_page()
    page.goto(f"{site.url}/ran")
    script = SCRIPT.format(origin=site.url, name="control")
    with page.expect_response("**/ran/control"):
        page.evaluate(script)
    page.close()


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("name", EVIL)
def test_stored_page_runs_no_script(
    site: harness.Server,
    chromium: Browser,
    s3_session: harness.S3Server,
    name: str,
    where: str,
) -> None:
    """Opened or framed, a stored page runs nothing in the site's name."""
    from playwright.sync_api import Error

    mark = f"{where}-{name}"
    content = EVIL[name].format(script=SCRIPT.format(origin=site.url, name=mark))
    page = chromium.new_page()
    if where == "local":
        saved = page.request.post(f"{site.url}/save/{name}", data=content.encode())
        url = f"{site.url}{saved.text()}"
    else:
        config = {**s3_session.config, "STORE_PATH": uuid.uuid4().hex}
        store = S3Store(config=Config.from_mapping(config))
        url = store.save(io.BytesIO(content.encode()), name).url(expires=60)
    for address in (url, f"{site.url}/frame?url={url}"):
        # A download is an error to Playwright.
        with contextlib.suppress(Error):
            page.goto(address, wait_until="networkidle")
    ran = json.loads(page.request.get(f"{site.url}/ran").text())
    page.close()
    assert mark not in ran


def test_picture_is_shown(site: harness.Server, chromium: Browser) -> None:
    """A picture that was uploaded is still a picture on a page."""
    page = chromium.new_page()
    picture = page.screenshot()
    saved = page.request.post(f"{site.url}/save/picture.png", data=picture)
    page.goto(f"{site.url}/ran")
    width = page.evaluate(
        """url => new Promise((resolve, reject) => {
            const image = new Image();
            image.onload = () => resolve(image.naturalWidth);
            image.onerror = reject;
            image.src = url;
        })""",
        saved.text(),
    )
    page.goto(f"{site.url}{saved.text()}")
    assert page.locator("img").count() == 1
    page.close()
    assert width > 0
