"""The compatibility table: what is filed as failing, and the page made of it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.compatibility import EXPECTED
from harness.compatibility import PAGE
from harness.compatibility import PROBE
from harness.compatibility import SUITES
from harness.compatibility import TESTS
from harness.compatibility import UNEXPLAINED
from harness.compatibility import Reason
from harness.compatibility import Row
from harness.compatibility import Subject
from harness.compatibility import page
from harness.compatibility import read_expected
from harness.compatibility import refreshed
from harness.compatibility import write_expected


LEAK = Reason("leak", "It leaks.", frozenset({"a::one[x]", "a::two[x]"}))
SUBJECT = Subject("pytest itself", "pytest")


def without_versions(text: str) -> list[str]:
    """Return the lines of the page without the second column of its tables."""
    return [re.sub(r"^(\|[^|]*)\|[^|]*", r"\1", line) for line in text.splitlines()]


def test_expected_round_trip() -> None:
    """The file is read as it was written, with quotes and letters of all scripts."""
    reasons = [LEAK, Reason("other", 'A "quoted" wörd\\.', frozenset({"b::three"}))]
    assert read_expected(write_expected(reasons)) == reasons


def test_reason_without_a_sentence() -> None:
    """A failure without an explanation is refused."""
    text = write_expected([Reason(UNEXPLAINED, "", frozenset({"a::one"}))])
    with pytest.raises(ValueError, match=r"\[unexplained\] has no sentence.*a::one"):
        read_expected(text)
    assert read_expected(text, explained=False)


def test_filed_twice() -> None:
    """A test has one reason."""
    again = Reason("again", "It leaks again.", frozenset({"a::one[x]"}))
    with pytest.raises(ValueError, match=r"filed twice: \['a::one\[x\]'\]"):
        read_expected(write_expected([LEAK, again]))


def test_refresh() -> None:
    """Passing tests are removed, failing ones are filed, others stay."""
    passed = {"a::one[x]": True, "a::three": False, "a::four": True}
    kept, new = refreshed([LEAK], passed)
    assert kept == Reason("leak", "It leaks.", frozenset({"a::two[x]"}))
    assert new == Reason(UNEXPLAINED, "", frozenset({"a::three"}))
    assert refreshed([kept, new], {"a::three": True, "a::two[x]": True}) == []


@pytest.mark.parametrize(
    ("tests", "verdict"),
    [
        ({"a::three[x]": "x"}, "yes"),
        ({"a::one[x]": "x", "a::three[x]": "x"}, "[no](#leak)"),
        ({"a::one[x]": "x", "a::one[y]": "y"}, "[no](#leak) (x)"),
    ],
)
def test_verdict(tests: dict[str, str], verdict: str) -> None:
    """A cell with a failing test is red, and says in which set-up."""
    assert Row("servers", SUBJECT, "flask-store", tests).verdict([LEAK]) == verdict


def test_unknown_failure() -> None:
    """A filed test that does not exist is refused."""
    with pytest.raises(ValueError, match=r"do not exist: .*a::one"):
        page([], [LEAK])


def test_page() -> None:
    """A row shows the version, and the reasons have a section each."""
    row = Row("servers", SUBJECT, "flask-store", dict.fromkeys(LEAK.tests, "x"))
    text = page([row], [LEAK])
    cells = f"| pytest itself | {pytest.__version__} | flask-store | [no](#leak) |"
    assert cells in text
    assert "### leak\n\nIt leaks.\n" in text


def test_page_is_current(tmp_path: Path) -> None:
    """docs/compatibility.md says what the suites expect, but for newer versions."""
    if importlib.util.find_spec(PROBE) is None:
        pytest.skip(f"{PROBE} is not installed; run it with: nox -s coexistence")
    made = tmp_path / "page.md"
    suites = [str(TESTS / suite) for suite in SUITES]
    subprocess.run(
        [
            sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist",
            f"--compatibility={made}", *suites,
        ],
        check=True, cwd=TESTS.parent, capture_output=True,
    )  # fmt: skip
    assert without_versions(PAGE.read_text()) == without_versions(made.read_text()), (
        f"{PAGE.name} is out of date; run: nox -s coexistence -- --refresh"
    )


def test_expected_is_read() -> None:
    """The file of expected failures has a sentence for each."""
    assert all(reason.tests for reason in read_expected(EXPECTED.read_text()))
