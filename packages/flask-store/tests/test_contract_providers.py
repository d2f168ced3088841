"""The contract of providers, over those that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_store.config import Config
from flask_store.stores.local import LocalStore
from flask_store.stores.memory import MemoryStore
from flask_store.testing import ProviderContract


class TestLocalStore(ProviderContract):
    """The contract over a local folder."""

    simultaneous = 64

    @pytest.fixture(params=[True, False], ids=["fsync", "no-fsync"])
    def provider(self, request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore:
        """A store in a folder that is not there yet."""
        path = str(tmp_path / "up" / "loads")
        return LocalStore(
            config=Config(path=path, fsync=request.param, signing_keys=("key",))
        )


class TestMemoryStore(ProviderContract):
    """The contract over memory."""

    simultaneous = 64

    @pytest.fixture
    def provider(self) -> MemoryStore:
        """An empty store."""
        return MemoryStore(config=Config(signing_keys=("key",)))
