"""Each page of the built site, opened from the disk in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SITE = ROOT / "dist" / "docs"
PAGES = sorted(
    path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
)
#: The smallest phone's width in CSS pixels, and a desk's.
PHONE, DESK = 390, 1280
CONTRAST = {"runOnly": ["color-contrast"]}


@pytest.fixture(scope="module")
def tab(chromium: Browser) -> Iterator[Page]:
    """A tab in which axe-core is there on every page."""
    axe = harness.node_packages("axe-core@4.14.1") / "node_modules/axe-core/axe.min.js"
    page = chromium.new_page(viewport={"width": DESK, "height": 900})
    page.add_init_script(path=axe)
    yield page
    page.close()


def violations(tab: Page, options: dict[str, Any]) -> list[str]:
    """Return what axe-core finds, with the first place of each."""
    # Selectors and what passes take most of its time.
    options = {**options, "resultTypes": ["violations"], "selectors": False}
    found = tab.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]
    ]


@pytest.mark.parametrize("path", PAGES)
def test_page(tab: Page, path: str) -> None:
    """It is accessible, light and dark, fits a phone, and uses no other host."""
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.set_viewport_size({"width": DESK, "height": 900})
    tab.goto((SITE / path).as_uri())
    tab.evaluate("document.body.dataset.theme = 'light'")
    assert violations(tab, {}) == []
    tab.evaluate("document.body.dataset.theme = 'dark'")
    assert violations(tab, CONTRAST) == []
    tab.set_viewport_size({"width": PHONE, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert [url for url in asked if not url.startswith("file:")] == []


@pytest.mark.parametrize(
    ("query", "anchor"),
    [
        ("send_file_or_404", "flask_kaccel.Kaccel.send_file_or_404"),
        ("push_static", "flask_firehose.push_static"),
        ("presign_post", "flask_store.stores.s3.S3Store.presign_post"),
        ("purge_tag", "flask_webcache.WebCache.purge_tag"),
        ("stream_csv", "flask_streaming.stream_csv"),
    ],
)
def test_search(tab: Page, query: str, anchor: str) -> None:
    """The search works from the disk, and the first hit is the entry."""
    tab.goto(f"{(SITE / 'search.html').as_uri()}?q={query}")
    first = tab.locator("#search-results li a").first
    first.wait_for()
    assert str(first.get_attribute("href")).endswith(f"#{anchor}")
