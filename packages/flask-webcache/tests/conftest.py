"""Fixtures; the tests against real servers need the workspace's harness."""

from __future__ import annotations

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


# On top of Hypothesis's own profile, which repeats itself on a CI machine. A machine
# with other work is slow without anything being wrong.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

collect_ignore_glob = [] if find_spec("harness") else ["servers/*"]


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
