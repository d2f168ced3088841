"""The compatibility table, and the tests that it is made of.

Each test of the suites below belongs to one cell: a subject (an extension or a server)
and one of our packages, named by the marker ``cell``. ``tests/compatibility.toml``
lists the tests that fail today, with the sentence why. They are strict: one that passes
again is a failure until it is taken from the file, and all others have to pass.

``nox -s coexistence -- --refresh`` runs the suites, rewrites that file and makes
``docs/compatibility.md`` anew. A test that fails for the first time is filed under
``unexplained``; the suites refuse to run until it has a sentence.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import tomllib
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path

import pytest


TESTS = Path(__file__).parent.parent
EXPECTED = TESTS / "compatibility.toml"
PAGE = TESTS.parent / "docs" / "compatibility.md"
#: The folders of the suites, and what the first column of their table is called.
SUITES = {"coexistence": "extension", "servers": "server"}
#: A module of the dependency group without which the suites are skipped.
PROBE = "flask_login"
UNEXPLAINED = "unexplained"

HEAD = """\
# Compatibility

Each row is a set of tests that CI runs: one application with all five packages beside
another extension, or on a server. Beside an extension, every test runs four times: our
packages set up before it (`first`) and after it (`last`), with flask-webcache answering
by `hooks` and with `fast=True`. The version is the one of the last refresh; this page
is made by `nox -s coexistence -- --refresh`.
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """An extension or a server that ours are tried with.

    :param name: what the table calls it.
    :param distribution: what its version is asked of.
    :param command: what prints its version, where it is no Python distribution.
    """

    name: str
    distribution: str
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def version(self) -> str:
        """Return the version that is installed."""
        if self.command:
            printed = subprocess.run(self.command, capture_output=True, check=True)
            return printed.stdout.decode().strip()
        return importlib.metadata.version(self.distribution)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some tests fail."""

    name: str
    why: str
    tests: frozenset[str]


@dataclass(slots=True)
class Row:
    """A cell of the table: its tests by the set-up in which they run."""

    suite: str
    subject: Subject
    package: str
    tests: dict[str, str] = field(default_factory=dict)

    def verdict(self, reasons: Iterable[Reason]) -> str:
        """Return "yes", or the links to why not, with the set-ups."""
        return "; ".join(self._failures(reasons)) or "yes"

    def _failures(self, reasons: Iterable[Reason]) -> Iterator[str]:
        everywhere = set(self.tests.values())
        for reason in reasons:
            where = {self.tests[test] for test in reason.tests & self.tests.keys()}
            if where:
                places = f" ({', '.join(sorted(where))})"
                yield f"[no](#{reason.name}){places if where != everywhere else ''}"


def read_expected(text: str, *, explained: bool = True) -> list[Reason]:
    """Parse the file of expected failures.

    :param explained: refuse reasons without a sentence.
    :raises ValueError: if a reason has no sentence, or a test has two reasons.
    """
    reasons = []
    seen: set[str] = set()
    for name, table in tomllib.loads(text).items():
        tests = frozenset(table["tests"])
        if explained and not table["why"]:
            raise ValueError(
                f"{EXPECTED.name}: [{name}] has no sentence; say in 'why' what fails: "
                f"{', '.join(sorted(tests))}"
            )
        if seen & tests:
            raise ValueError(f"{EXPECTED.name}: filed twice: {sorted(seen & tests)}")
        seen |= tests
        reasons.append(Reason(name, table["why"], tests))
    return reasons


def write_expected(reasons: Iterable[Reason]) -> str:
    """Return the text of the file of expected failures."""
    parts = ["# The tests that fail, and why: see tests/harness/compatibility.py.\n"]
    for reason in reasons:
        tests = "".join(f"  {json.dumps(test)},\n" for test in sorted(reason.tests))
        why = json.dumps(reason.why, ensure_ascii=False)
        parts.append(f"[{reason.name}]\nwhy = {why}\ntests = [\n{tests}]\n")
    return "\n".join(parts)


def refreshed(reasons: Iterable[Reason], passed: dict[str, bool]) -> list[Reason]:
    """Return the reasons with the outcome of the tests that ran."""
    failed = {test for test, good in passed.items() if not good}
    kept = {
        reason.name: replace(reason, tests=reason.tests - (passed.keys() - failed))
        for reason in reasons
    }
    new = failed.difference(*(reason.tests for reason in kept.values()))
    unexplained = kept.pop(UNEXPLAINED, Reason(UNEXPLAINED, "", frozenset()))
    kept[UNEXPLAINED] = replace(unexplained, tests=unexplained.tests | new)
    return [reason for reason in kept.values() if reason.tests]


def page(rows: Iterable[Row], reasons: list[Reason]) -> str:
    """Return the page with the tables.

    :raises ValueError: if an expected failure is no test of any row.
    """
    rows = list(rows)
    gone = {test for reason in reasons for test in reason.tests}
    gone -= {test for row in rows for test in row.tests}
    if gone:
        raise ValueError(f"{EXPECTED.name} names tests that do not exist: {gone}")
    parts = [HEAD]
    for suite, column in SUITES.items():
        parts.append(f"| {column} | version | package | verdict |\n|---|---|---|---|")
        for row in rows:
            if row.suite == suite:
                subject, verdict = row.subject, row.verdict(reasons)
                version = subject.version()
                parts.append(f"| {subject} | {version} | {row.package} | {verdict} |")
        parts.append("")
    if reasons:
        parts.append("## Why not\n")
        parts += [f"### {reason.name}\n\n{reason.why}\n" for reason in reasons]
    return "\n".join(parts)


def rows_of(items: Iterable[pytest.Item]) -> list[Row]:
    """Return the rows that the tests fill."""
    rows: dict[tuple[str, str, str], Row] = {}
    for item in items:
        marker = item.get_closest_marker("cell")
        if marker is not None:
            assert isinstance(item, pytest.Function)
            assert item.cls is not None, f"{item.nodeid} has no subject"
            subject: Subject = item.cls.subject
            params = item.callspec.params if hasattr(item, "callspec") else {}
            suite, (package,) = item.path.parent.name, marker.args
            key = (suite, subject.name, package)
            row = rows.setdefault(key, Row(suite, subject, package))
            row.tests[test_name(item.nodeid)] = str(params.get("setup", ""))
    return sorted(rows.values(), key=lambda row: (row.subject.name, row.package))


def test_name(nodeid: str) -> str:
    """Return a test's id below the tests' folder."""
    return nodeid.removeprefix("tests/")


test_name.__test__ = False  # type: ignore[attr-defined]


class SkippedSuite(pytest.Directory):
    """A folder whose tests need what is not installed."""

    def collect(self) -> Iterable[pytest.Collector]:
        """Skip all of it in one line."""
        pytest.skip(f"{PROBE} is not installed; run it with: nox -s coexistence")


class Refresh:
    """Notes what passed, and rewrites the file of expected failures at the end."""

    def __init__(self) -> None:
        self.passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "cell" in dict(report.user_properties):
            test = test_name(report.nodeid)
            self.passed[test] = self.passed.get(test, True) and not report.failed

    def pytest_sessionfinish(self) -> None:
        reasons = read_expected(EXPECTED.read_text(), explained=False)
        reasons = refreshed(reasons, self.passed)
        EXPECTED.write_text(write_expected(reasons))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what ``nox -s coexistence -- --refresh`` needs."""
    group = parser.getgroup("compatibility")
    group.addoption("--refresh", action="store_true", help="rewrite expected failures")
    group.addoption("--compatibility", type=Path, help="write the page to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refresh where the tests are counted, once."""
    config.addinivalue_line("markers", "cell(package): the package that is tried")
    if config.getoption("--refresh") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Refresh())


def pytest_collect_directory(
    path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Skip the suites where their dependency group is not installed."""
    ours = path.parent == TESTS and path.name in SUITES
    if ours and importlib.util.find_spec(PROBE) is None:
        skipped: pytest.Collector = SkippedSuite.from_parent(parent, path=path)
        return skipped
    return None


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Expect the listed failures."""
    cells = [item for item in items if item.get_closest_marker("cell")]
    for item in cells:
        item.user_properties.append(("cell", True))
    if not cells or config.getoption("--refresh"):
        return
    try:
        reasons = read_expected(EXPECTED.read_text())
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    names = {test: reason.name for reason in reasons for test in reason.tests}
    for item in cells:
        name = names.get(test_name(item.nodeid))
        if name is not None:
            item.add_marker(pytest.mark.xfail(reason=name, strict=True))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the page if the option asks for it."""
    path: Path | None = session.config.getoption("--compatibility")
    if path is not None:
        reasons = read_expected(EXPECTED.read_text())
        path.write_text(page(rows_of(session.items), reasons))
