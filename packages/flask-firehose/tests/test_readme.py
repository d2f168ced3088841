"""The README: its samples run, its table is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_firehose.config import Config


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CSS = "</static/main.css>; rel=preload; as=style"


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    """Run the samples in their order, each with the names of those before."""
    names: dict[str, Any] = {"__name__": __name__}
    seen = []
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(code, names)
        seen.append(dict(names))
    return seen


def test_quick_start(samples: list[dict[str, Any]]) -> None:
    """The smallest example pushes what the text says."""
    response = samples[0]["app"].test_client().get("/")
    assert response.text == '<link rel="stylesheet" href="/static/main.css">'
    assert response.headers["Link"] == CSS


def test_pushing(samples: list[dict[str, Any]]) -> None:
    """A view and its template push, the important first."""
    response = samples[1]["app"].test_client().get("/report")
    assert response.headers["Link"] == (
        "</static/report.css>; rel=preload; as=style, "
        "</static/chart.png>; rel=preload; as=image; fetchpriority=high, "
        '</static/inter.woff2>; rel=preload; as=font; type="font/woff2"; crossorigin'
    )


def find(samples: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the names after the first sample that defines one of them."""
    return next(sample for sample in samples if name in sample)


def test_connector(samples: list[dict[str, Any]]) -> None:
    """The connector of the text tracks."""
    app = Flask(__name__)
    app.secret_key = "secret"
    sample = find(samples, "firehose")
    sample["firehose"].init_app(app)
    app.add_url_rule("/", view_func=lambda: sample["push"]("/a.css"))
    client = app.test_client()
    assert "Link" in client.get("/").headers
    assert "Link" not in client.get("/").headers


@pytest.mark.parametrize("path", ["/declared", "/explicit", "/learned"])
def test_early_hints(samples: list[dict[str, Any]], path: str, tmp_path: Path) -> None:
    """Each of the three sources sends what the text says."""
    sent: list[list[tuple[str, str]]] = []
    app = find(samples, "learned")["app"]
    (tmp_path / "main.css").write_text("p {}")
    app.static_folder = str(tmp_path)
    for number in range(9):
        headers = {"Sec-Fetch-Mode": "navigate", "User-Agent": str(number)}
        environ = {"wsgi.early_hints": sent.append}
        app.test_client().get(path, environ_overrides=environ, headers=headers)
    assert len(sent) == (1 if path == "/learned" else 9)
    ((name, value),) = sent[-1]
    assert (name, value.startswith(CSS)) == ("Link", True)


def test_speculation(samples: list[dict[str, Any]]) -> None:
    """The marked view is named by the rules."""
    client = find(samples, "article")["app"].test_client()
    field = client.get("/article/5").headers["Speculation-Rules"]
    assert "/article/:number" in client.get(field.strip('"')).text


def test_configuration() -> None:
    """The table is the one that the configuration makes."""
    assert Config.table() in README
