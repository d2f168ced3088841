"""A real Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.server import require
from harness.server import require_module


if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Keep the browser from calling home, which a closed network would log.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def browser(*options: str) -> Iterator[Browser]:
    """Run headless Chromium.

    :param options: further options of the command.
    """
    require_module("playwright", "pip install playwright")
    program = require("chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    arguments: Sequence[str] = (*QUIET, *options)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program, args=list(arguments)
        )
        try:
            yield chromium
        finally:
            chromium.close()
