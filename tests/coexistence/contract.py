"""The contract beside every extension.

A module of this folder subclasses :class:`Coexists` for one extension, or for one way
of using it, and adds tests of what that extension alone promises. All run in four
set-ups: ours first or last, flask-webcache by hooks or fast.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import ClassVar

import flask
import pytest
from flask import Flask
from flask import got_request_exception
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from coexistence.five import FILE
from coexistence.five import LONG
from coexistence.five import SECRET
from coexistence.five import Five
from coexistence.five import configuration
from coexistence.five import form
from flask_streaming import ClientDisconnected
from flask_streaming import stream_finished
from flask_streaming.exceptions import StreamBroken
from harness.compatibility import Subject


#: What a hit has to say otherwise than the response that was stored.
OF_A_HIT = {"Age", "Cache-Status", "Date", "X-Cache"}


@dataclass(frozen=True)
class Setup:
    """The position of our extensions, and the mode of flask-webcache."""

    first: bool
    fast: bool

    def __str__(self) -> str:
        order = "first" if self.first else "last"
        return f"{order}-{'fast' if self.fast else 'hooks'}"


SETUPS = [Setup(first, fast) for first in (True, False) for fast in (False, True)]


def is_hit(response: TestResponse) -> bool:
    """Return whether the cache answered."""
    return "; hit" in response.headers.get("Cache-Status", "")


def lasting(
    response: TestResponse, *, besides: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """Return the header fields that a hit shares with the response that was stored.

    :param besides: further fields to leave out, in title case.
    """
    left_out = OF_A_HIT | besides
    return sorted((k, v) for k, v in response.headers if k.title() not in left_out)


def decoded(response: Response) -> bytes:
    """Return the body, decoded once as its one Content-Encoding says."""
    encodings = response.headers.getlist("Content-Encoding")
    assert len(encodings) <= 1
    if not encodings:
        return response.get_data()
    if encodings == ["gzip"]:
        return gzip.decompress(response.get_data())
    assert encodings == ["deflate"]
    return zlib.decompress(response.get_data())


@dataclass
class Failures:
    """The reports while a stream failed."""

    signalled: list[BaseException]
    finished: list[BaseException | None]
    logged: list[BaseException]


@contextmanager
def recorded(app: Flask, caplog: pytest.LogCaptureFixture) -> Iterator[Failures]:
    """Record what reports of failures there are."""
    found = Failures([], [], [])

    def signal(sender: Flask, exception: BaseException, **_: object) -> None:
        found.signalled.append(exception)

    def finish(sender: Flask, exception: BaseException | None, **_: object) -> None:
        found.finished.append(exception)

    caplog.clear()
    with (
        got_request_exception.connected_to(signal, app),
        stream_finished.connected_to(finish, app),
    ):
        yield found
    for record in caplog.records:
        if record.levelno >= logging.ERROR:
            error = record.exc_info and record.exc_info[1]
            found.logged.append(error or Exception(record.getMessage()))


class Coexists:
    """The contract; a subclass names its extension and attaches it."""

    subject: ClassVar[Subject]
    #: Options of :class:`Five`.
    options: ClassVar[Mapping[str, Any]] = {}
    #: Whether the page that is public to the cache is one beside this extension too.
    cacheable: ClassVar[bool] = True
    #: Fields that each visitor gets values of their own in, in title case.
    of_the_visitor: ClassVar[frozenset[str]] = frozenset()

    def make(self, directory: Path) -> Flask:
        """Make the app."""
        return flask.Flask(__name__, instance_path=str(directory / "instance"))

    def attach(self, app: Flask) -> None:
        """Set the extension up."""
        raise NotImplementedError

    def add_views(self, app: Flask, five: Five) -> None:
        """Add the views that this extension's own tests need."""

    @pytest.fixture(params=SETUPS, ids=str)
    def setup(self, request: pytest.FixtureRequest) -> Setup:
        """Each of the four set-ups."""
        setup: Setup = request.param
        return setup

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        """The extension's configuration."""
        return {}

    @pytest.fixture
    def stack(self) -> Iterator[ExitStack]:
        """Resources that end with the test."""
        with ExitStack() as stack:
            yield stack

    @pytest.fixture
    def five(self, setup: Setup) -> Five:
        """Our extensions."""
        return Five(fast=setup.fast, **self.options)

    @pytest.fixture
    def app(
        self, setup: Setup, five: Five, tmp_path: Path, config: dict[str, Any]
    ) -> Flask:
        """The application."""
        app = self.make(tmp_path)
        app.config.update(configuration(tmp_path), **config)
        steps = [five.init_app, self.attach]
        for step in steps if setup.first else reversed(steps):
            step(app)
        five.add_views(app)
        self.add_views(app, five)
        return app

    @pytest.fixture
    def client(self, app: Flask) -> FlaskClient:
        """A visitor."""
        return app.test_client()

    @pytest.mark.cell("flask-webcache")
    def test_hit(self, app: Flask) -> None:
        """The second visitor gets what the first one got, with the same fields."""
        first = app.test_client().get("/page")
        assert first.status_code == 200
        second = app.test_client().get("/page")
        if not self.cacheable:
            assert not is_hit(second)
            assert "run 2" in second.text
            return
        assert is_hit(second)
        assert decoded(second) == decoded(first)
        besides = self.of_the_visitor
        assert lasting(second, besides=besides) == lasting(first, besides=besides)

    @pytest.mark.cell("flask-webcache")
    def test_revalidation(self, client: FlaskClient) -> None:
        """A client that has the page gets a 304, from the view and from the cache."""
        client.get("/page")
        etag = client.get("/page").headers.get("ETag")
        if self.cacheable:
            again = client.get("/page", headers={"If-None-Match": etag})
            assert again.status_code == 304
            assert again.data == b""

    @pytest.mark.cell("flask-firehose")
    def test_links(self, app: Flask) -> None:
        """The page names its style sheet once, made or stored."""
        for _ in range(2):
            links = app.test_client().get("/page").headers.getlist("Link")
            assert len(links) == 1
            assert links[0].count("</static/style.css>") == 1

    @pytest.mark.cell("flask-kaccel")
    def test_download(self, client: FlaskClient) -> None:
        """A file is sent whole, in part, and not to a client that has it."""
        wants = {"Accept-Encoding": "gzip"}
        with client.get("/download", headers=wants) as whole:
            assert decoded(whole) == FILE
            assert whole.headers.getlist("Content-Disposition") == [
                "attachment; filename=data.bin"
            ]
            etag = whole.headers["ETag"]
        with client.get("/download", headers={"Range": "bytes=256-511"}) as part:
            assert part.status_code == 206
            assert part.data == FILE[256:512]
            assert part.headers["Content-Range"] == f"bytes 256-511/{len(FILE)}"
        with client.get("/download", headers={"If-None-Match": etag}) as again:
            assert again.status_code == 304

    @pytest.mark.cell("flask-kaccel")
    def test_handover(self, client: FlaskClient) -> None:
        """Only the server in front learns the file's path."""
        headers = {"X-Kaccel-Secret": SECRET, "Accept-Encoding": "gzip"}
        for _ in range(2):
            with client.get("/download", headers=headers) as handed:
                assert handed.headers.getlist("X-Accel-Redirect") == [
                    "/_files/data.bin"
                ]
                assert handed.data == b""
                assert "Content-Encoding" not in handed.headers
            with client.get("/download") as sent:
                assert "X-Accel-Redirect" not in sent.headers

    @pytest.mark.cell("flask-store")
    def test_upload(self, client: FlaskClient) -> None:
        """An upload is returned unchanged, and no browser runs it."""
        content = b"<script>alert(1)</script>" * 100
        url = self.upload(client, content)
        for _ in range(2):
            with client.get(url, headers={"Accept-Encoding": "gzip"}) as served:
                assert decoded(served) == content
                assert served.headers.getlist("X-Content-Type-Options") == ["nosniff"]
                policies = served.headers.getlist("Content-Security-Policy")
                assert any("sandbox" in policy for policy in policies)
                assert "attachment" in served.headers["Content-Disposition"]

    def upload(self, client: FlaskClient, content: bytes) -> str:
        """Upload a file and return its URL."""
        answer = client.post("/upload", data=form(content))
        assert answer.status_code == 200
        return answer.text

    @pytest.mark.cell("flask-streaming")
    def test_stream(self, client: FlaskClient) -> None:
        """A table arrives whole, is not stored, and sees its request to the end."""
        for cell in ("a", LONG):
            answer = client.get("/rows.csv", query_string={"cell": cell})
            assert decoded(answer) == f"0,{cell}\r\n1,{cell}\r\n2,{cell}\r\n".encode()
            assert not is_hit(answer)

    @pytest.mark.cell("flask-streaming")
    @pytest.mark.parametrize("path", ["/broken.csv", "/broken"])
    def test_failing_stream(
        self,
        app: Flask,
        client: FlaskClient,
        caplog: pytest.LogCaptureFixture,
        path: str,
    ) -> None:
        """A stream that fails is reported once, with the real error."""
        with (
            recorded(app, caplog) as reports,
            pytest.raises(StreamBroken, match="has logged why"),
        ):
            client.get(path).get_data()
        (error,) = reports.signalled
        assert repr(error) == "BrokenRowError('the database went away')"
        assert reports.logged == [error]
        assert reports.finished == [error]

    @pytest.mark.cell("flask-streaming")
    def test_left_stream(
        self, app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A stream ends when its client leaves, and that is not a failure."""
        with recorded(app, caplog) as reports:
            answer = client.get("/rows.csv")
            assert next(answer.iter_encoded())
            answer.close()
        (end,) = reports.finished
        assert isinstance(end, ClientDisconnected)
        assert reports.signalled == []
        assert reports.logged == []

    @pytest.mark.cell("flask-streaming")
    def test_events(self, app: Flask, five: Five, client: FlaskClient) -> None:
        """A listener gets what is published."""
        answer = client.get("/events")
        assert answer.mimetype == "text/event-stream"
        assert "Content-Encoding" not in answer.headers
        blocks = answer.iter_encoded()
        with app.app_context():
            five.streaming.publish("news", "hello")
        received = b""
        for _ in range(10):
            received += next(blocks)
            if b"data: hello" in received:
                break
        assert b"data: hello" in received
        answer.close()
