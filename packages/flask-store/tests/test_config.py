"""The configuration's values, and the errors of wrong ones."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from flask_store import BackendError
from flask_store import ConfigError
from flask_store import InvalidAttributeError
from flask_store import InvalidNameError
from flask_store import MissingDependencyError
from flask_store import NotConfiguredError
from flask_store import NotFoundError
from flask_store import StoreError
from flask_store.config import Config


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("STORE_PATH", Path("/files"), "/files"),
        ("STORE_PATH", None, None),
        ("STORE_DOMAIN", "https://cdn.example/static/", "https://cdn.example/static"),
        ("STORE_DOMAIN", "", ""),
        ("STORE_URL_PREFIX", "/uploads/", "/uploads"),
        ("STORE_URL_PREFIX", "/", ""),
        ("STORE_S3_TIMEOUT", 5, 5),
        ("STORE_S3_ENDPOINT_URL", "http://localhost:9000/", "http://localhost:9000"),
        ("STORE_S3_OBJECT_PARAMETERS", {"StorageClass": "X"}, {"StorageClass": "X"}),
        ("STORE_S3_CONDITIONAL", "never", "never"),
    ],
)
def test_values(key: str, value: object, kept: object) -> None:
    """Values are kept, in one form."""
    config = Config.from_mapping({key: value})
    assert getattr(config, key.removeprefix("STORE_").lower()) == kept


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("STORE_PROVIDER", None, "dotted name"),
        ("STORE_PATH", b"/files", "a folder"),
        ("STORE_PATH", "/a\0b", "a folder"),
        ("STORE_DOMAIN", "files.example.com", "https://"),
        ("STORE_DOMAIN", "ftp://example.com", "https://"),
        ("STORE_DOMAIN", "https://example.com/?a=1", "https://"),
        ("STORE_URL_PREFIX", "uploads", "starts with one '/'"),
        ("STORE_URL_PREFIX", "//evil.example/", "starts with one '/'"),
        ("STORE_URL_PREFIX", "/<name>", "starts with one '/'"),
        ("STORE_PRIVATE", 1, "True"),
        ("STORE_FSYNC", "yes", "False"),
        ("STORE_SPOOL_WORKERS", 0, "1 or more"),
        ("STORE_SPOOL_WORKERS", True, "1 or more"),
        ("STORE_SPOOL_WORKERS", 1.5, "1 or more"),
        ("STORE_S3_ADDRESSING", "dns", "'virtual'"),
        ("STORE_S3_MULTIPART_THRESHOLD", 1, "5 MiB"),
        ("STORE_S3_TIMEOUT", 0, "0.1 or more"),
        ("STORE_S3_OBJECT_PARAMETERS", {1: 2}, "a dict"),
    ],
)
def test_wrong_values(key: str, value: object, remedy: str) -> None:
    """A wrong value is refused with its key and what to do."""
    with pytest.raises(ConfigError, match=remedy) as caught:
        Config.from_mapping({key: value})
    assert (caught.value.key, caught.value.value) == (key, value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("ACCESS_KEY", "SECRET_KEY"), ("SECRET_KEY", "ACCESS_KEY")],
)
def test_half_a_key_pair(given: str, missing: str) -> None:
    """Keys come in pairs; the secret is never shown."""
    match = f"set it together with STORE_S3_{given}"
    with pytest.raises(NotConfiguredError, match=match) as caught:
        Config.from_mapping({f"STORE_S3_{given}": "sesame"})
    assert caught.value.key == f"STORE_S3_{missing}"
    assert "sesame" not in str(caught.value)


def test_secrets_are_hidden() -> None:
    """An error about a secret does not show it."""
    with pytest.raises(ConfigError, match=r"SECRET_KEY is '\*\*\*': set") as caught:
        Config.from_mapping({"STORE_S3_SECRET_KEY": b"sesame"})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({}, ()),
        ({"SECRET_KEY": "new"}, ("new",)),
        ({"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old"]}, ("old", "new")),
        ({"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": None}, ("new",)),
    ],
)
def test_signing_keys(config: dict[str, Any], keys: tuple[str, ...]) -> None:
    """URLs are signed with the app's keys, the current one last."""
    made = Config.from_mapping(config)
    assert made.signing_keys == keys
    assert "new" not in repr(made)


def test_keys_of_providers() -> None:
    """Keys of other people's providers are handed on, and never shown."""
    given = {"STORE_GCS_BUCKET": "b", "STORE_TOKEN": "sesame", "OTHER": 1}
    config = Config.from_mapping(given, ignore_keys=["STORE_GCS_BUCKET", "STORE_TOKEN"])
    assert config.other == {"STORE_GCS_BUCKET": "b", "STORE_TOKEN": "sesame"}
    assert "sesame" not in repr(config)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("STORE_PRIVAT", "STORE_PRIVATE"),
        ("STORE_S3_BUCKETS", "STORE_S3_BUCKET"),
        ("STORE_S3_ENDPOINT", "STORE_S3_ENDPOINT_URL"),
        # Somebody else's, but who has it has to say so.
        ("STORE_GCS_BUCKET", "STORE_S3_BUCKET"),
    ],
)
def test_misspelt_keys(key: str, near: str) -> None:
    """A key that is close to a known one is refused, naming it, not its value."""
    with pytest.raises(ConfigError, match=f"{key} is .*did you mean {near}") as caught:
        Config.from_mapping({key: "sesame"})
    assert "sesame" not in str(caught.value)


def test_foreign_keys(caplog: pytest.LogCaptureFixture) -> None:
    """A key that resembles none is warned of, unless it is named as somebody's."""
    Config.from_mapping({"STORE_NAME": "Corner"}, ignore_keys=["STORE_NAME"])
    assert caplog.text == ""
    Config.from_mapping({"STORE_NAME": "Corner"})
    assert "STORE_NAME is not a key of this extension" in caplog.text
    assert "Corner" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("STORE_PATH", "x", "set it"),
        NotConfiguredError("STORE_PATH", None, "set it"),
        InvalidNameError("..", "no"),
        NotFoundError("a.txt"),
        BackendError("save", "a.txt", "full"),
        MissingDependencyError("boto3", "s3"),
        InvalidAttributeError("metadata", 1, "give a mapping"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel(error: StoreError) -> None:
    """Errors keep their data and their text through a pickle and a copy."""
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(made) is type(error)
        assert str(made) == str(error)
        assert vars(made) == vars(error)
