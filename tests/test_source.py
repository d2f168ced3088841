"""The layout and style of all five packages' sources, read from their syntax."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.packages import PACKAGES
from harness.packages import Package


#: What an application may import beside the package itself.
PUBLIC = {
    "flask_kaccel": {"config", "exceptions", "testing"},
    "flask_firehose": {"config", "exceptions"},
    "flask_store": {
        "config", "exceptions", "file_wrapper", "sqlalchemy", "stores", "stores.base",
        "stores.local", "stores.memory", "stores.obstore", "stores.s3", "testing",
    },
    "flask_webcache": {
        "config", "exceptions", "handlers", "modifiers", "recache", "storage",
        "validation",
    },
    "flask_streaming": {"config", "exceptions"},
}  # fmt: skip
#: Underscored names of others, each with the reason and what happens without it.
BORROWED = {
    # Documented methods whose names begin with an underscore.
    "_asdict", "_replace", "_get_current_object",
    # sys._getframe: documented, of CPython and PyPy; looked for with hasattr.
    "_getframe",
}  # fmt: skip
LONGEST_MODULE = 350
LONGEST_FUNCTION = 45
FOREIGN = {"cachelib", "flask", "gunicorn", "waitress", "werkzeug"}
BAD_STARTS = r"(Tell|What|Who|Where|How)\b"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(params=PACKAGES, ids=lambda package: package.name)
def package(request: pytest.FixtureRequest) -> Package:
    """Each of the five packages."""
    value: Package = request.param
    return value


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text())


def nodes(package: Package) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of a package's sources with the place of its module."""
    for path in package.modules:
        place = dotted(package, path)
        for node in ast.walk(tree(path)):
            yield place, node


def dotted(package: Package, path: Path) -> str:
    """Return the name of a module below its package."""
    parts = path.relative_to(package.source).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def is_internal(place: str) -> bool:
    """Return whether a module's name says that it is none of the application's."""
    return any(part.startswith("_") for part in place.split("."))


@pytest.mark.parametrize("name", ["_settings", "_setup", "_disposition", "_views"])
def test_shared_modules(name: str) -> None:
    """A module that several packages ship is the same file in each."""
    found = [package.source / f"{name}.py" for package in PACKAGES]
    prints = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.exists()
    }
    assert len(prints) <= 1


def test_public_modules(package: Package) -> None:
    """A module is underscored, or on the list of those that are public."""
    places = {dotted(package, path) for path in package.modules} - {""}
    assert {place for place in places if not is_internal(place)} == PUBLIC[package.name]


def test_public_modules_import(package: Package) -> None:
    """Every public module can be imported by its dotted name."""
    for place in PUBLIC[package.name]:
        importlib.import_module(f"{package.name}.{place}")


def test_imports_inside(package: Package) -> None:
    """A package imports its own modules relatively, and its siblings never."""
    ours = {other.name for other in PACKAGES}
    absolute = [
        f"{place}: {node.module}"
        for place, node in nodes(package)
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").split(".")[0] in ours
    ]
    assert not absolute


def test_one_way_to_the_state(package: Package) -> None:
    """``app.extensions`` is read by set-up and the shared module, by no one else."""
    readers = {
        place
        for place, node in nodes(package)
        if isinstance(node, ast.Attribute) and node.attr == "extensions"
    }
    assert readers <= {"_setup", "_state", "_extension", "recache", "sqlalchemy"}


def test_state(package: Package) -> None:
    """A frozen class with slots, ``State``, holds what belongs to an app."""
    state = importlib.import_module(f"{package.name}._state")
    assert package.key == state.NAME
    assert state.State.__dataclass_params__.frozen
    assert "__slots__" in vars(state.State)
    assert callable(state.get_state)


def test_logger(package: Package) -> None:
    """Each module's logger is called ``logger``, and is the package's."""
    for place, node in nodes(package):
        match node:
            case (
                ast.Assign(targets=[target], value=ast.Call(func=function, args=args))
                | ast.AnnAssign(target=target, value=ast.Call(func=function, args=args))
            ) if ast.unparse(function) == "logging.getLogger":
                assert ast.unparse(target) == "logger", place
                (name,) = map(ast.unparse, args)
                assert name in {f"'{package.name}'", "__package__"}, place


