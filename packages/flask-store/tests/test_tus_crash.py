"""Finishing an upload, killed between any two steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_store import Store
from flask_store import upload_finished


VERSION = {"Tus-Resumable": "1.0.0"}
PATCH = {**VERSION, "Content-Type": "application/offset+octet-stream"}
#: What changes the file system, or makes it durable.
STEPS = ("link", "replace", "unlink", "fsync", "pwrite", "setxattr")
DIED = 77


def make_app(path: Path) -> Flask:
    """Make an app that writes each finished upload into a log."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(path / "files")
    store = Store(app)
    uploads = store.tus("/uploads", authorize=lambda step, upload: "me")
    app.register_blueprint(uploads)

    def log(sender: Flask, file: Any, **_: Any) -> None:
        with (path / "log").open("a") as target:
            target.write(f"{file.name}\n")

    app.extensions["log"] = log
    upload_finished.connect(log, app)
    return app


def in_a_child(function: Callable[[], None]) -> int:
    """Run a function in a forked process and return its exit status."""
    child = os.fork()
    if not child:
        try:
            function()
        except BaseException:  # noqa: BLE001 - whatever it is must not reach pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(step: int) -> None:
    """End the process just before its n-th change of the file system."""
    left = step

    def counting(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if not left:
                os._exit(DIED)
            left -= 1
            return original(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))


def append(client: FlaskClient, url: str, data: bytes, offset: int) -> None:
    """Append bytes."""
    headers = {**PATCH, "Upload-Offset": str(offset)}
    assert client.patch(url, data=data, headers=headers).status_code == 204


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and Linux's calls")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_killed_at_every_step(tmp_path: Path) -> None:
    """A killed finish is finished by the next HEAD: one file, whole, told of."""
    statuses: list[int] = []
    while not statuses or statuses[-1]:
        # It dies one step later each time, until it gets through all of them.
        path = tmp_path / str(len(statuses))
        path.mkdir()
        app = make_app(path)
        client = app.test_client()
        named = {"Upload-Length": "6", "Upload-Metadata": "filename YS50eHQ="}
        url = client.post("/uploads", headers={**VERSION, **named}).location
        append(client, url, b"abc", 0)

        def finish() -> None:
            die_at(len(statuses))
            append(client, url, b"def", 3)  # noqa: B023 - called within the turn

        statuses.append(in_a_child(finish))
        assert statuses[-1] in {0, DIED}
        assert len(statuses) < 60
        offset = int(client.head(url, headers=VERSION).headers["Upload-Offset"])
        if offset < 6:
            append(client, url, b"def", offset)
        assert client.head(url, headers=VERSION).headers["Upload-Offset"] == "6"
        with app.app_context():
            provider = app.extensions["store"].provider
            assert [file.name for file in provider.list()] == ["a.txt"]
            with provider.open("a.txt") as file:
                assert file.read() == b"abcdef"
        assert set((path / "log").read_text().split()) == {"a.txt"}
    assert len(statuses) > 8
