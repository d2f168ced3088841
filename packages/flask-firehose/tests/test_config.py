"""The deployment's values."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_firehose import ConfigError
from flask_firehose import Firehose
from flask_firehose.config import Config


def test_values() -> None:
    """Lists become tuples, and other keys are nobody's business."""
    config = Config.from_mapping(
        {
            "SECRET_KEY": "other",
            "FIREHOSE_LEARN_PREFIXES": ["/", "/assets/", "https://cdn.example/"],
            "FIREHOSE_MIMETYPES": ["text/html", "image/svg+xml"],
        }
    )
    assert config == Config(
        learn_prefixes=("/", "/assets/", "https://cdn.example/"),
        mimetypes=("text/html", "image/svg+xml"),
    )


def test_misspelt(caplog: pytest.LogCaptureFixture) -> None:
    """A key that is close to a known one is refused, a foreign one can be named."""
    app = Flask(__name__)
    app.config["FIREHOSE_EARLYHINTS"] = True
    with pytest.raises(ConfigError, match=r"did you mean FIREHOSE_EARLY_HINTS\?"):
        Firehose(app)
    Firehose(app, ignore_keys=["FIREHOSE_EARLYHINTS"])
    assert "FIREHOSE" not in caplog.text


PREFIXES = "set a tuple, each item a string, a URL prefix"
WRONG: list[tuple[str, Any, str]] = [
    ("EARLY_HINTS", 1, "set True or False"),
    ("LEARN", "no", "set True or False"),
    ("LEARN_PREFIXES", "/static/", PREFIXES),
    (
        "LEARN_PREFIXES",
        ["https://cdn.example"],
        PREFIXES,
    ),
    (
        "LEARN_PREFIXES",
        ["//cdn.example/"],
        PREFIXES,
    ),
    ("LEARN_PREFIXES", [5], PREFIXES),
    ("MAX_BYTES", "1024", "set a whole number, 1 or more"),
    ("MAX_BYTES", 0, "set a whole number, 1 or more"),
    ("MAX_LINKS", True, "set a whole number, 1 or more"),
    ("MAX_LINKS", None, "set a whole number, 1 or more"),
    ("MIMETYPES", "text/html", "set a tuple, each item a string, a media type"),
    ("SPECULATION", "immediate", "set 'conservative' or 'moderate' or 'eager' or None"),
    ("VITE_SERVER", "localhost:5173", "set a string or None, a URL that ends with"),
    ("MIMETYPES", ["Text/HTML"], "set a tuple, each item a string, a media type"),
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
