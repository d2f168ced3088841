"""The demo, clicked through in Chromium, with scripts and without."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import FilePayload
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent


@pytest.fixture
def site(tmp_path: Path) -> Iterator[harness.Server]:
    """The demo on gunicorn, with a folder of its own."""
    source = tmp_path / "demo_app.py"
    source.write_text("from demo import create_app\napp = create_app()\n")
    environ = {
        "DEMO_INSTANCE": str(tmp_path / "instance"),
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    # Not graceful: the browser keeps its connections.
    impatient = ("--graceful-timeout", "0")
    with harness.gunicorn(
        source, *impatient, worker="gthread", environ=environ
    ) as server:
        yield server


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """A page of a browser that runs scripts, or does not."""
    with chromium.new_context(java_script_enabled=request.param) as context:
        yield context.new_page()


@pytest.fixture
def scripted(chromium: Browser) -> Iterator[Page]:
    """A page of a browser that runs scripts."""
    with chromium.new_context() as context:
        yield context.new_page()


def upload(page: Page, site: harness.Server, *names: str) -> None:
    """Upload files through the form, and wait until the gallery shows them."""
    page.goto(site.url)
    files: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": name.encode()}
        for name in names
    ]
    page.set_input_files("input[type=file]", files)
    page.click("button >> text=Upload")
    for name in names:
        page.wait_for_selector(f".files >> text={name}")


def test_files(page: Page, site: harness.Server) -> None:
    """A visitor uploads files, downloads one and deletes it."""
    upload(page, site, "one.txt", "zwei ü.txt")
    with page.expect_download() as download:
        page.click("text=Download >> nth=1")
    assert download.value.suggested_filename == "zwei ü.txt"
    assert download.value.path().read_text() == "zwei ü.txt"
    page.click("text=Delete >> nth=0")
    page.wait_for_selector(".files >> text=one.txt", state="detached")
    assert page.locator(".files li").count() == 1


def test_gallery_is_cached(page: Page, site: harness.Server) -> None:
    """The gallery says when it was made and what its cache holds."""
    upload(page, site, "one.txt")
    page.goto(site.url)
    made = page.inner_text("main time")
    status = page.frame_locator("iframe").locator("body")
    assert "hit; ttl=" in status.inner_text()
    response = page.goto(site.url)
    assert response is not None
    assert "hit" in response.headers["cache-status"]
    assert page.inner_text("main time") == made


def test_assets_are_announced(site: harness.Server) -> None:
    """The gallery's header tells of its style sheet and script."""
    with urllib.request.urlopen(site.url) as response:
        assert re.search(
            r"style\.css>; rel=preload; as=style", response.headers["Link"]
        )


def test_missing_page(page: Page, site: harness.Server) -> None:
    """A wrong address is answered by a page of the site."""
    response = page.goto(f"{site.url}/nowhere")
    assert response is not None
    assert response.status == 404
    assert page.inner_text("h1") == "Not Found"


def test_export(page: Page, site: harness.Server) -> None:
    """A visitor downloads 100,000 rows."""
    page.goto(f"{site.url}/export")
    with page.expect_download() as download:
        page.click("text=Download CSV")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 100_001
    assert lines[-1].startswith("100000,Customer 100000,")


def test_export_progress(scripted: Page, site: harness.Server) -> None:
    """The progress bar follows the rows to the last."""
    scripted.goto(f"{site.url}/export")
    with scripted.expect_download():
        scripted.click("text=Download CSV")
    scripted.wait_for_selector("text=100,000 of 100,000 rows")


def test_log_without_scripts(page: Page, site: harness.Server) -> None:
    """The log shows what happened before it was opened."""
    upload(page, site, "one.txt")
    page.click("nav >> text=Log")
    assert "one.txt was uploaded" in page.inner_text(".log li")


def test_log_survives_a_restart(scripted: Page, site: harness.Server) -> None:
    """The log is live, and after a restart of the server misses and repeats nothing."""
    log = scripted.context.new_page()
    log.goto(f"{site.url}/log")
    log.wait_for_selector("text=Live")
    for number in range(3):
        upload(scripted, site, f"file{number}.txt")
        log.wait_for_selector(f".log >> text=file{number}.txt")
        site.restart()
    upload(scripted, site, "last.txt")
    log.wait_for_selector(".log >> text=last.txt", timeout=20_000)
    told = re.findall(r"(last|file\d)\.txt was uploaded", log.inner_text(".log"))
    assert told == ["last", "file2", "file1", "file0"]


@contextlib.contextmanager
def command(directory: Path, *options: str) -> Iterator[harness.Server]:
    """Run ``python -m demo`` until its end, from when it prints its address."""
    site = harness.Server("demo", (), harness.free_port(), directory, lambda _: True)
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", str(site.port), *options],
        cwd=ROOT,
        env={**os.environ, "DEMO_INSTANCE": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert site.url in next(line for line in process.stdout if "http" in line)
            yield site
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


@pytest.mark.parametrize("options", [(), ("--nginx",), ("--s3",)], ids=str)
def test_command(options: tuple[str, ...], scripted: Page, tmp_path: Path) -> None:
    """The command prints its address, the site works there, and Ctrl-C stops it."""
    if "--nginx" in options:
        harness.require("nginx", "apt-get install nginx-light")
    with command(tmp_path, *options) as site:
        upload(scripted, site, "one.txt")
        assert scripted.request.get(f"{site.url}/download/one.txt").text() == "one.txt"


def test_direct_upload(page: Page, tmp_path: Path) -> None:
    """A browser sends a file to S3 itself, and comes back to the gallery."""
    with command(tmp_path, "--s3") as site:
        page.goto(site.url)
        page.click("text=Direct upload")
        page.fill("input[name=name]", "photo of us.txt")
        page.click("text=Ask for permission")
        sent: list[FilePayload] = [
            {"name": "x", "mimeType": "text/plain", "buffer": b"directly"}
        ]
        page.set_input_files("input[type=file]", sent)
        page.click("text=Upload to S3")
        link = page.locator(".files li:has-text('photo of us') >> text=Download")
        url = f"{site.url}{link.get_attribute('href')}"
        assert page.request.get(url).body() == b"directly"
