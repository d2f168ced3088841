"""The quick start of the README runs, and does what the text says."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any


README = (Path(__file__).parent.parent / "README.md").read_text()


def test_quick_start(tmp_path: Path) -> None:
    """It gives a URL, and the URL the file; the second one gets a longer name."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(code.replace("/srv/uploads", str(tmp_path)), names)
    client = names["app"].test_client()

    def upload() -> str:
        form = {"afile": (io.BytesIO(b"picture"), "localfile.jpg")}
        url: str = client.post("/upload", data=form).text
        return url

    first = upload()
    assert first == "http://127.0.0.1:5000/flaskstore/localfile.jpg"
    with client.get(first) as response:
        assert response.data == b"picture"
    assert len(upload()) > len(first)
    assert client.post("/upload", data={}).status_code == 400
