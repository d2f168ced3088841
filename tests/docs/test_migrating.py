"""Each row of the migration tables names what the package has, and it works."""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple

import flask
import pytest
import werkzeug.exceptions
from cachelib import SimpleCache
from werkzeug.datastructures import FileStorage

import flask_store.sqlalchemy  # noqa: F401 - an attribute from now on
from flask_webcache import modifiers
from flask_webcache import recache
from flask_webcache import storage
from flask_webcache import validation
from harness.packages import PACKAGES
from harness.packages import Package


class Row(NamedTuple):
    """The cells of a row."""

    package: Package
    cells: list[str]

    def __str__(self) -> str:
        return f"{self.package.key}-{self.cells[0][:60]}"


def rows() -> Iterator[Row]:
    """Yield the rows of all tables of the migration pages."""
    for package in PACKAGES:
        for table in re.findall(
            r"(?:^\|.*\n)+", package.page("migrating"), re.MULTILINE
        ):
            for line in table.splitlines()[2:]:
                yield Row(package, [it.strip() for it in line.strip("|").split(" | ")])


def codes(cell: str) -> list[str]:
    """Return what a cell shows as code, but for links to other documentation."""
    return re.findall(r"(?<!\})`([^`]+)`", cell)


KEY = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)+")
DOTTED = re.compile(r"\w+(\.\w+)+")
HEADER = re.compile(r"Vary|[A-Z][a-z]+(-[A-Za-z]+)+")


def made(package: Package, folder: Path) -> dict[str, Any]:
    """Return what code in the tables finds: public names, and an app's objects."""
    (folder / "a.txt").write_text("text")
    fresh, app = (flask.Flask(name, instance_path=str(folder)) for name in ("a", "b"))
    for one in (fresh, app):
        one.config.update(SECRET_KEY="a secret key", KACCEL_FILES_PATH=str(folder))
        one.config["KACCEL_REDIRECT_PATH"] = "/protected/"
    found = {
        package.name: package.module,
        **vars(package.module),
        "builtins": builtins,
        "exceptions": werkzeug.exceptions,
        "app": fresh,
        "extended": app,
        "path": str(folder / "a.txt"),
        "upload": FileStorage(io.BytesIO(b"text"), "a.txt"),
        "url": "/a.css",
        **GIVEN[package.key],
    }
    found[SHORT.get(package.key, package.key)] = package.create(app)
    with app.app_context():
        if package.key == "store":
            found["file"] = found["store"].Provider("b").save(found["upload"])
            found["p"] = found["store"].Provider()
        if package.key == "streaming":
            found["rv"] = found["stream_template_string"]("")
    return found


SHORT = {"webcache": "cache"}
GIVEN: dict[str, dict[str, Any]] = {
    "kaccel": {},
    "firehose": {"args": (), "kwargs": {}},
    "store": {"name": "a.txt"},
    "streaming": {
        "Response": flask.Response,
        "channel": "news",
        "data": "news",
        "generate": lambda: iter(["1,2"]),
        "rows": [(1, 2)],
    },
    "webcache": {
        "Response": flask.Response,
        "backend": SimpleCache(),
        "cache_control": modifiers.cache_control,
        "cache_for": modifiers.cache_for,
        "config": storage.Config(),
        "dispatch": print,
        "make_key": str,
        "tag": "news",
        **vars(storage),
        **vars(recache),
        **vars(validation),
    },
}


def check(row: Row, code: str, found: dict[str, Any]) -> None:
    """Check one piece of code, after its kind."""
    setting, _, value = code.partition(" = ")
    if KEY.fullmatch(setting):
        check_setting(row.package, setting, value, found["extended"].config)
    elif code.startswith("flask "):
        runner = found["extended"].test_cli_runner()
        result = runner.invoke(args=shlex.split(code)[1:])
        assert (result.exit_code, bool(result.output)) == (0, True), result.output
    elif HEADER.fullmatch(code):
        assert any(
            code.lower() in path.read_text().lower() for path in row.package.modules
        )
    elif DOTTED.fullmatch(code) and code.startswith("flask_"):
        path, _, name = code.rpartition(".")
        assert hasattr(importlib.import_module(path), name)
    elif code.isidentifier():
        assert code in found or any(hasattr(it, code) for it in found.values())
    else:
        exec(code.removeprefix("@"), found)


def check_setting(
    package: Package, key: str, value: str, config: Mapping[str, Any]
) -> None:
    """Check that a key is known, and takes the value."""
    if not key.startswith(package.prefix):
        assert key in flask.Flask("other").config
        return
    assert key in package.config_fields
    if value:
        package.config.from_mapping({**config, key: ast.literal_eval(value)})


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("row", list(rows()), ids=str)
def test_row(row: Row, tmp_path: Path) -> None:
    """The names in the last cell exist, and its code runs."""
    first, *between, last = row.cells
    if between:
        (key,) = codes(first)
        default = row.package.config_fields[key].default
        assert ast.literal_eval(codes(last)[0]) == default
        return
    same = codes(first) if last.startswith("the same") else []
    found = made(row.package, tmp_path)
    todo = codes(last) + same
    assert todo, "a row without a name cannot be checked"
    with found["extended"].test_request_context("/"):
        for code in todo:
            check(row, code, found)
