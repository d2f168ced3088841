"""The assertion for the tests of apps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from flask_kaccel import Kaccel
from flask_kaccel.testing import assert_sends


MakeApp = Callable[..., tuple[Flask, Kaccel]]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"KACCEL_REDIRECT_PATH": "/protected/"},
        {"KACCEL_BACKEND": "x-sendfile"},
    ],
    ids=["flask", "nginx", "x-sendfile"],
)
def test_assert_sends(make_app: MakeApp, tree: Path, config: dict[str, str]) -> None:
    """The assertion passes for the right file only, with any sender."""
    app, _ = make_app(**config)
    client = app.test_client()
    response = client.get("/send?a%20b.txt")
    assert_sends(app, response, tree / "a b.txt")
    with pytest.raises(AssertionError):
        assert_sends(app, response, tree / "a.txt")
    with pytest.raises(AssertionError, match="may not be sent"):
        assert_sends(app, response, tree / "out.txt")
    with pytest.raises(AssertionError, match="404"):
        assert_sends(app, client.get("/send?missing"), tree / "a.txt")


def test_file_in_no_mapping(make_app: MakeApp, tree: Path) -> None:
    """Nginx cannot have sent a file of an app that maps nothing."""
    app, _ = make_app(KACCEL_REDIRECT_PATH="/protected/")
    response = app.test_client().get("/send?a.txt")
    other = Flask(__name__)
    Kaccel(other)
    with pytest.raises(AssertionError, match="is in no mapping"):
        assert_sends(other, response, tree / "a.txt")
