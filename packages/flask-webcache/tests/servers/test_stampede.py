"""Fifty at once, on four processes that share a Redis."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import harness


HERE = Path(__file__).parent


@pytest.fixture(params=["gthread", "gevent"])
def server(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> Iterator[harness.Server]:
    """The app on four workers."""
    environ = {"WEBCACHE_URL": redis_url, "RUNS": str(tmp_path / "runs")}
    with harness.gunicorn(
        HERE / "cache_app.py", "--threads=16", worker=request.param, workers=4,
        environ=environ,
    ) as server:  # fmt: skip
        yield server


def crowd(url: str) -> list[tuple[int, str]]:
    """Return status and body of 50 requests made at once."""

    def get(_: int) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    with ThreadPoolExecutor(50) as pool:
        return list(pool.map(get, range(50)))


def test_one_view_run(server: harness.Server, tmp_path: Path) -> None:
    """The view runs once; one that raises hangs nobody, and is asked again."""
    assert set(crowd(f"{server.url}/slow")) == {(200, "made 1")}
    assert (tmp_path / "runs").stat().st_size == 1
    began = time.monotonic()
    assert set(crowd(f"{server.url}/failing")) == {(500, "")}
    assert time.monotonic() - began < 40
