"""The layout of the package: modules know few others, and a request meets few."""

from __future__ import annotations

import ast
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import request

import flask_webcache


if TYPE_CHECKING:
    from planned import Origin


SOURCE = Path(flask_webcache.__file__).parent
#: The pure rules are a library of their own.
RULES = "_rules"
MOST_IMPORTED = 6
MOST_PASSED = 9


def place(path: Path) -> str:
    """Return the name of a module below the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(module: str, node: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports when it is loaded."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        found |= imported(module, child)
        if isinstance(child, ast.ImportFrom) and child.level:
            inside = "__init__.py" in {
                path.name for path in (SOURCE / module).glob("*")
            }
            steps = child.level - 1 if inside else child.level
            parts = module.replace("/", ".").split(".")
            base = parts[: len(parts) - steps] if steps else parts
            if child.module:
                found.add(".".join([*base, child.module]))
            else:
                found |= {".".join([*base, alias.name]) for alias in child.names}
    return found


MODULES = [
    path
    for path in sorted(SOURCE.rglob("*.py"))
    if RULES not in path.parts and path != SOURCE / "__init__.py"
]


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports(path: Path) -> None:
    """No module knows more than six others, the rules apart."""
    module = place(path)
    found = {
        one
        for one in imported(module, ast.parse(path.read_text()))
        if not one.startswith(RULES)
    }
    assert len(found) <= MOST_IMPORTED, sorted(found)


def passed(origin: Origin, path: str) -> set[str]:
    """Return the modules whose functions a request runs, the rules apart."""
    found: set[str] = set()

    def note(frame: Any, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(SOURCE)):
            found.add(place(Path(file)))

    sys.setprofile(note)
    try:
        origin.get(path)
    finally:
        sys.setprofile(None)
    return {one for one in found if not one.startswith(RULES)}


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
@pytest.mark.parametrize("etag", ["ETag", "none"])
def test_modules_of_a_miss(make_origin: type[Origin], etag: str, fast: bool) -> None:
    """A miss goes through nine modules; around the app, through one more adapter."""
    origin = make_origin(fast=fast)
    origin.says("max-age=60", headers={"ETag": '"a"'} if etag == "ETag" else {})
    plan = origin.answer
    origin.answer = lambda: (request.headers.get("X-Plan"), plan())[1]
    origin.get("/first")
    found = passed(origin, "/second")
    assert len(found - {"_fast"}) <= MOST_PASSED, sorted(found)
    assert "_exchange" in found
    assert ("_fast" in found) is fast


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
def test_misses_leave_no_garbage(make_origin: type[Origin], fast: bool) -> None:
    """Nothing of the cache keeps a request until the garbage collector comes."""
    origin = make_origin(fast=fast)
    origin.says("max-age=60")
    origin.get("/first")
    gc.collect()
    gc.disable()
    try:
        origin.get("/second")
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        # The test's client has cycles of its own.
        kept = {type(one) for one in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not [one for one in kept if one.__module__.startswith("flask_webcache")]
