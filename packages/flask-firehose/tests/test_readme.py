"""The quick start of the README runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_quick_start() -> None:
    """The page pushes what the text says."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    response = names["app"].test_client().get("/")
    assert response.text == '<link rel="stylesheet" href="/static/main.css">'
    assert response.headers["Link"] == "</static/main.css>; rel=preload; as=style"
