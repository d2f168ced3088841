"""Finishing an upload, killed between any two steps."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import time
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
#: How often a process is killed while bytes come: 1,000 prove more, and take minutes.
KILLS = int(os.environ.get("TUS_KILLS", "20"))
LENGTH = 1_000_000


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


class Slow(io.BytesIO):
    """A body that comes in small blocks, with pauses."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next few bytes."""
        time.sleep(0.0005)
        return super().read(min(size or 0, 8192))


def bytes_in(part: Path) -> int:
    """Return the bytes of a part, all of them where it has become a file."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return LENGTH


def kill_while_it_appends(
    client: FlaskClient, url: str, data: bytes, offset: int, size: int, part: Path
) -> None:
    """Have a process append the rest, and kill it when so many bytes have come."""
    headers = {**PATCH, "Upload-Offset": str(offset)}
    child = os.fork()
    if not child:
        try:
            rest = data[offset:]
            client.patch(
                url, input_stream=Slow(rest), content_length=len(rest), headers=headers
            )
        finally:
            os._exit(0)
    deadline = time.monotonic() + 60
    while bytes_in(part) < offset + size:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        assert time.monotonic() < deadline
        time.sleep(0.0002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.timeout(120 + 5 * KILLS)
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and Linux's calls")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_killed_while_bytes_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEAD never reports what is not on the disk, and no finished file is wrong."""
    draw = random.Random(1)
    app = make_app(tmp_path)
    client = app.test_client()
    durable: dict[int, int] = {}
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        found = os.fstat(descriptor)
        durable[found.st_ino] = found.st_size

    killed = 0
    while killed < KILLS:
        data = draw.randbytes(LENGTH)
        headers = {**VERSION, "Upload-Length": str(LENGTH)}
        url = client.post("/uploads", headers=headers).location
        part = tmp_path / "files" / ".tus" / url.rpartition("/")[2]
        offset = 0
        while offset < LENGTH:
            size = draw.randrange(LENGTH // 3)
            kill_while_it_appends(client, url, data, offset, size, part)
            killed += 1
            inode = part.stat().st_ino if part.exists() else 0
            durable.clear()
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                told = int(client.head(url, headers=VERSION).headers["Upload-Offset"])
            assert offset <= told <= LENGTH
            if told < LENGTH:
                assert told <= durable[inode]
                assert data.startswith(part.read_bytes())
            offset = told
        with app.app_context():
            provider = app.extensions["store"].provider
            (file,) = provider.list()
            with file.open() as stream:
                assert stream.read() == data
            file.delete()
