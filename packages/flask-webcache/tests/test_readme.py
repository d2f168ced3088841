"""The quick start of the README runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flask_webcache import _cli
from flask_webcache._rules.policy import Refusal


README = (Path(__file__).parent.parent / "README.md").read_text()


def test_quick_start() -> None:
    """The second request is a hit, as the text says."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code, names)
    client = names["app"].test_client()
    assert client.get("/").headers["X-Cache"] == "miss"
    hit = client.get("/").headers
    assert hit["X-Cache"] == "hit"
    assert hit["Cache-Status"].startswith("flask-webcache; hit; ttl=")


def test_every_reason_is_explained() -> None:
    """The commands have words for each reason not to store."""
    assert _cli.REASONS.keys() == set(Refusal)
