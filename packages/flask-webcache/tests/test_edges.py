"""Applications that use what WSGI and dictionaries allow, and few do."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask
from flask import request

from flask_webcache import WebCache
from flask_webcache.modifiers import cache_for


WSGI = Callable[[Any, Any], Iterable[bytes]]


def starts_late(inner: WSGI) -> WSGI:
    """Return middleware that starts its response with the first block."""

    def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
        yield from inner(environ, start_response)

    return middleware


def starts_last(inner: WSGI) -> WSGI:
    """Return middleware that has no block to start its response with."""

    def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
        b"".join(inner(environ, start_response))
        yield from ()

    return middleware


def writes(inner: WSGI) -> WSGI:
    """Return middleware that writes before its body."""

    def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: Any, *error: Any) -> Any:
            fields = [one for one in headers if one[0] != "Content-Length"]
            write = start_response(status, fields, *error)
            write(b"written, ")
            return write

        return inner(environ, start)

    return middleware


def writes_late(inner: WSGI) -> WSGI:
    """Return middleware that does both."""
    return starts_late(writes(inner))


@pytest.mark.parametrize(
    ("middleware", "body"),
    [
        (starts_late, "page"),
        (starts_last, ""),
        (writes, "written, page"),
        (writes_late, "written, page"),
    ],
)
def test_middleware_within_fast(middleware: Callable[[WSGI], WSGI], body: str) -> None:
    """A response is the same whenever it starts, and however it is written."""
    app = Flask(__name__)
    app.wsgi_app = middleware(app.wsgi_app)  # type: ignore[method-assign, assignment]
    WebCache(app, fast=True)

    @app.get("/")
    @cache_for(minutes=1)
    def page() -> str:
        return "page"

    for _ in range(2):
        response = app.test_client().get("/")
        assert response.status_code == 200
        assert response.text == body


def change(name: str) -> None:
    """Change the environment as a view may."""
    environ = request.environ
    match name:
        case "update":
            environ.update({"app.one": 1})
        case "|=":
            environ |= {"app.one": 1}
        case "setdefault":
            environ.setdefault("app.one", 1)
    assert environ["app.one"] == 1


@pytest.mark.parametrize("name", ["update", "|=", "setdefault"])
def test_notes_of_the_view(name: str) -> None:
    """What a view puts into the environment itself is nobody's identity."""
    app = Flask(__name__)
    WebCache(app)

    @app.get("/")
    @cache_for(minutes=1)
    def page() -> str:
        change(name)
        return "page"

    client = app.test_client()
    client.get("/")
    assert "; hit" in client.get("/").headers["Cache-Status"]


@pytest.mark.parametrize("name", ["popitem", "repr"])
def test_read_of_everything(name: str) -> None:
    """A view that reads the whole environment has read everybody's identity."""
    app = Flask(__name__)
    WebCache(app)

    @app.get("/")
    @cache_for(minutes=1)
    def page() -> str:
        if name == "popitem":
            request.environ.popitem()
        return repr(request.environ) and "page"

    client = app.test_client()
    client.get("/")
    assert "; hit" not in client.get("/").headers["Cache-Status"]


def test_fields_by_type() -> None:
    """The lists of a request's fields are those of Werkzeug."""
    app = Flask(__name__)
    WebCache(app)

    @app.get("/")
    def page() -> list[list[Any]]:
        headers = request.headers
        return [
            headers.getlist("X-Number"),
            headers.getlist("X-Number", type=int),
            headers.getlist("X-Word", type=int),
            headers.getlist("X-None"),
        ]

    response = app.test_client().get("/", headers={"X-Number": "1", "X-Word": "a"})
    assert response.json == [["1"], [1], [], []]
