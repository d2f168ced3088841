"""The root README: its example runs, its commands are the ones that CI runs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """A client of the README's application."""
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(example, names)
    create_app: Callable[..., Flask] = names["create_app"]
    config = dict.fromkeys(("STORE_PATH", "KACCEL_FILES_PATH"), str(tmp_path))
    return create_app({**config, "SECRET_KEY": "test"}).test_client()


def test_example(client: FlaskClient) -> None:
    """An upload shows on the cached page at once, and comes back as it was."""
    first = client.get("/")
    assert first.text == "nothing yet"
    assert first.headers["Link"].startswith("</static/style.css>")
    assert client.get("/").headers["X-Cache"] == "hit"
    upload = client.post("/upload", data={"file": (io.BytesIO(b"1,2"), "a.csv")})
    assert upload.location == "/"
    assert client.get("/").text == "a.csv"
    with client.get("/download/a.csv") as download:
        assert download.data == b"1,2"
        named = "attachment; filename=a.csv"
        assert download.headers["Content-Disposition"] == named
    assert client.get("/names.csv").text == "name,bytes\r\na.csv,3\r\n"
    assert client.get("/download/missing").status_code == 404


@pytest.mark.parametrize("session", ["demo", "tests"])
def test_commands(session: str) -> None:
    """Each of the two commands is alone in its block, and its session exists."""
    command = (
        f"python3 -m venv .venv && .venv/bin/pip install -q nox uv && "
        f".venv/bin/nox -s {session}"
    )
    assert f"```sh\n{command}\n```" in README
    assert f"@nox.session\ndef {session}(" in (ROOT / "noxfile.py").read_text()


def test_links() -> None:
    """Every link to a file of the workspace leads somewhere."""
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
