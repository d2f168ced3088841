"""The S3 stores without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_store import ConfigError
from flask_store import NotConfiguredError
from flask_store import _bucket as bucket_module
from flask_store._s3_client import make_client
from flask_store.config import Config


pytest.importorskip("boto3")
s3 = pytest.importorskip("flask_store.stores.s3")


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({}, "https://b.s3.amazonaws.com/a%20b.txt"),
        ({"s3_region": "eu-west-1"}, "https://b.s3.eu-west-1.amazonaws.com/a%20b.txt"),
        (
            {"s3_bucket": "your.bucket.name"},
            "https://s3.amazonaws.com/your.bucket.name/a%20b.txt",
        ),
        ({"s3_endpoint_url": "http://host:1"}, "http://host:1/b/a%20b.txt"),
        ({"domain": "https://cdn.example/x"}, "https://cdn.example/x/a%20b.txt"),
        ({"path": "/some/place/"}, "https://b.s3.amazonaws.com/some/place/a%20b.txt"),
    ],
)
def test_absolute_url(config: dict[str, Any], url: str) -> None:
    """A file's address is the domain's, the server's or Amazon's."""
    store = s3.S3Store(config=Config(**{"s3_bucket": "b", **config}))
    assert store.absolute_url("a b.txt") == url


def test_keys() -> None:
    """The path is what all keys start with."""
    store = s3.S3Store("in", config=Config(s3_bucket="b", path="/some/place/"))
    assert store.join("a.txt") == "some/place/in/a.txt"
    assert store.relative_url("a.txt") == "/some/place/in/a.txt"


def test_bucket_is_needed() -> None:
    """Without a bucket there is no store."""
    with pytest.raises(NotConfiguredError, match="STORE_S3_BUCKET is None: set"):
        s3.S3Store()


@pytest.mark.parametrize("path", [None, "spool"])
def test_spool_path_is_absolute(path: str | None) -> None:
    """The spool must not depend on the directory in which the app was started."""
    pytest.importorskip("gevent")
    with pytest.raises(ConfigError, match=r"STORE_SPOOL_PATH is .*absolute path"):
        s3.S3GeventStore(config=Config(s3_bucket="b", spool_path=path))


@pytest.mark.parametrize(
    ("config", "checksum", "signing"),
    [
        ({}, "when_supported", None),
        ({"s3_endpoint_url": "http://host"}, "when_required", None),
        ({"s3_endpoint_url": "https://host"}, "when_required", False),
        ({"s3_checksum": "when_required"}, "when_required", None),
    ],
)
def test_client(config: dict[str, Any], checksum: str, signing: bool | None) -> None:
    """The client suits the server, has limits, and is made once."""
    bucket = bucket_module.Bucket(
        Config(s3_bucket="b", s3_region="eu-west-1", s3_pool_size=7, **config)
    )
    client = bucket.client
    assert client is bucket.client
    made = client.meta.config
    assert made.request_checksum_calculation == checksum
    assert made.s3.get("payload_signing_enabled") is signing
    assert (made.connect_timeout, made.read_timeout) == (5.0, 5.0)
    assert made.retries["total_max_attempts"] == 3
    assert made.max_pool_connections == 7


def test_boto3_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names boto3 if it was removed since the start."""
    monkeypatch.setitem(__import__("sys").modules, "botocore.config", None)
    with pytest.raises(ImportError, match=r"pip install 'flask-store\[s3\]'"):
        make_client(Config(s3_bucket="b"))


def test_default_spool_path(tmp_path: Path) -> None:
    """The spool is in the instance folder."""
    from flask import Flask

    app = Flask(__name__, instance_path=str(tmp_path))
    s3.S3GeventStore.app_defaults(app)
    assert app.config["STORE_SPOOL_PATH"] == str(tmp_path / "store-spool")
