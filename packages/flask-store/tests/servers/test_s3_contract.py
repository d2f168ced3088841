"""The contract of providers, over real S3 servers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.stores import BaseStore
from flask_store.stores.s3 import S3GeventStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import ProviderContract


def config_of(server: harness.S3Server, **more: object) -> Config:
    """Return a configuration with a prefix of the test's own."""
    return Config.from_mapping(
        {
            **server.config,
            "STORE_PATH": f"/tests/{uuid.uuid4().hex}/",
            "STORE_S3_MULTIPART_THRESHOLD": 5 * MIB,
            **more,
        }
    )


@pytest.fixture(scope="module")
def s3_tls(s3_session: harness.S3Server) -> Iterator[harness.Front]:
    """TLS in front of the light server."""
    with harness.tls_front(s3_session) as front:
        yield front


@pytest.fixture(scope="module")
def ceph_tls(ceph_session: harness.S3Server) -> Iterator[harness.Front]:
    """TLS in front of the real server."""
    with harness.tls_front(ceph_session) as front:
        yield front


class TestMiniStack(ProviderContract):
    """The contract over the light server."""

    simultaneous = 64

    @pytest.fixture
    def provider(self, s3_session: harness.S3Server) -> S3Store:
        """A store under an empty prefix."""
        return S3Store(config=config_of(s3_session))


class TestCeph(ProviderContract):
    """The contract over the real server."""

    @pytest.fixture
    def provider(self, ceph_session: harness.S3Server) -> S3Store:
        """A store under an empty prefix."""
        return S3Store(config=config_of(ceph_session))


class TestMiniStackTls(ProviderContract):
    """The contract over the light server by TLS."""

    @pytest.fixture
    def provider(
        self,
        s3_session: harness.S3Server,
        s3_tls: harness.Front,
        monkeypatch: pytest.MonkeyPatch,
    ) -> S3Store:
        """A store under an empty prefix."""
        monkeypatch.setenv("AWS_CA_BUNDLE", s3_tls.certificate)
        return S3Store(config=config_of(s3_session, STORE_S3_ENDPOINT_URL=s3_tls.url))


class TestCephTls(ProviderContract):
    """The contract over the real server by TLS, which changes what boto3 sends."""

    @pytest.fixture
    def provider(
        self,
        ceph_session: harness.S3Server,
        ceph_tls: harness.Front,
        monkeypatch: pytest.MonkeyPatch,
    ) -> S3Store:
        """A store under an empty prefix."""
        monkeypatch.setenv("AWS_CA_BUNDLE", ceph_tls.certificate)
        config = config_of(ceph_session, STORE_S3_ENDPOINT_URL=ceph_tls.url)
        return S3Store(config=config)


class TestGevent(ProviderContract):
    """The contract over the store that answers before S3 does."""

    @pytest.fixture
    def provider(self, s3_session: harness.S3Server, tmp_path: Path) -> S3GeventStore:
        """A store under an empty prefix."""
        path = str(tmp_path / "spool")
        return S3GeventStore(config=config_of(s3_session, STORE_SPOOL_PATH=path))

    def settle(self, provider: BaseStore) -> None:
        """Wait until S3 has it."""
        assert isinstance(provider, S3GeventStore)
        assert provider.wait(30)
