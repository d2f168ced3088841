"""Flask-Login: members' pages are their own, everybody else's are shared."""

from __future__ import annotations

import pytest
from flask import Flask
from flask import render_template_string
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestLogin(Coexists):
    subject = Subject("Flask-Login", "Flask-Login")

    def attach(self, app: Flask) -> None:
        from flask_login import LoginManager
        from flask_login import UserMixin

        class User(UserMixin):
            def __init__(self, name: str) -> None:
                self.id = name

        self.user = User
        manager = LoginManager(app)
        manager.user_loader(User)

    def add_views(self, app: Flask, five: Five) -> None:
        from flask_login import current_user
        from flask_login import login_required
        from flask_login import login_user
        from flask_login import logout_user

        @app.post("/login/<name>")
        def login(name: str) -> str:
            login_user(self.user(name))
            return name

        @app.post("/logout")
        def logout() -> str:
            logout_user()
            return "bye"

        @app.get("/front")
        @cache_for(minutes=1)
        def front() -> str:
            name = current_user.id if current_user.is_authenticated else "nobody"
            return f"hello {name}"

        @app.get("/template")
        @cache_for(minutes=1)
        def template() -> str:
            return render_template_string(
                "hello {{ current_user.id or 'nobody' }}"
                if current_user.is_authenticated
                else "hello nobody"
            )

        @app.get("/account")
        @login_required
        @cache_for(minutes=1)
        def account() -> str:
            return f"the account of {current_user.id}"

    def member(self, app: Flask, name: str) -> FlaskClient:
        """Return a visitor who has logged in."""
        client = app.test_client()
        assert client.post(f"/login/{name}").text == name
        return client

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/front", "/template"])
    def test_anonymous_pages_are_hits(self, app: Flask, path: str) -> None:
        """Visitors who have not logged in share a page."""
        assert app.test_client().get(path).text == "hello nobody"
        again = app.test_client().get(path)
        assert again.text == "hello nobody"
        assert is_hit(again)

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/front", "/template"])
    def test_users_apart(self, app: Flask, path: str) -> None:
        """Each visitor sees their own name, in any order and after logging out."""
        alice, bob = self.member(app, "alice"), self.member(app, "bob")
        nobody = app.test_client()
        for _ in range(2):
            assert alice.get(path).text == "hello alice"
            assert nobody.get(path).text == "hello nobody"
            assert bob.get(path).text == "hello bob"
        alice.post("/logout")
        assert alice.get(path).text == "hello nobody"

    @pytest.mark.cell("flask-webcache")
    def test_members_only(self, app: Flask) -> None:
        """A page behind a login is never sent to anybody else."""
        alice, bob = self.member(app, "alice"), self.member(app, "bob")
        for _ in range(2):
            assert alice.get("/account").text == "the account of alice"
            assert bob.get("/account").text == "the account of bob"
            assert app.test_client().get("/account").status_code == 401
