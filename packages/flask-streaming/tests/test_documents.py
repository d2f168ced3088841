"""Items as JSON."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask.json.provider import JSONProvider
from hypothesis import given
from hypothesis import strategies as st

from flask_streaming import Streaming
from flask_streaming import _chunks as chunks
from flask_streaming import _documents as documents
from flask_streaming import stream_json
from flask_streaming import stream_ndjson
from flask_streaming._documents import Encoder
from flask_streaming._documents import document_parts
from flask_streaming._documents import line_parts


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


#: Encodes with the standard library.
DUMPS = Encoder(lambda value: json.dumps(value).encode())


@pytest.fixture(params=["orjson", "json"])
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app, with orjson and without."""
    if request.param == "orjson":
        pytest.importorskip("orjson")
    else:
        monkeypatch.setitem(sys.modules, "orjson", None)
    app = Flask(__name__)
    Streaming(app)
    return app


def body(app: Flask, make: Any, *args: Any) -> str:
    """Return the body of a streamed response."""
    with app.test_request_context(), make(*args) as response:
        text: str = response.get_data(as_text=True)
        return text


@given(st.lists(VALUES, max_size=40))
def test_array(items: list[Any]) -> None:
    """An array comes back as it was, however it was cut."""
    assert json.loads(b"".join(document_parts(iter(items), [DUMPS]))) == items


@given(st.lists(VALUES, max_size=40))
def test_lines(items: list[Any]) -> None:
    """Each item is a line."""
    text = b"".join(line_parts(items, [DUMPS])).decode()
    assert [json.loads(line) for line in text.split("\n")[:-1]] == items


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_mapping(document: dict[str, Any]) -> None:
    """A mapping comes back, with the iterables in it as arrays."""
    streamed = {
        key: iter(value) if isinstance(value, list) else value
        for key, value in document.items()
    }
    assert json.loads(b"".join(document_parts(streamed, [DUMPS]))) == document


def test_keys_are_strings() -> None:
    """JSON has no other keys."""
    with pytest.raises(TypeError, match="The key 1 is not a string"):
        list(document_parts({1: 2}, [DUMPS]))


def test_blocks_follow_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small items come in many, large ones alone, slow ones at once."""
    small = [len(block.split()) for block in line_parts([1] * 2000, [DUMPS])]
    assert small[:5] == [8, 16, 32, 32, 32]
    assert max(small) == documents.MOST
    large = ["x" * 20_000] * 20
    assert [block.count(b"\n") for block in line_parts(large, [DUMPS])][1:] == [1] * 12
    clock = iter(range(100))
    monkeypatch.setattr(chunks, "monotonic", lambda: next(clock))
    slow = [block.count(b"\n") for block in line_parts([1] * 5, [DUMPS])]
    assert slow == [1] * 5


def test_app_decides(app: Flask) -> None:
    """Dates, and what the app's own function knows, look as in ``jsonify``."""
    item = {
        "day": dt.date(2026, 1, 1),
        "huge": 2**70,
        "half": "\ud800",
        "name": "Zoë",
        "keys": {1: 2},
    }
    expected = json.loads(app.json.dumps(item))
    assert json.loads(body(app, stream_ndjson, [item])) == expected
    assert json.loads(body(app, stream_json, [item] * 20)) == [expected] * 20


def test_own_default(app: Flask) -> None:
    """A function of the app's own is used for what JSON does not know."""
    app.json.default = lambda value: f"<{value}>"  # type: ignore[attr-defined]
    assert json.loads(body(app, stream_json, [1 + 2j])) == ["<(1+2j)>"]


def test_own_provider(app: Flask) -> None:
    """A provider that writes in its own way does so here, one item in one line."""

    class Indenting(DefaultJSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return json.dumps(obj, indent=2)

    class Whole(JSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return json.dumps(obj)

    for provider in (Indenting, Whole):
        app.json = provider(app)
        assert json.loads(body(app, stream_json, {"a": [1, 2]})) == {"a": [1, 2]}
        text = body(app, stream_ndjson, [{"a": [1, 2]}] * 2)
        assert [json.loads(line) for line in text.splitlines()] == [{"a": [1, 2]}] * 2


def test_nan_is_null(app: Flask) -> None:
    """NaN and the infinities are null with orjson and without, also in what a function
    of the app's own returns.
    """
    app.json.default = lambda value: [value.real, float("nan")]  # type: ignore[attr-defined]
    item = {"a": (float("nan"), 1.5), "b": [float("inf"), {"c": float("-inf")}]}
    null = {"a": [None, 1.5], "b": [None, {"c": None}]}
    assert json.loads(body(app, stream_json, [item, 2**70])) == [null, 2**70]
    assert body(app, stream_json, [1j, float("nan")]) == "[[0.0,null],null]"


class Model:
    """A model that yields its fields, as pydantic's do."""

    def __iter__(self) -> Iterator[tuple[str, int]]:
        yield "x", 1


def test_models_are_values(app: Flask) -> None:
    """An iterable object that the app can encode is encoded, not taken apart."""
    app.json.default = lambda value: dict(value)  # type: ignore[attr-defined]
    document = {"model": Model(), "items": (Model() for _ in range(2))}
    assert json.loads(body(app, stream_json, document)) == {
        "model": {"x": 1},
        "items": [{"x": 1}, {"x": 1}],
    }


@pytest.mark.parametrize(
    "values",
    [[1], (1,), {1}, range(1, 2), {"a": 1}.values()],
    ids=["list", "tuple", "set", "range", "values"],
)
def test_arrays_in_a_document(app: Flask, values: Any) -> None:
    """Every kind of collection in a document is an array."""
    assert body(app, stream_json, {"items": values}) == '{"items":[1]}'


@pytest.mark.parametrize("make", [stream_json, stream_ndjson])
@pytest.mark.parametrize("wrong", ["abc", b"abc", 3])
def test_items_are_checked(app: Flask, make: Any, wrong: Any) -> None:
    """Text, and objects that are not iterable, are refused in the view."""
    with pytest.raises(TypeError, match=f"is {wrong!r}: pass an iterable"):
        body(app, make, wrong)


def test_lines_of_a_mapping(app: Flask) -> None:
    """A mapping has no lines: its keys alone would be sent."""
    with pytest.raises(TypeError, match=r"^items is a mapping: pass an iterable"):
        body(app, stream_ndjson, {"a": 1})


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"items": items}])
def test_brackets_stay_open(app: Flask, wrap: Any) -> None:
    """After an error no parser takes the part for the whole."""

    def items() -> Iterator[int]:
        yield from range(10_000)
        raise OSError("gone")

    parts: list[Any] = []
    with app.test_request_context(), stream_json(wrap(items())) as response:
        stream = iter(response.response)
        with pytest.raises(OSError, match="gone"):
            parts.extend(stream)
    assert parts
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(b"".join(parts))
