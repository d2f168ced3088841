"""The headers of streamed responses, and their first block."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import before_render_template
from flask import template_rendered
from flask.testing import FlaskClient

from flask_streaming import SetupError
from flask_streaming import Streaming
from flask_streaming import stream_csv
from flask_streaming import stream_json
from flask_streaming import stream_ndjson
from flask_streaming import stream_template_string
from flask_streaming import stream_zip


@pytest.fixture
def app() -> Flask:
    """An app with the extension, and a page for an error."""
    app = Flask(__name__)
    Streaming(app)
    app.register_error_handler(
        LookupError, lambda error: ({"error": error.args[0]}, 503)
    )
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


def failing() -> Iterator[Any]:
    """Fail before the first item."""
    databases: dict[str, Any] = {}
    yield databases["no database"]


FORMATS = [
    pytest.param(stream_csv, "text/csv", id="csv"),
    pytest.param(stream_json, "application/json", id="json"),
    pytest.param(stream_ndjson, "application/x-ndjson", id="ndjson"),
    pytest.param(stream_zip, "application/zip", id="zip"),
]


@pytest.mark.parametrize(("make", "mimetype"), FORMATS)
def test_formats(
    app: Flask, client: FlaskClient, make: Callable[..., Response], mimetype: str
) -> None:
    """Each has its type, is streamed, and may be empty."""
    app.add_url_rule("/", "view", lambda: make([]))
    with client.get("/") as response:
        assert response.mimetype == mimetype
        assert response.is_streamed
        # Only an archive knows its length in advance.
        assert ("Content-Length" in response.headers) == (make is stream_zip)
        assert "Content-Disposition" not in response.headers


@pytest.mark.parametrize(("make", "mimetype"), FORMATS)
def test_early_error(
    app: Flask, client: FlaskClient, make: Callable[..., Response], mimetype: str
) -> None:
    """An error before the first block goes to the app's error handler."""
    app.add_url_rule("/", "view", lambda: make(failing()))
    response = client.get("/")
    assert response.status_code == 503
    assert response.json == {"error": "no database"}


def test_early_error_in_template(app: Flask, client: FlaskClient) -> None:
    """So for a template."""
    source = "{% for row in rows %}{{ row }}{% endfor %}"
    app.add_url_rule(
        "/", "view", lambda: stream_template_string(source, rows=failing())
    )
    assert client.get("/").status_code == 503
    with client.head("/") as response:
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "attachment; filename=a.csv"),
        ('a "b".csv', 'attachment; filename="a \\"b\\".csv"'),
        ("Zoë.csv", "attachment; filename=Zoe.csv; filename*=UTF-8''Zo%C3%AB.csv"),
        ("名.csv", "attachment; filename=.csv; filename*=UTF-8''%E5%90%8D.csv"),
    ],
    ids=["plain", "quotes", "accent", "other-script"],
)
def test_download_name(app: Flask, name: str, expected: str) -> None:
    """The name arrives whatever its letters are."""
    with app.test_request_context(), stream_csv([], download_name=name) as response:
        assert response.headers["Content-Disposition"] == expected


def test_download_name_cannot_add_a_header(app: Flask) -> None:
    """A line end in a name ends no header."""
    name = "a\r\nSet-Cookie: b=c"
    with app.test_request_context(), stream_csv([], download_name=name) as response:
        assert response.headers["Content-Disposition"] == (
            'attachment; filename="aSet-Cookie: b=c"; '
            "filename*=UTF-8''a%0D%0ASet-Cookie%3A%20b%3Dc"
        )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 2025 00:00:00 GMT"}, 200),
        ({"If-None-Match": 'W/"v1"'}, 304),
        ({"If-None-Match": '"v0"'}, 200),
        ({"If-Match": '"v0"'}, 412),
    ],
    ids=["none", "unmodified", "modified", "same", "other", "no-match"],
)
def test_conditions(
    app: Flask, client: FlaskClient, headers: dict[str, str], status: int
) -> None:
    """Conditions are checked before any row is read."""
    read = []

    def rows() -> Iterator[list[int]]:
        read.append(True)
        yield [1]

    app.add_url_rule(
        "/",
        "view",
        lambda: stream_csv(
            rows(), etag="v1", last_modified=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        ),
    )
    with client.get("/", headers=headers) as response:
        assert response.status_code == status
        assert bool(read) == (status == 200)
        assert response.get_data() == (b"1\r\n" if status == 200 else b"")


def test_zip(app: Flask, client: FlaskClient) -> None:
    """A whole archive arrives."""
    app.add_url_rule("/", "view", lambda: stream_zip([("a", [b"x"])], compress=True))
    with client.get("/") as response:
        archive = zipfile.ZipFile(io.BytesIO(response.get_data()))
    assert archive.read("a") == b"x"


def test_template_signals(app: Flask) -> None:
    """Both of Flask's signals are sent, and no request is needed."""
    sent: list[str] = []

    def before(sender: Flask, **_: Any) -> None:
        sent.append("before")

    def rendered(sender: Flask, **_: Any) -> None:
        sent.append("rendered")

    with (
        before_render_template.connected_to(before, app),
        template_rendered.connected_to(rendered, app),
        app.app_context(),
    ):
        stream = stream_template_string("{% for i in 'a' %}{{ i }}{% endfor %}")
        assert sent == ["before"]
        assert list(stream) == ["a"]
        assert sent == ["before", "rendered"]


def test_template_is_closed(app: Flask) -> None:
    """The iterator of the template is closed with it."""
    closed = []

    def rows() -> Iterator[int]:
        try:
            yield from range(10_000)
        finally:
            closed.append(True)

    with app.test_request_context():
        stream = stream_template_string(
            "{% for row in rows %}{{ row }}{% endfor %}", rows=rows()
        )
        next(stream)
        stream.close()
    assert closed == [True]


def test_setup_is_needed() -> None:
    """Without the extension, its functions say what to do."""
    with (
        Flask(__name__).test_request_context(),
        pytest.raises(SetupError, match=r"call Streaming\(\).init_app\(app\) first"),
    ):
        stream_csv([])
