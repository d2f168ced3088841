"""Servers that many tests share: one of each for the session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import harness


if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def redis_session() -> Iterator[harness.RedisServer]:
    """One Redis for the session."""
    with harness.redis_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_session: harness.RedisServer) -> str:
    """The URL of an empty Redis database."""
    import redis

    with redis.Redis.from_url(redis_session.url) as client:
        client.flushall()
    return redis_session.url


@pytest.fixture(scope="session")
def memcached_session() -> Iterator[harness.Server]:
    """One Memcached for the session."""
    with harness.memcached() as server:
        yield server


@pytest.fixture
def memcached_url(memcached_session: harness.Server) -> str:
    """The URL of a Memcached; its keys are the tests' own to keep apart."""
    return f"memcached://{memcached_session.address}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One headless Chromium for the module.

    Not for the session: its event loop would keep asynchronous views of later tests
    from running.
    """
    with harness.browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def s3_session() -> Iterator[harness.S3Server]:
    """One light S3 server for the session."""
    with harness.s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_session() -> Iterator[harness.S3Server]:
    """One Ceph for the session."""
    with harness.ceph_server() as server:
        yield server


@pytest.fixture
def faulty(s3_session: harness.S3Server) -> Iterator[harness.FaultyServer]:
    """The light S3 server behind a proxy that fails on demand."""
    with harness.faulty_server(s3_session) as server:
        yield server
