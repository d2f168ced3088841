"""The three patterns that the Flask documentation teaches, as it writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient
from jinja2 import DictLoader

from flask_streaming import Streaming
from flask_streaming import stream_template
from flask_streaming import stream_with_context


ROWS = [["1", "Ada"], ["2", "Grace"]]


@pytest.fixture
def app() -> Flask:
    """An app with the extension and a template of many items."""
    app = Flask(__name__)
    app.jinja_env.loader = DictLoader(
        {"the_template.html": "{% for row in rows %}{{ row }};{% endfor %}"}
    )
    Streaming(app)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


def test_csv_loop(app: Flask, client: FlaskClient) -> None:
    """A generator given to a response is left alone: one yield is one chunk."""

    @app.route("/large.csv")
    def generate_large_csv() -> Response:
        def generate() -> Iterator[str]:
            for row in ROWS:
                yield ",".join(row) + "\n"

        return Response(generate(), mimetype="text/csv")

    with client.get("/large.csv") as response:
        assert list(response.response) == [b"1,Ada\n", b"2,Grace\n"]
        assert response.mimetype == "text/csv"


@pytest.mark.parametrize("wrapped", [True, False], ids=["Response", "returned"])
def test_template(app: Flask, client: FlaskClient, wrapped: bool) -> None:
    """A streamed template can be wrapped or returned, and sees the app's context."""
    app.context_processor(lambda: {"rows": [7, 8]})

    @app.route("/page")
    def page() -> Any:
        stream = stream_template("the_template.html")
        return Response(stream) if wrapped else stream

    with client.get("/page") as response:
        assert response.get_data(as_text=True) == "7;8;"
        assert response.mimetype == "text/html"


def test_template_buffering(app: Flask) -> None:
    """Groups of 5 items sit below the chunks; without buffering, an item is one."""
    with app.test_request_context():
        stream = stream_template("the_template.html", rows=range(9))
        assert "".join(stream) == "0;1;2;3;4;5;6;7;8;"
        stream = stream_template("the_template.html", rows=range(9000))
        first = next(stream)
        assert 1024 <= len(first) < 1100
        stream.enable_buffering(500)
        assert len(next(stream)) > 1100
        stream.disable_buffering()
        assert len(next(stream)) < 6
        with pytest.raises(ValueError, match="buffer size too small"):
            stream.enable_buffering(1)


@pytest.mark.parametrize("decorated", [True, False], ids=["decorator", "wrapper"])
def test_context(app: Flask, client: FlaskClient, decorated: bool) -> None:
    """The request is available while the generator runs."""

    def generate() -> Iterator[str]:
        yield "Hello "
        yield request.args["name"]
        yield "!"

    @app.route("/stream")
    def streamed_response() -> Response:
        if decorated:
            return Response(stream_with_context(generate)())
        return Response(stream_with_context(generate()))

    with client.get("/stream?name=Ada") as response:
        assert response.get_data(as_text=True) == "Hello Ada!"


def test_context_is_missing(app: Flask, client: FlaskClient) -> None:
    """Without the helper, a generator that needs the request fails."""
    app.testing = True

    @app.route("/stream")
    def streamed_response() -> Response:
        return Response(request.args[name] for name in ["name"])

    with pytest.raises(RuntimeError, match="outside of request context"):
        client.get("/stream?name=Ada").close()
