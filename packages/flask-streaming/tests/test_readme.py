"""Every sample of the README runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_streaming.config import Config


README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the samples define, one after the other."""
    found: dict[str, Any] = {"__name__": __name__}
    for sample in re.findall("```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(sample, found)
    return found


@pytest.fixture
def client(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of the samples' app."""
    monkeypatch.chdir(README.parent)
    client: FlaskClient = names["app"].test_client()
    return client


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("/people.csv", b"id,name\r\n0,Person 0\r\n1,Person 1\r\n"),
        ("/export/csv", "\ufeffid;name\r\n1;Ada\r\n2;'=1+1\r\n".encode()),
        ("/export/json", b'{"people":[{"id":1,"name":"Ada"},'),
        ("/export/ndjson", b'{"id":1,"name":"Ada"}\n'),
        ("/export/zip", b"PK"),
        ("/large.html", b"<p>Ada<p>=1+1"),
        ("/numbers?count=3", b"0\n1\n2\n"),
        ("/progress", b"retry: 2000\n\n"),
        ("/search", b"0\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_samples(client: FlaskClient, path: str, start: bytes) -> None:
    """Each address of the samples answers."""
    with client.get(path) as response:
        first: Any = next(iter(response.response))
        assert first.startswith(start)


def test_configuration_table() -> None:
    """The table is made from the keys."""
    assert Config.table() in README.read_text()


def test_events(client: FlaskClient) -> None:
    """An event that is published arrives."""
    with client.get("/events") as response:
        parts: Any = iter(response.response)
        assert b"\nevent: position\n" in next(parts)
        client.post("/news", data="Hello")
        assert next(parts).endswith(b"\ndata: Hello\n\n")
