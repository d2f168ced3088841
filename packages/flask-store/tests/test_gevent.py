"""A process that gevent has patched: nothing keeps its hub from other requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


pytest.importorskip("gevent")

BEGIN = """
from gevent import monkey
monkey.patch_all()
import sys, threading, time
from pathlib import Path
import gevent

folder = Path(sys.argv[1])
turns = 0

def others():
    global turns
    while True:
        gevent.sleep(0.001)
        turns += 1

gevent.spawn(others)
gevent.sleep(0.01)
"""
LOCK = """
from flask_store._spool import lock

held = []

def hold():
    with (folder / "lock").open("ab") as file:
        lock(file.fileno(), wait=True)
        held.append(None)
        gevent.sleep(0.05)

gevent.joinall([gevent.spawn(hold) for _ in range(5)], raise_error=True)
assert len(held) == 5
"""
FINISH = """
from flask_store._tus.folder import FolderPlace
from flask_store._tus.upload import MovedError, Upload

place = FolderPlace(folder / ".tus", folder, durable=True)
upload = Upload(id="a" * 32, owner="", length=1, raw_metadata="", created=0.0)
place.create(upload)
place.append(upload, 0, [b"x"])

def save(part):
    gevent.sleep(0.2)
    part.link(str(folder / "a.bin"))
    return "a.bin"

finish = gevent.spawn(place.finish, upload, save, lambda name: None)
gevent.sleep(0.05)
try:
    place.append(upload, 1, [])
except MovedError:
    pass
finish.get()
assert (folder / "a.bin").read_bytes() == b"x"
"""
BLOCKS = """
from flask_store._tus.folder import FolderPlace
from flask_store._tus.upload import Upload

place = FolderPlace(folder / ".tus", folder, durable=True)
upload = Upload(id="a" * 32, owner="", length=None, raw_metadata="", created=0.0)
place.create(upload)
before = turns
place.append(upload, 0, (bytes(65536) for _ in range(1000)))
assert turns - before > 10, turns - before
"""
PART = """
from flask_store._parts import Part
from flask_store._spool import Spool

before = turns
with Part(lambda: Spool(str(folder), "a.bin")) as part:
    for _ in range(1000):
        part.write(bytes(65536))
assert turns - before > 10, turns - before
"""
NESTED = """
from flask_store._offload import off_the_hub

ident = monkey.get_original("_thread", "get_ident")
outer, inner = off_the_hub(lambda: (ident(), off_the_hub(ident)))
assert outer == inner != ident()
"""


@pytest.mark.parametrize(
    "script",
    [LOCK, FINISH, BLOCKS, PART, NESTED],
    ids=["lock", "finish", "blocks", "part", "nested"],
)
def test_hub(tmp_path: Path, script: str) -> None:
    """Waiting for a lock lets its holder run, and long loops let others run."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, str(tmp_path)],
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
