"""Signed, expiring links."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask import Response
from werkzeug.exceptions import NotFound

from flask_kaccel import ConfigError
from flask_kaccel import InvalidValueError
from flask_kaccel import Kaccel


NGINX = {"KACCEL_REDIRECT_PATH": "/protected/"}
MakeApp = Callable[..., tuple[Flask, Kaccel]]


@pytest.mark.parametrize("config", [NGINX, {}], ids=["nginx", "flask"])
def test_link(make_app: MakeApp, leave: Any, config: Any, case: Any) -> None:
    """A link sends the file that was signed, as it was signed."""
    app, kaccel = make_app(SECRET_KEY="key", **config)
    with app.test_request_context():
        token = kaccel.sign(
            case.name, 60, as_attachment=True, download_name="report.pdf"
        )
        assert token.isascii()
        if case.content is None:
            assert kaccel.send_signed(token) is None
            return

    def view() -> Response:
        return kaccel.send_signed_or_404(token)

    response = leave(app, view)
    prefix = "X-Kaccel-" if config and case.content else ""
    disposition = response.headers[f"{prefix}Content-Disposition"]
    assert disposition == "attachment; filename=report.pdf"
    assert response.headers[f"{prefix}Cache-Control"] == "no-cache, max-age=0"
    if not config:
        assert response.data == case.content


def test_forged_links(make_app: MakeApp) -> None:
    """A changed token, or one signed with another key, is refused."""
    app, kaccel = make_app(SECRET_KEY="key")
    other_app, other = make_app(SECRET_KEY="other")
    with other_app.app_context():
        by_other = other.sign("a.txt", 60)
    with app.test_request_context():
        token = kaccel.sign("a.txt", 60)
        content, _, signature = token.partition(".")
        other_content = kaccel.sign("a b.txt", 60).partition(".")[0]
        for forged in (
            by_other, content, f"{content}.", f"{other_content}.{signature}",
            token[:-1], "", ".", "é", "a" * 9000,
        ):  # fmt: skip
            assert kaccel.send_signed(forged) is None
            with pytest.raises(NotFound, match="404"):
                kaccel.send_signed_or_404(forged)


def test_expired_link(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link works until its time is up."""
    app, kaccel = make_app(SECRET_KEY="key")
    now = time.time()
    with app.test_request_context():
        token = kaccel.sign("a.txt", 60)
        for later, works in ((58, True), (61, False)):
            monkeypatch.setattr(time, "time", lambda later=later: now + later)
            response = kaccel.send_signed(token)
            assert (response is not None) is works
            if response is not None:
                response.close()


def test_old_key(make_app: MakeApp) -> None:
    """A key that was replaced verifies for as long as it is kept."""
    app, kaccel = make_app(SECRET_KEY="old")
    with app.test_request_context():
        token = kaccel.sign("a.txt", 60)
        app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
        response = kaccel.send_signed(token)
        assert response is not None
        response.close()
        app.config["SECRET_KEY_FALLBACKS"] = []
        assert kaccel.send_signed(token) is None


@pytest.mark.parametrize("seconds", [0, -1, 1.5, True, "60", None])
def test_wrong_time(make_app: MakeApp, seconds: Any) -> None:
    """A time that would make no link, or one for ever, is an error."""
    app, kaccel = make_app(SECRET_KEY="key")
    with (
        app.app_context(),
        pytest.raises(InvalidValueError, match=r"^expires is .*: give whole seconds"),
    ):
        kaccel.sign("a.txt", seconds)


def test_without_a_key(make_app: MakeApp) -> None:
    """Without SECRET_KEY nothing can be signed, nor read."""
    app, kaccel = make_app()
    for call in (lambda: kaccel.sign("a.txt", 60), lambda: kaccel.send_signed("x")):
        with (
            app.test_request_context(),
            pytest.raises(ConfigError, match=r"^SECRET_KEY is None: set it"),
        ):
            call()


def test_name_of_bytes(make_app: MakeApp) -> None:
    """A path object will do where a name will."""
    app, kaccel = make_app(SECRET_KEY="key")
    with app.test_request_context():
        token = kaccel.sign(os.path.join("sub", "dir/a.txt"), 60)  # noqa: PTH118 - a name
        response = kaccel.send_signed(token)
        assert response is not None
        response.close()
