"""The lines of Python behind each page, read from the demo's own source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import cast

from flask import Flask


PACKAGES = (
    "flask_kaccel",
    "flask_firehose",
    "flask_store",
    "flask_webcache",
    "flask_streaming",
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source."""

    number: int
    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A function without its docstring; marked is what calls an extension."""

    file: str
    lines: tuple[Line, ...]
    packages: tuple[str, ...]


def sources(app: Flask, others: Mapping[str, Callable[..., Any]]) -> dict[str, Source]:
    """Return the source of each view of the demo, by endpoint.

    :param others: the functions that answer for endpoints outside of the demo.
    """
    views = {**app.view_functions, **others}
    found = {name: inspect.unwrap(view) for name, view in views.items()}
    return {
        name: read(view)
        for name, view in found.items()
        if getattr(view, "__module__", "").startswith("demo.")
    }


def read(function: Callable[..., Any]) -> Source:
    """Return the source of a function."""
    text, first = inspect.getsourcelines(function)
    definition = cast("ast.FunctionDef", ast.parse("".join(text)).body[0])
    calls = dict(extension_calls(definition, inspect.getmodule(function)))
    left_out = docstring_lines(definition)
    lines = (
        Line(first + index, line.rstrip(), index + 1 in calls)
        for index, line in enumerate(text)
        if index + 1 not in left_out
    )
    file = Path(inspect.getfile(function))
    return Source(
        f"{file.parent.name}/{file.name}",
        tuple(lines),
        tuple(sorted({name.replace("_", "-") for name in calls.values()})),
    )


def extension_calls(
    definition: ast.FunctionDef, module: Any
) -> Iterator[tuple[int, str]]:
    """Yield the lines on which a name of an extension is used, and the extension."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Name):
            named = getattr(module, node.id, None)
            package = str(getattr(named, "__module__", "")).partition(".")[0]
            if package in PACKAGES:
                yield node.lineno, package


def docstring_lines(definition: ast.FunctionDef) -> range:
    """Return the lines of a function's docstring."""
    first = definition.body[0]
    if ast.get_docstring(definition) is None or len(definition.body) == 1:
        return range(0)
    return range(first.lineno, (first.end_lineno or first.lineno) + 1)
