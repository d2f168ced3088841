"""A page is made once, and answered from the store after that."""

from __future__ import annotations

from itertools import count

import pytest
from flask import Flask

from flask_webcache import WebCache
from flask_webcache import modifiers


@pytest.fixture(params=[False, True], ids=["hooks", "fast"])
def app(request: pytest.FixtureRequest) -> Flask:
    """An app with a cached page that counts how often it was made."""
    app = Flask(__name__)
    WebCache(app, fast=request.param)
    made = count(1)

    @app.get("/")
    @modifiers.cache_for(minutes=5)
    def page() -> str:
        return f"page {next(made)}"

    return app


def test_hit(app: Flask) -> None:
    """The second request gets the first one's page, with its age."""
    client = app.test_client()
    first = client.get("/")
    second = client.get("/")
    assert first.headers["Cache-Status"] == "flask-webcache; fwd=uri-miss; stored"
    assert second.text == "page 1"
    assert second.headers["Age"] == "0"
    assert second.headers["X-Cache"] == "hit"
    assert second.headers["Cache-Status"].startswith("flask-webcache; hit; ttl=")
