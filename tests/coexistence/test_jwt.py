"""Flask-JWT-Extended: what a token opens is for its owner alone."""

from __future__ import annotations

import datetime as dt

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from coexistence.contract import Coexists
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


WRITTEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PATHS = ("/modified", "/tagged", "/lasting")


class JWT(Coexists):
    """A page of each user, and three ways in which it may be stored."""

    def attach(self, app: Flask) -> None:
        from flask_jwt_extended import JWTManager

        JWTManager(app)

    @pytest.fixture
    def config(self) -> dict[str, object]:
        return {
            "JWT_SECRET_KEY": "a secret of at least thirty-two bytes",
            "JWT_TOKEN_LOCATION": ["headers", "cookies"],
            "JWT_COOKIE_CSRF_PROTECT": False,
        }

    def add_views(self, app: Flask, five: Five) -> None:
        from flask_jwt_extended import create_access_token
        from flask_jwt_extended import get_jwt_identity
        from flask_jwt_extended import jwt_required
        from flask_jwt_extended import set_access_cookies

        @app.post("/login/<name>")
        def login(name: str) -> Response:
            token = create_access_token(identity=name)
            response = Response(token)
            set_access_cookies(response, token)
            return response

        @app.get("/modified")
        @jwt_required()
        def modified() -> Response:
            response = Response(f"for {get_jwt_identity()}")
            response.last_modified = WRITTEN
            return response

        @app.get("/tagged")
        @jwt_required()
        def tagged() -> Response:
            response = Response(f"for {get_jwt_identity()}")
            response.set_etag("row-1")
            # As for a row: its version is the same for everyone who may see it.
            response.make_conditional(request)
            return response

        @app.get("/lasting")
        @jwt_required()
        @cache_for(minutes=1)
        def lasting() -> str:
            return f"for {get_jwt_identity()}"

    def visit(self, app: Flask, name: str, path: str, **headers: str) -> TestResponse:
        """Ask for a page as a user."""
        raise NotImplementedError

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", PATHS)
    def test_users_apart(self, app: Flask, path: str) -> None:
        """Each user gets their own page; without a token there is none."""
        for _ in range(2):
            for name in ("alice", "bob"):
                answer = self.visit(app, name, path)
                assert answer.text == f"for {name}"
            assert app.test_client().get(path).status_code == 401

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", PATHS)
    def test_revalidation_apart(self, app: Flask, path: str) -> None:
        """With the validator of one user's page, no other user's page is sent."""
        validators = {"If-None-Match": '"row-1"'}
        self.visit(app, "alice", path)
        for _ in range(2):
            answer = self.visit(app, "bob", path, **validators)
            assert answer.status_code == 304 or answer.text == "for bob"
            assert self.visit(app, "bob", path).text == "for bob"

    def token(self, app: Flask, name: str) -> str:
        """Log in and return the token."""
        return app.test_client().post(f"/login/{name}").text


class TestJWTCookies(JWT):
    subject = Subject("Flask-JWT-Extended, cookies", "Flask-JWT-Extended")

    def visit(self, app: Flask, name: str, path: str, **headers: str) -> TestResponse:
        client: FlaskClient = app.test_client()
        client.set_cookie("access_token_cookie", self.token(app, name))
        return client.get(path, headers=headers)


class TestJWTHeader(JWT):
    subject = Subject("Flask-JWT-Extended, header", "Flask-JWT-Extended")

    def visit(self, app: Flask, name: str, path: str, **headers: str) -> TestResponse:
        bearer = {"Authorization": f"Bearer {self.token(app, name)}"}
        return app.test_client().get(path, headers=headers | bearer)
