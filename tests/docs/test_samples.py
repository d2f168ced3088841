"""Every sample of the site runs, and does what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.pages import Reader
from harness.pages import blocks


DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if list(blocks(path.read_text())))


# A page may have twenty commands.
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who follows the page word for word gets what it shows."""
    monkeypatch.chdir(tmp_path)
    Reader(page, tmp_path).read()
