"""Fixtures; the tests against real servers need the workspace's harness."""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import cachelib.simple
import pytest
from hypothesis import HealthCheck
from hypothesis import settings


sys.path.insert(0, str(Path(__file__).parent))

from planned import Clock
from planned import Origin


# Only what a test says may fail it, never how long an example takes. Where the same
# must happen each time, no example is chosen at random.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    # On its own, a package is tried with fewer of the examples that the workspace had.
    max_examples=100 if find_spec("harness") else 20,
)
settings.load_profile("patient")

collect_ignore = [] if find_spec("harness") else ["servers"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the cache and its backend in memory see."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(cachelib.simple, "time", clock)
    return clock


@pytest.fixture
def origin() -> Origin:
    """An app with the cache."""
    return Origin()


@pytest.fixture
def make_origin() -> type[Origin]:
    """Makes an app with the cache as configured."""
    return Origin
