"""Every configuration value is validated when the app is set up."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from flask_webcache import Config
from flask_webcache import ConfigError
from flask_webcache import WebCache
from flask_webcache import WebCacheError


STRINGS = "set a tuple, each item a string, none of them empty"


def test_defaults() -> None:
    """Nothing configured is the default of each key."""
    assert Config.from_mapping({"OTHER": 1}) == Config()


def test_every_key_is_read() -> None:
    """Each key with the prefix reaches its field; lists become tuples."""
    values: dict[str, Any] = {}
    for one in fields(Config):
        if isinstance(one.default, bool):
            values[one.name] = not one.default
        elif isinstance(one.default, (int, float)):
            values[one.name] = one.default + 1
        elif isinstance(one.default, (str, tuple)):
            values[one.name] = "x" if isinstance(one.default, str) else ["x"]
    values["url"] = "file:///tmp/x"
    config = Config.from_mapping(
        {f"WEBCACHE_{k.upper()}": v for k, v in values.items()}
    )
    for name, value in values.items():
        assert getattr(config, name) == (
            tuple(value) if isinstance(value, list) else value
        )


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("WEBCACHE_URL", "http://h", "use simple://"),
        ("WEBCACHE_URL", "redis", "use simple://"),
        ("WEBCACHE_URL", 7, "set a string"),
        ("WEBCACHE_URL", "file://relative", "give the whole path"),
        ("WEBCACHE_URL", "file:///", "give the whole path"),
        ("WEBCACHE_LOCK_SECONDS", -1, "set a number, 0 or more"),
        ("WEBCACHE_LOCK_SECONDS", float("nan"), "set a number, 0 or more"),
        ("WEBCACHE_LOCK_SECONDS", "5", "set a number, 0 or more"),
        ("WEBCACHE_STALE_ON_ERROR", True, "set a whole number, 0 or more"),
        ("WEBCACHE_KEEP_SECONDS", 1.5, "set a whole number, 0 or more"),
        ("WEBCACHE_MAX_BODY_BYTES", None, "set a whole number, 0 or more"),
        ("WEBCACHE_MAX_VARIANTS", 0, "set a whole number, 1 or more"),
        ("WEBCACHE_ETAGS", 1, "set True or False"),
        ("WEBCACHE_SORT_QUERY", "yes", "set True or False"),
        (
            "WEBCACHE_RESOURCE_EXEMPTIONS",
            "/static",
            STRINGS,
        ),
        (
            "WEBCACHE_RESOURCE_EXEMPTIONS",
            [""],
            STRINGS,
        ),
        (
            "WEBCACHE_IGNORED_QUERY",
            [1],
            STRINGS,
        ),
        (
            "WEBCACHE_TARGETED_FIELDS",
            None,
            STRINGS,
        ),
        ("WEBCACHE_CACHE_NAME", "two words", "set a string, a name of letters"),
        ("WEBCACHE_MASTER_SALT", 1, "set a string"),
    ],
)
def test_wrong_values(key: str, value: Any, remedy: str) -> None:
    """The error names the key, the value and the remedy."""
    app = Flask(__name__)
    app.config[key] = value
    with pytest.raises(ConfigError, match=remedy) as caught:
        WebCache(app)
    assert caught.value.key == key
    shown = caught.value.value
    assert repr(shown) == repr(value) or (key, shown) == ("WEBCACHE_URL", "***")
    assert str(caught.value) == f"{key} is {shown!r}: {caught.value.remedy}"
    assert isinstance(caught.value, WebCacheError)


def test_password_is_hidden() -> None:
    """An error about a URL does not show its password."""
    with pytest.raises(ConfigError, match=r"foo://\*\*\*@h"):
        Config(url="foo://me:secret@h")


def test_misspelt_key() -> None:
    """A key that is close to a known one is refused, naming it."""
    app = Flask(__name__)
    app.config["WEBCACHE_LOCKSECONDS"] = 5
    with pytest.raises(ConfigError, match="did you mean WEBCACHE_LOCK_SECONDS"):
        WebCache(app)
    WebCache(app, ignore_keys=("WEBCACHE_LOCKSECONDS",))


def test_secrets_are_hidden() -> None:
    """A printed configuration shows no password."""
    assert "secret" not in repr(Config(url="redis://me:secret@h/0"))


def test_wrong_callback() -> None:
    """The callback has to be one."""
    with pytest.raises(ConfigError, match="callback is 1: set a callable or None"):
        Config(preemptive_recache_callback=1)  # type: ignore[arg-type]
