"""The decorators of views."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import abort
from flask import after_this_request
from werkzeug.test import TestResponse

from flask_webcache import modifiers


def decorated(decorator: Any, view: Any = lambda: "body") -> TestResponse:
    """Return what a decorated view responds."""
    app = Flask(__name__)
    app.add_url_rule("/", "view", decorator(view))
    return app.test_client().get("/")


def test_cache_for() -> None:
    """The response is fresh for the time, in both spellings."""
    response = decorated(modifiers.cache_for(minutes=2, seconds=5))
    assert response.cache_control.max_age == 125
    assert response.expires is not None
    assert "body" in response.text


def test_cache_for_is_per_request() -> None:
    """Whatever a view returns becomes a response, with its own fields kept."""
    response = decorated(
        modifiers.cache_for(hours=1),
        lambda: ({"a": 1}, 404, {"Cache-Control": "public"}),
    )
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "public, max-age=3600"


def test_serializer_above() -> None:
    """A decorator above it gets the value of the view, not a response."""

    def schema(view: Any) -> Any:
        return lambda: {"name": view()["name"]}

    cached = modifiers.cache_for(minutes=1)
    leaky = {"name": "ada", "password_hash": "x"}
    response = decorated(lambda view: schema(cached(view)), lambda: leaky)
    assert response.get_json() == {"name": "ada"}
    assert response.cache_control.max_age == 60


def test_async_view() -> None:
    """An async view stays one."""

    async def view() -> str:
        return "body"

    assert iscoroutinefunction(modifiers.cache_for(minutes=1)(view))


@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ({"public": True, "max_age": 60}, "public, max-age=60"),
        ({"stale_while_revalidate": 30}, "stale-while-revalidate=30"),
        ({"no_store": True, "private": False, "s_maxage": None}, "no-store"),
        ({"max_age": 0}, "max-age=0"),
        ({"no_cache": "Set-Cookie, X"}, 'no-cache="Set-Cookie, X"'),
        ({"extensions": {"community": "UCI"}}, "community=UCI"),
    ],
    ids=str,
)
def test_cache_control(directives: dict[str, Any], expected: str) -> None:
    """Directives are written as they are meant."""
    response = decorated(modifiers.cache_control(**directives))
    assert response.headers["Cache-Control"] == expected


def test_cache_control_changes_what_is_there() -> None:
    """False removes what the view said."""
    response = decorated(
        modifiers.cache_control(private=False, max_age=5),
        lambda: ("", {"Cache-Control": "private, max-age=1, no-transform"}),
    )
    assert response.headers["Cache-Control"] == "max-age=5, no-transform"


@pytest.mark.parametrize(
    ("name", "match"),
    [("maxage", "maxage is no directive, did you mean max_age"),
     ("x", "x is no directive: pass it in extensions")],
)  # fmt: skip
def test_unknown_directive(name: str, match: str) -> None:
    """A directive that there is not is refused, naming the nearest."""
    misspelt: Any = {name: 60}
    with pytest.raises(TypeError, match=match):
        modifiers.cache_control(**misspelt)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: modifiers.cache_for(seconds=-1), "duration is"),
        (lambda: modifiers.cache_control(max_age=-1), "max-age is -1"),
        (
            lambda: modifiers.cache_control(extensions={"x": "a, no-store"}),
            "x is 'a, no-store'",
        ),
        (lambda: modifiers.cache_control(extensions={"x": "a\r\nb"}), "x is"),
        (lambda: modifiers.cache_control(no_cache="a\r\nb"), "no-cache is"),
        (
            lambda: modifiers.cache_control(extensions={"a b": True}),
            "'a b' is no directive",
        ),
    ],
)
def test_mistakes(make: Any, match: str) -> None:
    """A directive that cannot be sent is refused where it is written."""
    with pytest.raises(ValueError, match=match):
        make()


def test_before_what_the_view_registers() -> None:
    """Functions that a view registers for its response see its cache headers."""
    seen = []

    def view() -> str:
        @after_this_request
        def look(response: Response) -> Response:
            seen.append(response.cache_control.max_age)
            return response

        return "body"

    decorated(modifiers.cache_for(minutes=1), view)
    assert seen == [60]


def test_view_that_fails() -> None:
    """The page of an error is not made fresh."""

    def view() -> str:
        abort(404)

    response = decorated(modifiers.cache_for(minutes=1), view)
    assert response.status_code == 404
    assert response.cache_control.max_age is None
