"""Flask-Talisman: the security fields of a hit, and nonces that are used once."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask import render_template_string

from coexistence.contract import Coexists
from coexistence.five import Five
from flask_webcache.modifiers import cache_control
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestTalisman(Coexists):
    subject = Subject("Flask-Talisman", "flask-talisman")

    def attach(self, app: Flask) -> None:
        from flask_talisman import Talisman

        Talisman(
            app,
            force_https=False,
            session_cookie_secure=False,
            content_security_policy={"default-src": "'self'"},
            permissions_policy={"geolocation": "()"},
        )

    @pytest.mark.cell("flask-webcache")
    def test_security_fields(self, app: Flask) -> None:
        """A hit is protected as the page was when it was made."""
        for _ in range(3):
            headers = app.test_client().get("/page").headers
            assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
            assert headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
            assert headers.getlist("Permissions-Policy") == ["geolocation=()"]
            assert headers.getlist("Referrer-Policy") == [
                "strict-origin-when-cross-origin"
            ]


class TestTalismanNonce(Coexists):
    subject = Subject("Flask-Talisman, CSP nonce", "flask-talisman")
    cacheable = False

    def attach(self, app: Flask) -> None:
        from flask_talisman import Talisman

        Talisman(
            app,
            force_https=False,
            session_cookie_secure=False,
            content_security_policy={"script-src": "'self'"},
            content_security_policy_nonce_in=["script-src"],
        )

    def add_views(self, app: Flask, five: Five) -> None:
        def script() -> str:
            page = '<script nonce="{{ csp_nonce() }}">1</script>'
            return render_template_string(page)

        def meta() -> str:
            page = '<meta property="csp-nonce" content="{{ csp_nonce() }}">'
            return render_template_string(page)

        app.add_url_rule("/meta", "meta", cache_for(minutes=1)(meta))
        app.add_url_rule("/cached", "cached", cache_for(minutes=1)(script))
        public = cache_control(public=True, s_maxage=60)(script)
        app.add_url_rule("/public", "public", public)

    @pytest.mark.cell("flask-webcache")
    def test_hit(self, app: Flask) -> None:
        """A page without a nonce may be stored before its policy is added."""
        policies = set()
        for _ in range(3):
            answer = app.test_client().get("/page")
            assert answer.status_code == 200
            policies.update(answer.headers.getlist("Content-Security-Policy"))
        assert len(policies) == 3

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("path", ["/cached", "/public", "/meta"])
    def test_nonces(self, app: Flask, path: str) -> None:
        """The page's nonce is the policy's, and another one each time."""
        seen = set()
        for _ in range(4):
            answer = app.test_client().get(path)
            (policy,) = answer.headers.getlist("Content-Security-Policy")
            (nonce,) = re.findall(r'(?:nonce|content)="([^"]+)"', answer.text)
            assert f"'nonce-{nonce}'" in policy
            seen.add(nonce)
        assert len(seen) == 4
