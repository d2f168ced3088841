"""The quick start of the README runs, and does what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_kaccel.testing import assert_sends


README = (Path(__file__).parent.parent / "README.md").read_text()


def start(directory: Path, more: str = "") -> FlaskClient:
    """Return a client of the quick start's app.

    :param more: another line of configuration.
    """
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    code = code.replace('"/srv/files"', f"{str(directory)!r}\n{more}")
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(code, "README.md", "exec"), names)
    client: FlaskClient = names["app"].test_client()
    return client


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a file."""
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


def test_quick_start(files: Path) -> None:
    """On a laptop, Flask sends the file."""
    with start(files).get("/download/a.txt") as response:
        assert response.data == b"a"
        assert response.headers["Content-Disposition"] == "attachment; filename=a.txt"


def test_quick_start_in_production(files: Path) -> None:
    """With the prefix of the text, nginx is asked for it."""
    client = start(files, 'app.config["KACCEL_REDIRECT_PATH"] = "/protected/"')
    response = client.get("/download/a.txt")
    assert response.headers["X-Accel-Redirect"] == "/protected/a.txt"
    assert_sends(client.application, response, files / "a.txt")
