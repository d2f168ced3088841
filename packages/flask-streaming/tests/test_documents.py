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
from flask_streaming import _documents as documents
from flask_streaming import stream_json
from flask_streaming import stream_ndjson
from flask_streaming._documents import blocks
from flask_streaming._documents import document_parts
from flask_streaming._documents import lines


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def dumps(value: Any) -> bytes:
    """Encode with the standard library."""
    return json.dumps(value).encode()


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
    assert json.loads(b"".join(document_parts(iter(items), [dumps]))) == items


@given(st.lists(VALUES, max_size=40))
def test_lines(items: list[Any]) -> None:
    """Each item is a line."""
    text = b"".join(blocks(items, lines, [dumps])).decode()
    assert [json.loads(line) for line in text.split("\n")[:-1]] == items


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_mapping(document: dict[str, Any]) -> None:
    """A mapping comes back, with the iterables in it as arrays."""
    streamed = {
        key: iter(value) if isinstance(value, list) else value
        for key, value in document.items()
    }
    assert json.loads(b"".join(document_parts(streamed, [dumps]))) == document


def test_keys_are_strings() -> None:
    """JSON has no other keys."""
    with pytest.raises(TypeError, match="The key 1 is no string"):
        list(document_parts({1: 2}, [dumps]))


def test_blocks_follow_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small items come in many, large ones alone, slow ones at once."""
    small = [len(block.split()) for block in blocks([1] * 2000, lines, [dumps])]
    assert small[:5] == [8, 16, 32, 64, 128]
    assert max(small) == documents.BLOCK_ITEMS
    large = ["x" * 20_000] * 20
    assert [block.count(b"\n") for block in blocks(large, lines, [dumps])][1:] == [
        1
    ] * 12
    clock = iter(range(100))
    monkeypatch.setattr(documents, "monotonic", lambda: next(clock))
    slow = [block.count(b"\n") for block in blocks([1] * 5, lines, [dumps])]
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


def test_nan_is_never_sent(app: Flask, request: pytest.FixtureRequest) -> None:
    """NaN is no JSON: an error, or null where orjson writes it."""
    if "orjson" in request.node.name:
        assert body(app, stream_json, [float("nan")]) == "[null]"
    else:
        with pytest.raises(ValueError, match="not JSON compliant"):
            body(app, stream_json, [float("nan")])


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
