"""Types that users need for annotations can be imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import get_args
from typing import get_type_hints

import pytest

import flask_streaming


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield public functions, and the methods of the extension."""
    for name in flask_streaming.__all__:
        found = getattr(flask_streaming, name)
        if inspect.isfunction(found):
            yield name, found
    for name, found in inspect.getmembers(flask_streaming.Streaming):
        if inspect.isfunction(found) and not name.startswith("_"):
            yield name, found


def classes(annotation: Any) -> Iterator[type]:
    """Yield the classes in an annotation."""
    for each in get_args(annotation):
        yield from classes(each)
    if isinstance(annotation, type):
        yield annotation


@pytest.mark.parametrize(
    "function", [found for _, found in methods()], ids=[name for name, _ in methods()]
)
def test_returned_types_are_public(function: Callable[..., Any]) -> None:
    """A type of ours that is returned can be written in an annotation."""
    for kind in classes(get_type_hints(function)["return"]):
        if kind.__module__.startswith("flask_streaming"):
            assert kind.__name__ in flask_streaming.__all__
            assert getattr(flask_streaming, kind.__name__) is kind
