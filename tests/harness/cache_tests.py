"""The public HTTP cache tests (npm ``http-cache-tests``)."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Collection
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.npm import node_packages
from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


VERSION = "0.4.5"
#: How long a run may take, in seconds: it takes about 40 where nothing hangs.
RUN_SECONDS = 240
Verdict = Literal[True, False, "setup", "dependency"]

# Runs every test that is not for browsers, each request bounded in time, and prints
# what the suite knows of each.
_DRIVER = """
import fetch from 'node-fetch'
import { runTests, getResults } from './client/runner.mjs'
import suites from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'

const all = [...suites, surrogate]
const wanted = new Set(JSON.parse(process.env.ONLY))
if (wanted.size) {
  // A set grows while it is gone over.
  const tests = all.flatMap(suite => suite.tests)
  const needs = new Map(tests.map(test => [test.id, test.depends_on]))
  for (const id of wanted) (needs.get(id) || []).forEach(one => wanted.add(one))
  for (const suite of all) suite.tests = suite.tests.filter(test => wanted.has(test.id))
}
const bounded = (url, init) => fetch(url, { ...init, timeout: 15000 })
await runTests(all, bounded, false, process.env.BASE, 75)
const results = getResults()
const tests = all.flatMap(suite => suite.tests)
  .filter(test => test.id in results)
  .map(test => [test.id, {
    kind: test.kind || 'required',
    needs: test.depends_on || [],
    result: results[test.id]
  }])
process.stdout.write(JSON.stringify(Object.fromEntries(tests)), () => process.exit())
"""


@dataclass(frozen=True)
class CacheTest:
    """One test of the suite, and how it came out."""

    kind: Literal["required", "optimal", "check"]
    verdict: Verdict
    detail: str = ""


@contextlib.contextmanager
def cache_tests_origin() -> Iterator[Server]:
    """Run the suite's origin server, which the cache under test is put in front of."""
    node = require("node", "apt-get install nodejs npm")
    port = free_port()
    with temporary_directory("cache-tests") as directory:
        server = Server(
            "cache-tests",
            [node, "--no-warnings", str(_package() / "server" / "server.mjs")],
            port,
            directory,
            listens,
            {
                "npm_config_protocol": "http",
                "npm_config_port": str(port),
                "npm_config_pidfile": str(directory / "server.pid"),
            },
        )
        with running(server):
            yield server


def run_cache_tests(url: str, only: Collection[str] = ()) -> dict[str, CacheTest]:
    """Run the suite against the cache at a URL and return each test by its id.

    :param only: run these, and what they depend on.
    """
    done = subprocess.run(
        [
            require("node", "apt-get install nodejs npm"),
            "--no-warnings",
            "--input-type=module",
            "--eval",
            _DRIVER,
        ],
        cwd=_package(),
        env={"BASE": url, "ONLY": json.dumps(sorted(only))},
        capture_output=True,
        timeout=RUN_SECONDS,
        check=True,
    )
    # The suite prints its own warnings before.
    text = done.stdout.decode()
    tests = json.loads(text[text.index('{"') :])
    return {
        name: CacheTest(one["kind"], _verdict(name, tests), _detail(one["result"]))
        for name, one in sorted(tests.items())
    }


def _verdict(name: str, tests: dict[str, dict[str, object]]) -> Verdict:
    """Return a verdict as the suite's own pages do: with regard to dependencies."""
    test = tests[name]
    needs, result = test["needs"], test["result"]
    assert isinstance(needs, list)
    if any(_verdict(need, tests) is not True for need in needs):
        return "dependency"
    if isinstance(result, list) and result[0] == "Setup":
        return "setup"
    return result is True


def _detail(result: object) -> str:
    return str(result[1]) if isinstance(result, list) else ""


def _package() -> Path:
    packages = node_packages(f"http-cache-tests@{VERSION}")
    return packages / "node_modules" / "http-cache-tests"
