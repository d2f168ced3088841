"""The quick start of the README runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


README = (Path(__file__).parent.parent / "README.md").read_text()


def test_quick_start() -> None:
    """The table begins at once, and is a download."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    with names["app"].test_client().get("/people.csv") as response:
        first: Any = next(iter(response.response))
        assert first.startswith(b"id,name\r\n0,Person 0\r\n1,Person 1\r\n")
        named = "attachment; filename=people.csv"
        assert response.headers["Content-Disposition"] == named
