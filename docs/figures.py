"""Run benchmarks, and put what they print into the pages about performance.

Usage: python docs/figures.py ["BENCHMARK OPTION ..." ...]

A page has a section for each of its runs, between two comments; without arguments, all
of them are made anew. A benchmark that fails leaves its section as it was.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


ROOT = Path(__file__).parents[1]
SECTION = re.compile(
    r"(<!-- figures: ([^\n]+) -->\n)(.*?)(?=<!-- end of figures -->)", re.DOTALL
)


def sections() -> dict[str, Path]:
    """Return each run that a page shows, with the page."""
    return {
        found[2]: page
        for page in sorted((ROOT / "docs").glob("*/performance.md"))
        for found in SECTION.finditer(page.read_text())
    }


def shown(command: str, output: str) -> str:
    """Return a run as Markdown: when and where it was, and what it printed."""
    today = dt.datetime.now(tz=dt.UTC).date()
    versions = f"Python {platform.python_version()}, Flask {version('flask')}"
    printed = re.sub(r"\n{3,}", "\n\n", output.strip())
    if not re.search(r"^\|", printed, re.MULTILINE):
        printed = f"```text\n{printed}\n```"
    head = f"`{command}` on {today}: {versions}, {os.cpu_count()} cores."
    return f"{head}\n\n{printed}\n\n"


def run(name: str, page: Path) -> None:
    """Run a benchmark, and show what it prints in its section of a page."""
    benchmark, *options = name.split()
    command = ["python", f"benchmarks/{benchmark}.py", *options]
    done = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    sys.stdout.write(done.stdout)
    made = shown(" ".join(command), done.stdout)

    def filled(found: re.Match[str]) -> str:
        return found[1] + (made if found[2] == name else found[3])

    page.write_text(SECTION.sub(filled, page.read_text()))


if __name__ == "__main__":
    pages = sections()
    for wanted in sys.argv[1:] or list(pages):
        run(wanted, pages[wanted])
