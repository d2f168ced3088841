"""Flask-smorest, APIFlask, Flask-RESTX: what a schema does not name stays inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


def user() -> dict[str, Any]:
    """Return a row as the database has it."""
    return {"name": "ada", "password_hash": "not for you"}


class Schemas(Coexists):
    """The modifier below the decorator that serializes, and above it."""

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/modifier-below", "/modifier-above"])
    def test_schema(self, client: FlaskClient, path: str) -> None:
        """Only what the schema names goes out, made or stored."""
        for turn in range(3):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.json == {"name": "ada"}
            assert answer.headers["Cache-Control"] == "max-age=60"
            assert is_hit(answer) == (turn > 0)


class TestSmorest(Schemas):
    subject = Subject("Flask-smorest", "flask-smorest")

    @pytest.fixture
    def config(self) -> dict[str, object]:
        return {"API_TITLE": "Users", "API_VERSION": "1", "OPENAPI_VERSION": "3.0.3"}

    def attach(self, app: Flask) -> None:
        from flask_smorest import Api

        self.api = Api(app)

    def add_views(self, app: Flask, five: Five) -> None:
        import marshmallow
        from flask_smorest import Blueprint

        class UserSchema(marshmallow.Schema):
            name = marshmallow.fields.String()

        blueprint = Blueprint("users", __name__)
        below = blueprint.response(200, UserSchema)(cache_for(minutes=1)(user))
        blueprint.route("/modifier-below", endpoint="below")(below)
        above = cache_for(minutes=1)(blueprint.response(200, UserSchema)(user))
        blueprint.route("/modifier-above", endpoint="above")(above)
        self.api.register_blueprint(blueprint)


class TestAPIFlask(Schemas):
    subject = Subject("APIFlask", "APIFlask")

    def make(self, directory: Path) -> Flask:
        from apiflask import APIFlask

        app: Flask = APIFlask(__name__, instance_path=str(directory / "instance"))
        return app

    def attach(self, app: Flask) -> None:
        """Do nothing more: the app itself is the extension."""

    def add_views(self, app: Flask, five: Five) -> None:
        from apiflask import APIFlask
        from apiflask import Schema
        from apiflask.fields import String

        class UserSchema(Schema):
            name = String()

        assert isinstance(app, APIFlask)
        below = app.output(UserSchema)(cache_for(minutes=1)(user))
        app.get("/modifier-below", endpoint="below")(below)
        above = cache_for(minutes=1)(app.output(UserSchema)(user))
        app.get("/modifier-above", endpoint="above")(above)


class TestRESTX(Schemas):
    subject = Subject("Flask-RESTX", "flask-restx")

    def attach(self, app: Flask) -> None:
        from flask_restx import Api

        self.api = Api(app, prefix="/api", doc="/api/doc")

    def add_views(self, app: Flask, five: Five) -> None:
        from flask_restx import Resource
        from flask_restx import fields

        model = self.api.model("User", {"name": fields.String})
        marshal = self.api.marshal_with(model)

        class Below(Resource):
            @marshal
            @cache_for(minutes=1)
            def get(self) -> dict[str, Any]:
                return user()

        class Above(Resource):
            @cache_for(minutes=1)
            @marshal
            def get(self) -> dict[str, Any]:
                return user()

        self.api.add_resource(Below, "/modifier-below")
        self.api.add_resource(Above, "/modifier-above")

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/api/modifier-below", "/api/modifier-above"])
    def test_schema(self, client: FlaskClient, path: str) -> None:
        """Only what the schema names goes out, made or stored."""
        super().test_schema(client, path)
