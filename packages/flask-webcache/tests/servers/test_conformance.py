"""The public HTTP cache tests, in front of their own origin.

``conformance.json`` names every required and optimal test that does not pass, and why;
every other one has to.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import harness
from harness.cache_tests import CacheTest
from harness.cache_tests import cache_tests_origin
from harness.cache_tests import run_cache_tests


HERE = Path(__file__).parent
EXPECTED: dict[str, str] = json.loads((HERE / "conformance.json").read_text())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fast", ["", "1"], ids=["hooks", "fast"])
def test_conformance(fast: str) -> None:
    """All tests pass but those that the expectation file gives a reason for."""
    with (
        cache_tests_origin() as origin,
        harness.waitress(
            HERE / "conformance_app.py",
            "--threads=80",
            environ={"ORIGIN": origin.address, "FAST": fast},
        ) as server,
    ):
        results = run_cache_tests(server.url)
    print(table(results))  # noqa: T201 - what the run is for
    failed = {
        name: test.detail
        for name, test in results.items()
        if test.kind != "check" and test.verdict is not True
    }
    assert failed.keys() == EXPECTED.keys(), {
        name: failed.get(name, "passes now") for name in failed.keys() ^ EXPECTED.keys()
    }


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
