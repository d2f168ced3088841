"""Take the pictures of the demo for the site: ``nox -s pictures``."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Literal

from PIL import Image

import harness


if TYPE_CHECKING:
    from playwright.sync_api import FilePayload
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
DESKTOP, PHONE = (1280, 860), (390, 844)
Scheme = Literal["light", "dark"]


@contextmanager
def demo() -> Iterator[str]:
    """Run the demo behind nginx, and yield its address."""
    port = harness.free_port()
    command = [sys.executable, "-m", "demo", "--nginx", "--port", str(port)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "DEMO_INSTANCE": folder},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            lines = process.stdout or ()
            yield next(
                found[0] for line in lines if (found := re.search(r"http\S+", line))
            )
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def picture(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> bytes:
    """Return a picture for the gallery: a sky."""
    sky = Image.new("RGB", (1, 2))
    sky.putpixel((0, 0), top)
    sky.putpixel((0, 1), bottom)
    file = io.BytesIO()
    sky.resize((480, 320), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def fill(page: Page, url: str) -> None:
    """Upload what a gallery has."""
    content = {
        "dawn.png": ("image/png", picture((40, 60, 120), (250, 180, 120))),
        "harbor.png": ("image/png", picture((120, 180, 230), (20, 70, 110))),
        "minutes.txt": ("text/plain", b"Present: everybody.\n" * 80),
    }
    payloads: list[FilePayload] = [
        {"name": name, "mimeType": kind, "buffer": data}
        for name, (kind, data) in content.items()
    ]
    page.goto(url)
    page.set_input_files("input[type=file]", payloads)
    page.click("#upload button:text-is('Upload')")
    page.wait_for_selector(".files li >> nth=2")
    page.goto(url)
    with page.expect_download():
        page.click("[aria-label='Download harbor.png']")
    record = page.locator("#hood-list .record:has-text('nginx sent')").first
    record.locator("summary").click()


def take(page: Page, name: str, scheme: Scheme, size: tuple[int, int]) -> None:
    """Take a picture of a page as it is."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.save(IMAGES / f"demo-{name}.webp", quality=82, method=6)


def main() -> None:
    """Take them all."""
    IMAGES.mkdir(exist_ok=True)
    with demo() as url, harness.browser() as browser:
        page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
        fill(page, url)
        take(page, "files-light", "light", DESKTOP)
        take(page, "files-dark", "dark", DESKTOP)
        take(page, "files-phone", "light", PHONE)
        page.locator("#hood").scroll_into_view_if_needed()
        page.locator("#hood-title").evaluate("title => title.scrollIntoView()")
        take(page, "panel-phone", "dark", PHONE)
        page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        page.goto(f"{url}cache")
        page.locator("[data-ask]").nth(3).click()
        page.locator(".specimens output").nth(3).filter(has_text="session").wait_for()
        page.click("[data-measure=crowd] button")
        page.locator("[data-measure=crowd] dd").nth(1).wait_for()
        take(page, "cache", "light", DESKTOP)
        page.goto(f"{url}export")
        with page.expect_download():
            page.click("text=CSV, for spreadsheets")
        page.wait_for_selector("text=/100,000 of 100,000 rows/")
        page.click("[data-measure=first] button")
        page.locator("[data-measure=first] dd").nth(1).wait_for()
        take(page, "export", "light", DESKTOP)


if __name__ == "__main__":
    main()
