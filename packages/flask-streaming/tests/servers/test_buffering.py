"""nginx sends on at once what is shown while it arrives, and holds downloads back."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import harness


APP = Path(__file__).with_name("streams_app.py")


@pytest.fixture(scope="module")
def front() -> Iterator[harness.Server]:
    """Nginx as it is by default."""
    with (
        harness.gunicorn(APP, worker="gthread") as server,
        harness.nginx(f"location / {{ proxy_pass {server.url}; }}") as front,
    ):
        yield front


@pytest.mark.parametrize("kind", ["template", "generator"])
def test_slow_stream_is_sent_on(front: harness.Server, kind: str) -> None:
    """The first part arrives while the view waits for the client to say so."""
    client = partial(http.client.HTTPConnection, "127.0.0.1", front.port, timeout=60)
    with closing(client()) as connection, closing(client()) as other:
        connection.request("GET", f"/steps/{kind}")
        answer = connection.getresponse()
        assert answer.read(5) == b"first"
        other.request("POST", "/steps")
        assert other.getresponse().status == 204
        assert answer.read().endswith(b"last")
