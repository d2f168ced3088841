"""Flask-CORS with a list of origins: each response names only its own origin."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.contract import lasting
from harness.compatibility import Subject


ORIGINS = ("https://a.example", "https://b.example")


class TestCORS(Coexists):
    subject = Subject("Flask-CORS", "flask-cors")

    def attach(self, app: Flask) -> None:
        from flask_cors import CORS

        CORS(app, origins=list(ORIGINS), expose_headers=["X-Total"])

    def allowed(self, client: FlaskClient, origin: str | None) -> list[str]:
        """Return the origin that the page allows, for a request of an origin."""
        headers = {} if origin is None else {"Origin": origin}
        answer = client.get("/page", headers=headers)
        assert answer.status_code == 200
        return answer.headers.getlist("Access-Control-Allow-Origin")

    @pytest.mark.cell("flask-webcache")
    def test_own_origin(self, client: FlaskClient) -> None:
        """An origin on the list is allowed itself, made or stored; others are not."""
        for _ in range(2):
            for origin in ORIGINS:
                assert self.allowed(client, origin) == [origin]
            for stranger in ("https://evil.example", None):
                assert self.allowed(client, stranger) != [stranger]
                assert len(self.allowed(client, stranger)) <= 1

    @pytest.mark.cell("flask-webcache")
    def test_stranger_first(self, client: FlaskClient) -> None:
        """An origin on the list is allowed even if a stranger came first."""
        self.allowed(client, None)
        self.allowed(client, "https://evil.example")
        for origin in ORIGINS * 2:
            assert self.allowed(client, origin) == [origin]

    @pytest.mark.cell("flask-webcache")
    def test_hit_fields(self, client: FlaskClient) -> None:
        """A hit for an origin has the fields that the miss had."""
        headers = {"Origin": ORIGINS[0]}
        miss = client.get("/page", headers=headers)
        hit = client.get("/page", headers=headers)
        assert is_hit(hit)
        assert lasting(hit) == lasting(miss)
        assert "Access-Control-Expose-Headers" in hit.headers
