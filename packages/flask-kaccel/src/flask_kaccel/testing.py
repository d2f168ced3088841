"""For the tests of apps that send files."""

# What it is for.
# ruff: noqa: S101

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from ._files import absolute
from ._headers import sendfile_value


if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from ._deployment import Deployment


def assert_sends(
    app: Flask, response: TestResponse, path: str | os.PathLike[str]
) -> None:
    """Assert that a response sends a file, by nginx, Apache or Flask.

    The response to a ``HEAD`` or ``Range`` request sends no whole file.

    :param app: the app that made the response.
    :param path: absolute or below the app's ``root_path``.
    """
    assert response.status_code == 200, response.status
    wanted = absolute(path, app.root_path)
    deployment: Deployment = app.extensions["kaccel"]
    file = deployment.locations.file(wanted)
    assert file is not None, f"{wanted} may not be sent"
    uri = response.headers.get("X-Accel-Redirect")
    named = response.headers.get("X-Sendfile")
    if uri is not None:
        assert file.location is not None, f"{wanted} is in no mapping"
        assert uri == file.location.uri(wanted)
    elif named is not None:
        assert named == sendfile_value(wanted)
    else:
        assert response.data == Path(wanted).read_bytes()
