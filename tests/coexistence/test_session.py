"""Flask-Session on Redis, and Flask-WTF: what belongs to a session stays in it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask import render_template_string
from flask import session
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import Five
from coexistence.five import form
from flask_webcache.modifiers import cache_control
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestSession(Coexists):
    subject = Subject("Flask-Session on Redis", "Flask-Session")

    @pytest.fixture
    def config(self, redis_url: str) -> dict[str, object]:
        import redis

        client = redis.Redis.from_url(redis_url)
        return {"SESSION_TYPE": "redis", "SESSION_REDIS": client}

    def attach(self, app: Flask) -> None:
        from flask_session import Session

        Session(app)

    def add_views(self, app: Flask, five: Five) -> None:
        @app.post("/login/<name>")
        def login(name: str) -> str:
            session["user"] = name
            return name

        @app.get("/cart")
        @cache_for(minutes=1)
        def cart() -> str:
            return f"the cart of {session.get('user', 'nobody')}"

        @app.get("/visits")
        @cache_for(minutes=1)
        def visits() -> str:
            session["visits"] = session.get("visits", 0) + 1
            return str(session["visits"])

    @pytest.mark.cell("flask-webcache")
    def test_users_apart(self, app: Flask) -> None:
        """Each visitor sees their own cart, in any order."""
        nobody = app.test_client()
        assert nobody.get("/cart").text == "the cart of nobody"
        clients = {name: app.test_client() for name in ("alice", "bob")}
        for name, client in clients.items():
            client.post(f"/login/{name}")
        for _ in range(2):
            for name, client in clients.items():
                assert client.get("/cart").text == f"the cart of {name}"
            assert nobody.get("/cart").text == "the cart of nobody"

    @pytest.mark.cell("flask-webcache")
    def test_session_cookie_apart(self, app: Flask) -> None:
        """A page that writes the session is made for each visit, with its cookie."""
        cookies = set()
        for client in (app.test_client(), app.test_client()):
            for turn in (1, 2):
                answer = client.get("/visits")
                assert answer.text == str(turn)
                assert not is_hit(answer)
            cookie = client.get_cookie("session")
            assert cookie is not None
            cookies.add(cookie.value)
        assert len(cookies) == 2


class TestWTF(Coexists):
    subject = Subject("Flask-WTF, CSRF", "Flask-WTF")

    def attach(self, app: Flask) -> None:
        from flask_wtf import CSRFProtect

        CSRFProtect(app)

    def add_views(self, app: Flask, five: Five) -> None:
        def token() -> str:
            return render_template_string("{{ csrf_token() }}")

        lasting = cache_for(minutes=1)(token)
        app.add_url_rule("/lasting", "lasting", lasting)
        public = cache_control(public=True, max_age=60)(token)
        app.add_url_rule("/public", "public", public)

    def upload(self, client: FlaskClient, content: bytes) -> str:
        token = {"csrf_token": client.get("/lasting").text}
        answer = client.post("/upload", data=form(content) | token)
        assert answer.status_code == 200
        return answer.text

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/lasting", "/public"])
    def test_tokens_apart(self, app: Flask, path: str) -> None:
        """A token is its visitor's alone, and good for their form."""
        tokens = set()
        for client in [app.test_client() for _ in range(3)]:
            for _ in range(2):
                token = {"csrf_token": client.get(path).text}
                tokens.add(token["csrf_token"])
                answer = client.post("/upload", data=form() | token)
                assert answer.status_code == 200
        assert len(tokens) >= 3
        assert app.test_client().post("/upload", data=form()).status_code == 400
