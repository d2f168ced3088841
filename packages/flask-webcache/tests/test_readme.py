"""The samples of the README run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from typing import ClassVar

from flask_webcache import _cli
from flask_webcache._rules.policy import Refusal


README = (Path(__file__).parent.parent / "README.md").read_text()


def test_samples() -> None:
    """All samples together are an app that does what they say."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for sample in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(sample, names)
    app = names["app"]
    client = app.test_client()
    assert client.get("/").headers["X-Cache"] == "miss"
    assert client.get("/").headers["X-Cache"] == "hit"
    assert client.get("/news").headers["X-Cache"] == "miss"
    assert client.get("/news").headers["X-Cache"] == "hit"
    assert client.post("/articles").status_code == 201
    assert client.get("/").headers["X-Cache"] == "miss"
    assert client.get("/news").headers["X-Cache"] == "miss"
    assert "webcache" in names["create_app"]().extensions

    class Queue:
        def enqueue(self, *job: Any) -> None: ...

    class Labels:
        counted: ClassVar[list[tuple[str, ...]]] = []

        def labels(self, *labels: str) -> Labels:
            self.counted.append(labels)
            return self

        def inc(self) -> None: ...

    names["count_in"](Labels())
    client.get("/")
    client.get("/")
    assert ("hit", "") in Labels.counted
    assert names["config_for"](Queue()).preemptive_recache_seconds == 10


def test_every_reason_is_explained() -> None:
    """The commands have words for each reason not to store."""
    assert _cli.REASONS.keys() == set(Refusal)
