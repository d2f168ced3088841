"""Shared by the tests of uploads in the background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import harness
from flask_store import Store
from flask_store import _courier as courier_module
from flask_store import upload_failed
from flask_store import upload_finished
from flask_store._courier import Courier
from flask_store.stores.s3 import S3GeventStore
from harness.waiting import WAIT


@pytest.fixture(autouse=True)
def _couriers_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test leave a courier that goes on with jobs nobody waits for."""
    started: set[Courier] = set()
    start = Courier.start

    def remember(courier: Courier) -> None:
        started.add(courier)
        start(courier)

    monkeypatch.setattr(Courier, "start", remember)
    yield
    for courier in started:
        courier.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again and look again soon."""
    monkeypatch.setattr(courier_module, "LONGEST_DELAY", 0.3)
    monkeypatch.setattr(courier_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(courier_module, "BUSY_SECONDS", 0.3)


@pytest.fixture
def config(
    impatient: None, faulty: harness.FaultyServer, tmp_path: Path
) -> dict[str, Any]:
    """The configuration of a store in the background, whose server can fail."""
    return {
        **faulty.config,
        "STORE_PROVIDER": "flask_store.stores.s3.S3GeventStore",
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_SPOOL_DRAIN": 0.0,
        "STORE_S3_TIMEOUT": WAIT,
        "STORE_S3_ATTEMPTS": 1,
        "STORE_S3_CONDITIONAL": "always",
    }


@pytest.fixture
def app(config: dict[str, Any]) -> Flask:
    """An app with the store."""
    app = Flask(__name__)
    app.config.update(config)
    Store(app)
    return app


@pytest.fixture
def provider(app: Flask) -> S3GeventStore:
    """The app's provider."""
    provider = app.extensions["store"].provider
    assert isinstance(provider, S3GeventStore)
    return provider


@pytest.fixture
def ends(app: Flask) -> Iterator[list[tuple[str, Exception | None]]]:
    """The signals that were sent: names, and errors or None."""
    told: list[tuple[str, Exception | None]] = []

    def tell(_: Flask, file: object, error: Exception | None = None) -> None:
        told.append((str(file), error))

    with upload_finished.connected_to(tell, app), upload_failed.connected_to(tell, app):
        yield told
