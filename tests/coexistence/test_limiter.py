"""Flask-Limiter on Redis: each visitor reads their own count."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestLimiter(Coexists):
    subject = Subject("Flask-Limiter", "Flask-Limiter")
    of_the_visitor = frozenset(
        {"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}
    )

    @pytest.fixture
    def config(self, redis_url: str) -> dict[str, object]:
        return {
            "RATELIMIT_STORAGE_URI": redis_url,
            "RATELIMIT_HEADERS_ENABLED": True,
        }

    def attach(self, app: Flask) -> None:
        from flask_limiter import Limiter
        from flask_limiter.util import get_remote_address

        self.limiter = Limiter(
            get_remote_address, app=app, application_limits=["1000 per hour"]
        )

    def add_views(self, app: Flask, five: Five) -> None:
        @app.get("/other")
        def other() -> str:
            return "counted"

        @app.get("/limited")
        @self.limiter.limit("2 per hour")
        def limited() -> str:
            return "not too often"

        @app.get("/stored")
        @self.limiter.limit("2 per hour")
        @cache_for(minutes=1)
        def stored() -> str:
            return "stored"

    def visit(self, app: Flask, address: str, path: str) -> TestResponse:
        """Ask for a page from an address."""
        client = app.test_client()
        return client.get(path, environ_base={"REMOTE_ADDR": address})

    @pytest.mark.cell("flask-webcache")
    def test_own_count(self, app: Flask) -> None:
        """No visitor sees how much of another one's limit is left."""
        for _ in range(50):
            self.visit(app, "10.0.0.1", "/other")
        self.visit(app, "10.0.0.1", "/page")
        for _ in range(3):
            answer = self.visit(app, "10.0.0.2", "/page")
            assert is_hit(answer)
            left = answer.headers.getlist("X-RateLimit-Remaining")
            assert len(left) <= 1
            assert all(int(value) > 990 for value in left)

    @pytest.mark.cell("flask-webcache")
    def test_limit(self, app: Flask) -> None:
        """A visitor over the limit is refused, and no one else."""
        for address in ("10.0.0.1", "10.0.0.2"):
            asked = [self.visit(app, address, "/limited") for _ in range(3)]
            assert [answer.status_code for answer in asked] == [200, 200, 429]

    @pytest.mark.cell("flask-webcache")
    def test_limit_of_hits(self, app: Flask) -> None:
        """Hits do not count against the limit of a view."""
        codes = [self.visit(app, "10.0.0.1", "/stored").status_code for _ in range(3)]
        assert codes == [200, 200, 200]
