"""An app's own hooks: what they add to a page is there once."""

from __future__ import annotations

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from harness.compatibility import Subject


class TestHooks(Coexists):
    subject = Subject("an app's own `after_request`", "flask")

    def attach(self, app: Flask) -> None:
        @app.after_request
        def decorate(response: Response) -> Response:
            response.headers.add("X-Made-By", "a hook")
            if response.mimetype == "text/html" and not response.is_streamed:
                response.data += b"<!-- a hook -->"
            return response

    @pytest.mark.cell("flask-webcache")
    def test_decorated_once(self, client: FlaskClient) -> None:
        """A page has what the hook adds, once, made or stored."""
        for _ in range(3):
            answer = client.get("/page")
            assert answer.headers.getlist("X-Made-By") == ["a hook"]
            assert answer.text.count("<!-- a hook -->") == 1
