"""Natural mistakes, each reported where it is made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flask_firehose import ConfigError
from flask_firehose import Connector
from flask_firehose import Firehose
from flask_firehose import LinkError
from flask_firehose import hints
from flask_firehose import prefetchable
from flask_firehose import push
from flask_firehose import send_early_hints
from flask_firehose import static


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that this package has logged."""
    return [it.getMessage() for it in caplog.records if it.name == "flask_firehose"]


@pytest.fixture
def app() -> Flask:
    """An app on which the extension is set up."""
    app = Flask(__name__)
    Firehose(app)
    return app


def test_hints_above_the_route(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Hints that the app does not know are told at the first request, once."""

    @hints("/static/a.css")
    @app.get("/wrong")
    def wrong() -> str:
        return "<p>"

    @app.get("/right")
    @hints("/static/a.css")
    def right() -> str:
        return "<p>"

    with caplog.at_level(logging.WARNING, "flask_firehose"):
        for _ in range(2):
            assert "Link" in app.test_client().get("/right").headers
            assert "Link" not in app.test_client().get("/wrong").headers
    assert warnings(caplog) == [
        "@hints is above the route of 'wrong', so the app registered the view without "
        "it: put @hints below @app.route"
    ]


def test_hints_of_methods(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Hints on the method of a class-based view stand where they should."""

    class View(MethodView):
        @hints("/static/a.css")
        def get(self) -> str:
            return "<p>"

    app.add_url_rule("/", view_func=View.as_view("view"))
    assert "Link" in app.test_client().get("/").headers
    assert not warnings(caplog)


def test_hints_without_a_call(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A decorator that was not called is reported before it fails as a view."""
    bare: Any = hints
    app.add_url_rule("/", view_func=bare(lambda: "<p>"))
    assert app.test_client().get("/").status_code == 500
    assert warnings(caplog) == [
        "the view 'decorate' is @hints itself: write @hints(...)"
    ]


def test_each_app_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """Two apps of one process are looked at when each has its first request."""
    for name in ("one", "two"):
        app = Flask(name)
        Firehose(app)
        hints("/a.css")(app.get("/", endpoint=name)(lambda: "<p>"))
        app.test_client().get("/")
    one, two = warnings(caplog)
    assert "'one'" in one
    assert "'two'" in two


anything: Any = None
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "a class": (lambda: hints("/a.css")(MethodView), "view is .*: put @hints on the m"),
    "public": (lambda: hints("/a", public=anything), "public is None: use True or F"),
    "learn": (lambda: hints("/a", learn=anything), "learn is None: use True or False"),
    "a list": (lambda: hints(["/a", "/b"]), "hint is .'/a', '/b'.: use a URL"),  # type: ignore[arg-type]
    "a file": (lambda: static(anything), "filename is None: use a path below"),
    "its as": (lambda: static("a.css", as_="stlye"), "as is 'stlye': use audio"),  # type: ignore[arg-type]
    "its name": (
        lambda: static("a.css", crossorgin=True),  # type: ignore[call-arg]
        "crossorgin is True: unknown attribute .did you mean 'crossorigin'",
    ),
    "a number": (lambda: prefetchable(5), "view is 5: put @prefetchable above"),  # type: ignore[call-overload]
    "a flag": (
        lambda: prefetchable(prerender=anything),
        "prerender is None: use True or False",
    ),
}


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.values(), ids=MISTAKES)
def test_refused_at_start(mistake: Callable[[], object], message: str) -> None:
    """A mistake that no request could change is refused where it is written."""
    with pytest.raises(LinkError, match=f"^{message}"):
        mistake()


@pytest.mark.parametrize("lifetime", [0, -5, "5", 1.5, True, None], ids=str)
def test_lifetime(lifetime: Any) -> None:
    """A lifetime is a number of seconds."""
    with pytest.raises(ConfigError, match=r"^lifetime is .*: use whole seconds"):
        Connector(lifetime=lifetime)


def test_pushed_mistakes(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong push never breaks a request; the log names the argument."""

    @app.get("/")
    def view() -> str:
        push(anything)
        push("/a.css", as_="stlye")  # type: ignore[arg-type]
        push("/a.css", crossorgin=True)  # type: ignore[call-arg]
        push("/a.css", fetchpriority="highest")  # type: ignore[arg-type]
        push("/a.css", "nopsh")  # type: ignore[arg-type]
        send_early_hints(["/a.css"])  # type: ignore[arg-type]
        return "<p>"

    response = app.test_client().get("/")
    assert (response.text, "Link" in response.headers) == ("<p>", False)
    told = [line.partition("failed: ")[2] for line in warnings(caplog)]
    for line, words in zip(
        told,
        [
            "url is None: push a string",
            "as is 'stlye': use audio, document",
            "crossorgin is True: unknown attribute (did you mean 'crossorigin'?); use",
            "fetchpriority is 'highest': use high, low, auto",
            "nopsh is True: unknown attribute (did you mean 'nopush'?)",
            "url is ['/a.css']: push a string",
        ],
        strict=True,
    ):
        assert line.startswith(words)
