"""Every Python sample of the README runs, and does what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask


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


def test_samples(names: dict[str, Any]) -> None:
    """Files, objects and ordinary responses are handed to nginx as documented."""
    files, mapped, static, store = [app.test_client() for app in names["apps"]]
    names["test_download"](names["apps"][0], files)
    report = files.get("/reports/5")
    assert report.headers["X-Accel-Redirect"] == "/protected/reports/5.pdf"
    assert report.headers["X-Accel-Limit-Rate"] == "1000000"
    assert report.headers["Content-Disposition"] == "inline; filename=report.pdf"
    assert files.get("/reports/6").status_code == 404
    assert mapped.get("/").status_code == static.get("/").status_code == 404
    response = store.get("/object/a.txt")
    assert response.headers["X-Accel-Redirect"] == "/s3/a.txt?X-Amz-Signature=5"
    assert store.get("/events").headers["X-Accel-Buffering"] == "no"
    assert store.get("/front-page").headers["X-Accel-Expires"] == "60"


def test_quick_start_in_development(names: dict[str, Any], tmp_path: Path) -> None:
    """Without the prefix, the first sample sends its file itself."""
    code = SAMPLES[0].replace('app.config["KACCEL_REDIRECT_PATH"]', "_")
    exec(code.replace("/srv/", f"{tmp_path}/"), names)
    app: Flask = names["app"]
    with app.test_client().get("/download/a.txt") as response:
        assert response.data == b"a"
        assert response.headers["Content-Disposition"] == "attachment; filename=a.txt"
