"""Natural mistakes, in all five: each is met by an error that names it."""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import flask_firehose
import flask_kaccel
import flask_store
import flask_streaming
import flask_webcache
from flask_webcache.modifiers import cache_control
from flask_webcache.modifiers import cache_for


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """A fresh app, whose instance folder is temporary."""
    made = Flask(__name__, instance_path=str(tmp_path / "instance"))
    made.secret_key = "0123456789abcdef"
    return made


@pytest.mark.parametrize(
    ("extension", "key", "value", "words"),
    [
        (flask_store.Store, "STORE_PROVIDER", "s3", "STORE_PROVIDER is 's3': "),
        (
            flask_store.Store,
            "STORE_PROVIDER",
            "flask_store.providers.local.LocalProvider",
            "did you mean flask_store.stores.local.LocalStore",
        ),
        (flask_store.Store, "STORE_PRIVAT", True, "did you mean STORE_PRIVATE"),
        (flask_store.Store, "STORE_BUCKET", "a", "did you mean STORE_S3_BUCKET"),
        (flask_kaccel.Kaccel, "KACCEL_REDIRECT", "/a", "mean KACCEL_REDIRECT_PATH"),
        (flask_streaming.Streaming, "STREAMING_REDIS", "x", "mean STREAMING_REDIS_URL"),
        (
            flask_firehose.Firehose,
            "FIREHOSE_EARLYHINTS",
            True,
            "did you mean FIREHOSE_EARLY_HINTS",
        ),
        (flask_webcache.WebCache, "WEBCACHE_URL", "file:///proc/x", "WEBCACHE_URL is"),
        (flask_webcache.WebCache, "WEBCACHE_URL", "reddis://h", "redis"),
    ],
)
def test_configuration(
    app: Flask, extension: Any, key: str, value: object, words: str
) -> None:
    """A wrong key or value stops the app as it starts, and says what to set."""
    app.config[key] = value
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        extension(app)
    assert type(caught.value).__name__ == "ConfigError"


ARGUMENTS: list[tuple[Callable[[Flask], object], str]] = [
    (lambda app: flask_webcache.WebCache(app, config={}), "config is {}: "),  # type: ignore[arg-type]
    (
        lambda app: flask_webcache.easy_setup(app, "redis://h"),  # type: ignore[arg-type]
        "cache is of type 'str': ",
    ),
    (lambda _: cache_for(minute=5), "minute"),  # type: ignore[call-arg]
    (lambda _: cache_control(maxage=60), "maxage"),  # type: ignore[call-arg]
    (
        lambda app: (
            flask_store.Store(app)
            .Provider()
            .url(
                "a.txt",
                expires=dt.timedelta(hours=1),  # type: ignore[arg-type]
            )
        ),
        "expires is datetime.timedelta",
    ),
    (lambda _: flask_streaming.stream_csv([1]), "row is 1"),
    (lambda _: flask_streaming.stream_csv([[1]], header="id"), "header is 'id'"),
    (lambda _: flask_streaming.stream_csv([{"a": 1}, {"a": 1, "b": 2}]), "'b'"),
    (lambda _: flask_streaming.stream_ndjson({"a": 1}), "items is a mapping"),
    (lambda _: flask_streaming.event_stream("news"), "events is 'news'"),
    (lambda _: flask_streaming.buffered([{"a": 1}]), "part is {'a': 1}"),  # type: ignore[type-var]
]


def consume(result: Any) -> None:
    """Read what a response or an iterable has, as a server does."""
    body: Iterable[Any] = getattr(result, "response", result)
    list(body)


@pytest.mark.parametrize(("use", "words"), ARGUMENTS, ids=[it[1] for it in ARGUMENTS])
def test_argument(app: Flask, use: Callable[[Flask], object], words: str) -> None:
    """A wrong argument is an error that names the argument and its value."""
    flask_streaming.Streaming(app)
    with app.test_request_context(), pytest.raises((TypeError, ValueError)) as caught:
        consume(use(app))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "decorate",
    [
        flask_firehose.hints("/a.css"),
        cache_for(minutes=5),
        cache_control(no_store=True),
    ],
    ids=["hints", "cache_for", "cache_control"],
)
def test_decorator_above_the_route(
    app: Flask, decorate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A decorator above the route never runs: the log says so once."""
    flask_firehose.Firehose(app)
    flask_webcache.WebCache(app)

    def view() -> str:
        return "page"

    decorate(app.get("/")(view))
    for _ in range(2):
        assert app.test_client().get("/").text == "page"
    (warning,) = [it for it in caplog.messages if "above the route" in it]
    assert "below @app.route" in warning
    assert "'view'" in warning


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["webcache", "explain", "/"], "give an absolute URL, or set SERVER_NAME"),
        (["webcache", "purge", "/"], "set WEBCACHE_URL to a shared one"),
        (["kaccel", "config", "nginx"], "set KACCEL_REDIRECT_PATH"),
    ],
)
def test_command(app: Flask, arguments: list[str], words: str) -> None:
    """A command that fails prints the reason on one line, and exits."""
    flask_webcache.WebCache(app)
    flask_kaccel.Kaccel(app)
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code in {1, 2}
    assert words in result.output
    assert "Traceback" not in result.output


def test_folder_of_a_failed_save(app: Flask) -> None:
    """A save that the disk refuses says which folder and which key."""
    app.config["STORE_PATH"] = "/proc/uploads"
    store = flask_store.Store(app)
    with (
        app.test_request_context(),
        pytest.raises(flask_store.BackendError, match="STORE_PATH"),
    ):
        store.Provider().save(io.BytesIO(b"bytes"), "a.txt")
