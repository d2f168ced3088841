"""Every Python sample of the README runs, and does what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest

from flask_kaccel import Config


README = Path(__file__).parent.parent / "README.md"
SAMPLES = re.findall(
    r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Any]:
    """The names that the samples define, one after the other."""
    (tmp_path / "files/reports").mkdir(parents=True)
    (tmp_path / "files/a.txt").write_text("a")
    (tmp_path / "files/reports/5.pdf").write_text("five")
    names: dict[str, Any] = {
        "__name__": __name__,
        "flask": flask,
        "event_stream": lambda: iter(["data: 1\n\n"]),
        "sign": lambda key: f"https://bucket.s3.example.com/{key}?X-Amz-Signature=5",
    }
    names["apps"] = []
    for sample in SAMPLES:
        code = sample.replace("/srv/", f"{tmp_path}/")
        exec(compile(code, str(README), "exec"), names)
        if names["app"] not in names["apps"]:
            names["apps"].append(names["app"])
    return names


def test_quick_start(names: dict[str, Any]) -> None:
    """The first sample runs on a laptop: Flask sends its files."""
    files = names["apps"][0].test_client()
    closing = SimpleNamespace(get=lambda url: files.get(url, buffered=True))
    names["test_download"](names["apps"][0], closing)
    with files.get("/download/a.txt") as response:
        assert response.data == b"a"
        assert response.headers["Content-Disposition"] == "attachment; filename=a.txt"
    with files.get("/reports/5") as report:
        assert report.data == b"five"
        assert report.headers["Content-Disposition"] == "inline; filename=report.pdf"
    assert files.get("/reports/6").status_code == 404


def test_quick_start_in_production(names: dict[str, Any], tmp_path: Path) -> None:
    """With the prefix of the text, nginx is asked for the files."""
    prefix = '"/srv/files"\napp.config["KACCEL_REDIRECT_PATH"] = "/protected/"'
    code = SAMPLES[0].replace('"/srv/files"', prefix) + SAMPLES[1]
    exec(code.replace("/srv/", f"{tmp_path}/"), names)
    client = names["app"].test_client()
    names["test_download"](names["app"], client)
    report = client.get("/reports/5")
    assert report.headers["X-Accel-Redirect"] == "/protected/reports/5.pdf"
    assert report.headers["X-Accel-Limit-Rate"] == "1000000"


def test_other_samples(names: dict[str, Any]) -> None:
    """Links, objects and ordinary responses do what the text says."""
    _, mapped, static, links, store = [app.test_client() for app in names["apps"]]
    assert mapped.get("/").status_code == static.get("/").status_code == 404
    with links.get(links.get("/share/a.txt").text) as shared:
        assert shared.data == b"a"
    assert links.get("/shared/forged").status_code == 404
    response = store.get("/object/a.txt")
    assert response.headers["X-Accel-Redirect"] == "/s3/a.txt?X-Amz-Signature=5"
    disposition = response.headers["X-Kaccel-Content-Disposition"]
    assert disposition == "attachment; filename=report.pdf"
    assert store.get("/events").headers["X-Accel-Buffering"] == "no"
    assert store.get("/front-page").headers["X-Accel-Expires"] == "60"


def test_configuration_table() -> None:
    """The README has the table that the declarations make."""
    assert Config.table() in README.read_text()
