"""An app that answers what a test plans, at the time that the test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import unrecorded


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Origin:
    """An app with a configurable view that records its requests."""

    def __init__(self, **options: Any) -> None:
        fast, cache = options.pop("fast", False), options.pop("cache", None)
        self.app = Flask(__name__)
        self.app.secret_key = "secret"
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.cache = WebCache(
            self.app, cache=cache, config=Config(**options), fast=fast
        )
        self.seen: list[dict[str, str]] = []
        self.answer: Callable[[], Any] = lambda: "nothing is planned"
        methods = ["GET", "POST", "PUT", "DELETE"]
        self.app.add_url_rule("/", "view", self.view, methods=methods)
        self.app.add_url_rule("/<path:path>", "view", self.view, methods=methods)

    def view(self, path: str = "") -> Any:
        """Answer."""
        with unrecorded():
            self.seen.append(dict(request.headers))
        return self.answer()

    @property
    def client(self) -> FlaskClient:
        """A client without cookies of others."""
        return self.app.test_client()

    def says(
        self,
        cache_control: str | None = None,
        body: str | bytes | None = None,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **fields: str,
    ) -> None:
        """Plan what the view answers from now on; each body tells its number."""

        def answer() -> Response:
            text = f"made {len(self.seen)}" if body is None else body
            response = Response(text, status)
            if cache_control is not None:
                response.headers["Cache-Control"] = cache_control
            response.headers.update({**(headers or {}), **named(fields)})
            return response

        self.answer = answer

    def get(self, path: str = "/", **fields: str) -> TestResponse:
        """Make a GET with some fields."""
        return self.client.get(path, headers=named(fields))


def named(fields: dict[str, str]) -> dict[str, str]:
    """Return fields with hyphens in their names."""
    return {name.replace("_", "-"): value for name, value in fields.items()}
