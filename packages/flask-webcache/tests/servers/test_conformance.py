"""The public HTTP cache tests, in front of their own origin.

``conformance-set.json`` and ``conformance-installed.json`` name every required and
optimal test that does not pass, and why: with the settings of ``conformance_app.py``,
and without a setting. With ``CONFORMANCE=all``, each in both modes on
every backend; else each mode, each setting and each backend once.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

import harness
from harness.cache_tests import CacheTest
from harness.cache_tests import cache_tests_origin
from harness.cache_tests import run_cache_tests


HERE = Path(__file__).parent
#: Settings, mode and backend. Those of a pair run side by side: they mostly wait.
Case = tuple[str, str, str]
PAIRS: list[list[Case]] = [
    [("set", "hooks", "memory"), ("installed", "fast", "redis")],
    [("set", "fast", "files"), ("installed", "hooks", "memory")],
]
if os.environ.get("CONFORMANCE") == "all":
    PAIRS = [
        [("set", mode, backend), ("installed", mode, backend)]
        for mode, backend in product(("hooks", "fast"), ("memory", "redis", "files"))
    ]


@pytest.fixture(scope="module")
def origin() -> Iterator[harness.Server]:
    """The origin of the tests."""
    with cache_tests_origin() as server:
        yield server


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cases", PAIRS, ids=lambda pair: " ".join(map("-".join, pair)))
def test_conformance(
    cases: list[Case], origin: harness.Server, redis_url: str, tmp_path: Path
) -> None:
    """All tests pass but those that the expectation file gives a reason for."""
    with ExitStack() as stack:
        urls = []
        for settings, mode, backend in cases:
            environ = {
                "ORIGIN": origin.address,
                "SETTINGS": settings,
                "MODE": mode,
                "WEBCACHE_URL": {
                    "memory": "simple://",
                    "redis": redis_url,
                    "files": f"file://{tmp_path}/{settings}?max_items=100000",
                }[backend],
            }
            app = HERE / "conformance_app.py"
            server = harness.waitress(app, "--threads=80", environ=environ)
            urls.append(stack.enter_context(server).url)
        pool = stack.enter_context(ThreadPoolExecutor(len(urls)))
        unexpected = pool.map(surprises, urls, [settings for settings, *_ in cases])
        assert list(unexpected) == [{}] * len(urls)


def surprises(url: str, settings: str) -> dict[str, str]:
    """Return the tests that came out otherwise than the expectation file says.

    Those that do are run once more: most of them measure time, as a busy machine does
    not. What is not right fails each time.
    """
    expected = json.loads((HERE / f"conformance-{settings}.json").read_text())
    results = run_cache_tests(url)
    print(table(results))  # noqa: T201 - what the run is for
    found: dict[str, str] = {}
    for _ in range(3):
        found = {
            name: f"{test.verdict}: {test.detail}"
            for name, test in results.items()
            if test.kind != "check" and (test.verdict is True) is (name in expected)
        }
        if not found:
            break
        again = run_cache_tests(url, found)
        results = {name: again[name] for name in found}
    return found


def table(results: dict[str, CacheTest]) -> str:
    """Return how many tests of each kind passed."""
    counts = Counter((test.kind, str(test.verdict)) for test in results.values())
    verdicts = ["True", "False", "dependency", "setup"]
    titles = ["passed", "failed", "dependency unmet", "not set up"]
    lines = [f"{'':10}" + "".join(f"{title:>18}" for title in titles)]
    for kind in ("required", "optimal", "check"):
        numbers = "".join(f"{counts[kind, verdict]:18}" for verdict in verdicts)
        lines.append(f"{kind:10}{numbers}")
    return "\n".join(lines)
