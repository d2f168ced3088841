"""Reads that are older than an acknowledged write: there must be none.

Usage: python benchmarks/coherence.py [seconds] [BACKEND-BY-FAULT ...]

A row is named like redis-fast-pauses.

Four gunicorn processes (one for the memory), views of 5 to 80 ms, eight readers, three
writers that purge by URL and by tag, a tenth of the reads with no-cache, pages with and
without Vary and tags. On Redis also while keys are deleted at random, old entries are
put back, Redis hangs for a second, is restarted empty, or is full. Each row runs for
60 seconds and on until it has made 10,000 reads, unless seconds are given.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE / "tests"), str(HERE / "packages/flask-webcache/tests")]

import versions  # noqa: E402 - the package's tests, which are not installed


ROWS: tuple[tuple[versions.Backend, versions.Fault], ...] = (
    ("memory", "none"), ("files", "none"), ("redis", "none"), ("redis", "deletions"),
    ("redis", "replays"), ("redis", "pauses"), ("redis", "restarts"), ("redis", "full"),
)  # fmt: skip
READS = 10_000


def main() -> None:
    chosen = [one for one in sys.argv[1:] if not one.isdigit()]
    seconds = [float(one) for one in sys.argv[1:] if one.isdigit()]
    print("| backend | fault | by | reads | hits | writes | refused | older | wrong |")
    print("|---|---|---|---|---|---|---|---|---|")
    bad = 0
    for backend, fault in ROWS:
        for fast in (False, True):
            by = "fast" if fast else "hooks"
            if chosen and f"{backend}-{by}-{fault}" not in chosen:
                continue
            with tempfile.TemporaryDirectory() as folder:
                found = versions.run(
                    backend, fault, Path(folder), *(seconds or [60.0]), fast=fast,
                    reads=0 if seconds else READS,
                )  # fmt: skip
            bad += len(found.stale) + len(found.wrong) + len(found.errors)
            print(
                f"| {backend} | {fault} | {by} | {found.reads} | {found.hits} "
                f"| {found.writes} | {found.refused} | {len(found.stale)} "
                f"| {len(found.wrong)} |",
                flush=True,
            )
            for line in (*found.stale[:3], *found.wrong[:3], *found.errors[:3]):
                print(f"  {line}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