def test_errors_have_equal_sources() -> None:
    """``ConfigError`` and ``SetupError`` are written alike but for their base."""

    def source(package: Package, name: str) -> str:
        path = package.source / "exceptions.py"
        (found,) = (
            node
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ClassDef) and node.name == name
        )
        text = ast.get_source_segment(path.read_text(), found) or ""
        return textwrap.dedent(text).replace(f"{package.extension}Error", "BaseError")

    for name in ("ConfigError", "SetupError"):
        assert len({source(package, name) for package in PACKAGES}) == 1


def defined(package: Package) -> set[str]:
    """Return every name that a package defines."""
    names: set[str] = set()
    for _, node in nodes(package):
        match node:
            case (
                ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name)
            ):
                names.add(name)
            case (
                ast.Name(name, ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store())
            ):
                names.add(name)
            case ast.Constant(str() as name):  # of __slots__
                names.add(name)
    return names


def test_no_private_names_of_others(package: Package) -> None:
    """No attribute or module that another package keeps to itself is used."""
    own = defined(package) | BORROWED
    for place, node in nodes(package):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            assert node.attr in own, f"{place}: {node.attr}"
        if isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            names = [*module.split("."), *(alias.name for alias in node.names)]
            assert module.split(".")[0] not in FOREIGN or not any(
                re.match(r"_[^_]", name) for name in names
            ), f"{place}: {module}"


def test_no_changing_names_of_flask(package: Package) -> None:
    """Nothing is used that Flask's next release merges, renames or deprecates."""
    gone = {"RequestContext", "request_ctx", "should_ignore_error"}
    for place, node in nodes(package):
        match node:
            case ast.ImportFrom(module=str() as module, level=0) if (
                module.split(".")[0] == "flask"
            ):
                assert not gone & {alias.name for alias in node.names}, place
            case ast.Attribute(attr=name):
                assert name not in gone, place


def functions(node: ast.AST) -> Iterator[Function]:
    """Yield the functions of a tree."""
    return (
        found
        for found in ast.walk(node)
        if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_sizes(package: Package) -> None:
    """A module is read in one sitting, a function on one screen."""
    long = [
        f"{dotted(package, path)}: {lines} lines"
        for path in package.modules
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    ]
    long += [
        f"{dotted(package, path)}.{function.name}: {lines} lines"
        for path in package.modules
        for function in functions(tree(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1)
        > LONGEST_FUNCTION
    ]
    assert not long


def test_docstrings(package: Package) -> None:
    """A docstring says what a thing is or does, in the imperative."""
    for place, node in nodes(package):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            text = ast.get_docstring(node) or ""
            assert not re.match(BAD_STARTS, text), f"{place}: {text[:60]}"


def test_theory_of_operation(package: Package) -> None:
    """The module that owns a package's life cycle opens with its theory."""
    owners = {
        "flask_kaccel": ["_edge"],
        "flask_firehose": ["_page"],
        "flask_store": ["_journal", "_upload"],
        "flask_webcache": ["_exchange"],
        "flask_streaming": ["_subscription"],
    }
    for owner in owners[package.name]:
        text = ast.get_docstring(tree(package.source / f"{owner}.py")) or ""
        assert len(text.splitlines()) >= 15, owner


def public_functions(package: Package) -> Iterator[tuple[str, Any]]:
    """Yield every function and method that the package exports."""
    for name in package.module.__all__:
        value = getattr(package.module, name)
        if inspect.isclass(value):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_") or method == "__init__":
                    yield f"{name}.{method}", function
        elif inspect.isfunction(value):
            yield name, value


def test_keywords(package: Package) -> None:
    """No public function takes ``**anything: Any``: a misspelt option is an error."""
    anything = [
        name
        for name, function in public_functions(package)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.VAR_KEYWORD
        and parameter.annotation in {"Any", "object", Any, object}
        # What a template is given is the application's.
        and name not in {"stream_template", "stream_template_string"}
    ]
    assert not anything
