"""The contract of providers, over obstore and real servers."""

from __future__ import annotations

import io
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import harness
from flask_store import BackendError
from flask_store.config import Config
from flask_store.stores import obstore as module
from flask_store.stores.obstore import ObjectStore
from flask_store.testing import ProviderContract


pytest.importorskip("obstore", reason="pip install 'flask-store[obstore]'")
#: The first test may have to install Azurite.
pytestmark = pytest.mark.timeout(600)


def make(config: dict[str, Any]) -> ObjectStore:
    """Return a provider under an empty prefix."""
    path = {"STORE_PATH": f"tests/{uuid.uuid4().hex}", "SECRET_KEY": "key"}
    return ObjectStore(config=Config.from_mapping({**config, **path}))


@pytest.fixture(scope="module")
def azure() -> Iterator[harness.AzureServer]:
    """One Azurite for the module."""
    with harness.azure_server() as server:
        yield server


class TestAzure(ProviderContract):
    """The contract over Azurite."""

    @pytest.fixture
    def provider(
        self, azure: harness.AzureServer, monkeypatch: pytest.MonkeyPatch
    ) -> ObjectStore:
        """An empty store, whose large files are sent in parts."""
        monkeypatch.setattr(module, "LARGEST_PUT", 1 << 20)
        return make(azure.config)


class TestS3(ProviderContract):
    """The contract over the light S3 server."""

    @pytest.fixture
    def provider(self, s3_session: harness.S3Server) -> ObjectStore:
        """An empty store."""
        options = {
            "config": {
                "endpoint": s3_session.url,
                "region": s3_session.region,
                "access_key_id": s3_session.access_key,
                "secret_access_key": s3_session.secret_key,
            },
            "client_options": {"allow_http": True, "timeout": "60s"},
        }
        url = f"s3://{s3_session.bucket}"
        return make({"STORE_OBSTORE_URL": url, "STORE_OBSTORE_OPTIONS": options})


def test_signed_by_azure(azure: harness.AzureServer) -> None:
    """A signed URL works without the app and without the account's key."""
    provider = make(azure.config)
    file = provider.save(io.BytesIO(b"content"), "a-b.txt")
    url = file.url(expires=60)
    assert url.startswith(azure.url)
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read() == b"content"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    # The app signs where obstore cannot.
    assert file.url(expires=60, download_name="b.txt").startswith("/flaskstore/")
    assert provider.url("ä b.txt", expires=60).startswith("/flaskstore/")


def test_check(azure: harness.AzureServer) -> None:
    """Azure keeps names apart, and the check leaves nothing behind."""
    provider = make(azure.config)
    (found,) = provider.check()
    assert found.endswith("names are unique")


def test_server_that_is_away() -> None:
    """An error comes in time, says what was done to which file, and no secret."""
    port = harness.free_port()
    config = {
        "account_name": "a",
        "account_key": "c2VjcmV0",
        "endpoint": f"http://127.0.0.1:{port}/a",
    }
    options = {
        "config": config,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 1},
    }
    made = {"STORE_OBSTORE_URL": "az://c", "STORE_OBSTORE_OPTIONS": options}
    provider = make(made)
    start = time.monotonic()
    with pytest.raises(BackendError, match=r"cannot save 'a\.txt'") as error:
        provider.save(io.BytesIO(b""), "a.txt")
    assert time.monotonic() - start < 60
    assert "c2VjcmV0" not in str(error.value)
