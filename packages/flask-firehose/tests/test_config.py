"""The deployment's values."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_firehose import ConfigError
from flask_firehose import Firehose
from flask_firehose.config import Config


def test_defaults() -> None:
    """Nothing has to be set."""
    assert Config.from_mapping({"SECRET_KEY": "other"}) == Config()


def test_values() -> None:
    """Lists become tuples, and the rest stays."""
    config = Config.from_mapping(
        {
            "FIREHOSE_EARLY_HINTS": True,
            "FIREHOSE_LEARN": False,
            "FIREHOSE_LEARN_PREFIXES": ["/", "/assets/", "https://cdn.example/"],
            "FIREHOSE_MAX_BYTES": 512,
            "FIREHOSE_MAX_LINKS": 5,
            "FIREHOSE_MIMETYPES": ("text/html", "image/svg+xml"),
        }
    )
    assert config == Config(
        early_hints=True,
        learn=False,
        learn_prefixes=("/", "/assets/", "https://cdn.example/"),
        max_bytes=512,
        max_links=5,
        mimetypes=("text/html", "image/svg+xml"),
    )


WRONG: list[tuple[str, Any, str]] = [
    ("EARLY_HINTS", 1, "set it to True or False"),
    ("LEARN", "no", "set it to True or False"),
    ("LEARN_PREFIXES", "/static/", "set it to a tuple of URL prefixes"),
    ("LEARN_PREFIXES", ["https://cdn.example"], "set it to a tuple of URL prefixes"),
    ("LEARN_PREFIXES", ["//cdn.example/"], "set it to a tuple of URL prefixes"),
    ("LEARN_PREFIXES", [5], "set it to a tuple of URL prefixes"),
    ("MAX_BYTES", "1024", "set it to a whole number above 0"),
    ("MAX_BYTES", 0, "set it to a whole number above 0"),
    ("MAX_LINKS", True, "set it to a whole number above 0"),
    ("MAX_LINKS", None, "set it to a whole number above 0"),
    ("MIMETYPES", "text/html", "set it to a tuple of media types"),
    ("MIMETYPES", ["Text/HTML"], "set it to a tuple of media types"),
]


@pytest.mark.parametrize(("name", "value", "remedy"), WRONG, ids=str)
def test_wrong(name: str, value: Any, remedy: str) -> None:
    """A wrong value fails at start-up, with its key, value and remedy."""
    app = Flask(__name__)
    app.config[f"FIREHOSE_{name}"] = value
    message = f"^FIREHOSE_{name} is .*: {remedy}"
    with pytest.raises(ConfigError, match=message) as caught:
        Firehose(app)
    assert caught.value.key == f"FIREHOSE_{name}"
    assert caught.value.value is value
    assert "firehose" not in app.extensions
