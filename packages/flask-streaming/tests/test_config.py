"""Configuration is read once and checked."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from flask import Flask

from flask_streaming import ConfigError
from flask_streaming import Streaming
from flask_streaming.config import Config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("HISTORY", -1, id="too-small"),
        pytest.param("REDIS_TIMEOUT", 0, id="no-time"),
        pytest.param("HISTORY_SECONDS", "60", id="text"),
        pytest.param("HISTORY", True, id="bool"),
        pytest.param("REDIS_CONNECTIONS", 1.5, id="fraction"),
        pytest.param("REDIS_URL", "http://localhost", id="scheme"),
        pytest.param("REDIS_URL", "redis://localhost:port", id="port"),
        pytest.param("REDIS_URL", b"redis://localhost", id="bytes"),
        pytest.param("REDIS_PREFIX", None, id="no-prefix"),
    ],
)
def test_wrong_value(key: str, value: Any) -> None:
    """A wrong value is an error that names key, value and remedy."""
    key = f"STREAMING_{key}"
    with pytest.raises(ConfigError, match=rf"^{key} is .*: set .*") as caught:
        Config.from_mapping({key: value})
    assert caught.value.key == key
    assert caught.value.value in (value, "***")


def test_values_are_read() -> None:
    """Values replace the defaults; other keys are not looked at."""
    config = Config.from_mapping({"STREAMING_HISTORY": 5, "SECRET_KEY": 7})
    assert config == Config(history=5)


def test_misspelt_key() -> None:
    """A key that is nearly one of ours is refused, and one that is not is allowed."""
    app = Flask(__name__)
    app.config["STREAMING_REDIS_TIMEOUTS"] = 5
    with pytest.raises(ConfigError, match="did you mean STREAMING_REDIS_TIMEOUT"):
        Streaming(app)
    Streaming(app, ignore_keys=["STREAMING_REDIS_TIMEOUTS"])


def test_command() -> None:
    """`flask streaming config` prints what is in force, without a password."""
    pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["STREAMING_REDIS_URL"] = "redis://:secret@localhost"
    Streaming(app)
    output = app.test_cli_runner().invoke(args=["streaming", "config"]).output
    assert "* STREAMING_REDIS_URL = 'redis://***@localhost'\n" in output
    assert "  STREAMING_HISTORY = 1000\n" in output


def test_password_is_not_shown() -> None:
    """A URL with a password does not get into the log."""
    app = Flask(__name__)
    app.config["STREAMING_REDIS_URL"] = "http://:secret@localhost"
    with pytest.raises(
        ConfigError, match=r"is 'http://\*\*\*@localhost': set a URL"
    ) as caught:
        Streaming(app)
    assert "secret" not in str(caught.value)


def test_redis_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without the client says how to install it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    app = Flask(__name__)
    app.config["STREAMING_REDIS_URL"] = "redis://localhost"
    with pytest.raises(ConfigError, match=r"pip install flask-streaming\[redis\]"):
        Streaming(app)
