"""Async iterables as streams."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient

from flask_streaming import Streaming
from flask_streaming import buffered
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_streaming import stream_json
from flask_streaming import stream_ndjson
from flask_streaming import stream_with_context
from flask_streaming import stream_zip


@pytest.fixture
def closed() -> list[str]:
    """The sources that were closed."""
    return []


@pytest.fixture
def client(closed: list[str]) -> FlaskClient:
    """A client of an app that streams what async generators yield."""
    app = Flask(__name__)
    Streaming(app)

    async def items() -> AsyncIterator[Any]:
        # A task of the loop, and the request's context.
        later = asyncio.create_task(asyncio.sleep(0, request.args["q"]))
        try:
            yield [1]
            yield [await later]
            if "fail" in request.args:
                raise OSError("gone")
        finally:
            closed.append("items")

    async def text() -> AsyncIterator[str]:
        async for row in items():
            yield str(row[0])

    async def blocks() -> AsyncIterator[bytes]:
        async for part in text():
            yield part.encode()

    views: dict[str, Any] = {
        "csv": lambda: stream_csv(items()),
        "json": lambda: stream_json(items()),
        "document": lambda: stream_json({"items": items(), "page": 1}),
        "ndjson": lambda: stream_ndjson(items()),
        "zip": lambda: stream_zip([("a", blocks())]),
        "events": lambda: event_stream(items()),
        "buffered": lambda: Response(stream_with_context(buffered(text()))),
        "function": lambda: Response(stream_with_context(text)()),
    }

    @app.get("/<kind>")
    def view(kind: str) -> Any:
        return views[kind]()

    @app.get("/async/<kind>")
    async def async_view(kind: str) -> Any:
        await asyncio.sleep(0)
        return views[kind]()

    return app.test_client()


EXPECTED = {
    "csv": "1\r\nx\r\n",
    "json": '[[1],["x"]]',
    "document": '{"items":[[1],["x"]],"page":1}',
    "ndjson": '[1]\n["x"]\n',
    "events": 'data: [1]\n\ndata: ["x"]\n\n',
    "buffered": "1x",
    "function": "1x",
}


@pytest.mark.parametrize("prefix", ["", "async/"], ids=["view", "async-view"])
@pytest.mark.parametrize("kind", EXPECTED)
def test_formats(
    client: FlaskClient, closed: list[str], kind: str, prefix: str
) -> None:
    """Every format takes an async iterable, in views of both kinds."""
    if prefix:
        pytest.importorskip("asgiref")
    response = client.get(f"/{prefix}{kind}?q=x")
    assert response.text.endswith(EXPECTED[kind])
    assert closed == ["items"]


def test_archive(client: FlaskClient) -> None:
    """A member of an archive may be an async iterable."""
    archive = zipfile.ZipFile(io.BytesIO(client.get("/zip?q=x").data))
    assert archive.read("a") == b"1x"


def test_error_before_the_first_chunk(client: FlaskClient, closed: list[str]) -> None:
    """An error before the first chunk is an error page; the source is closed."""
    assert client.get("/csv?q=x&fail").status_code == 500
    assert client.get("/csv").status_code == 400
    assert closed == ["items"]


def test_client_that_leaves(client: FlaskClient, closed: list[str]) -> None:
    """A stream that is not read to its end closes its source."""
    response = client.get("/function?q=x")
    next(iter(response.iter_encoded()))
    response.close()
    assert closed == ["items"]


def test_gevent_is_refused() -> None:
    """In a process patched by gevent, an async iterable is refused in the view."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
from flask import Flask
from flask_streaming import Streaming, StreamingError, stream_csv

async def rows():
    yield [1]

app = Flask("app")
Streaming(app)
with app.test_request_context():
    try:
        stream_csv(rows())
    except StreamingError as error:
        print(error)
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("rows is an async iterable, and gevent cannot")


@pytest.mark.parametrize("wrong", ["news", b"news", 3])
def test_events_are_checked(client: FlaskClient, wrong: Any) -> None:
    """The name of a channel is not accepted as an iterable of events."""
    with (
        client.application.test_request_context(),
        pytest.raises(TypeError, match=f"^events is {wrong!r}: pass an iterable"),
    ):
        event_stream(wrong)


def test_sync_iterables_stay(client: FlaskClient) -> None:
    """A plain generator is used as it is."""

    def rows() -> Iterator[list[int]]:
        yield [1]

    with client.application.test_request_context(), stream_csv(rows()) as response:
        assert response.get_data(as_text=True) == "1\r\n"
