"""An assertion for the tests of apps that send files."""

# Assertions are the point.
# ruff: noqa: S101

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from ._fields import FRONTS
from ._files import absolute
from ._state import get_state


if TYPE_CHECKING:
    from werkzeug.test import TestResponse


def assert_sends(
    app: Flask, response: TestResponse, path: str | os.PathLike[str]
) -> None:
    """Assert that a response sends a file, by a server in front or by Flask.

    The response to a ``HEAD`` or ``Range`` request sends no whole file.

    :param app: the app that made the response.
    :param path: absolute or below the app's ``root_path``.
    """
    assert response.status_code == 200, f"expected 200, got {response.status}"
    wanted = absolute(path, app.root_path)
    with app.app_context():
        state = get_state()
    file = state.locations.file(wanted)
    assert file is not None, f"{wanted} may not be sent"
    for front in FRONTS.values():
        sent = response.headers.get(front.field)
        if sent is None:
            continue
        assert file.location is not None, f"{wanted} is in no mapping"
        name = state.named(file)
        assert sent == name, f"expected {front.field} {name!r}, got {sent!r}"
        return
    content = Path(wanted).read_bytes()
    assert response.data == content, (
        f"expected the {len(content)} bytes of {wanted}, got {len(response.data)} "
        f"other ones, {response.data[:40]!r}"
    )
