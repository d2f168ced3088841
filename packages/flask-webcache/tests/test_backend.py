"""The backend: our own bytes, and silence when it fails."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from typing import Any

import pytest
from cachelib import FileSystemCache
from cachelib.base import BaseCache

from flask_webcache import backend as module
from flask_webcache._backends import connect
from flask_webcache.backend import Backend
from flask_webcache.backend import Bytes
from flask_webcache.rules.entry import Entry
from flask_webcache.rules.entry import Item
from flask_webcache.rules.entry import Metadata
from flask_webcache.rules.entry import Variant
from flask_webcache.rules.entry import decode
from flask_webcache.rules.entry import encode


if TYPE_CHECKING:
    from pathlib import Path

    from planned import Origin


ENTRY = Entry(
    status="200 OK",
    headers=(("Content-Type", "text/plain"), ("X", "é\t")),
    body=b"\x00body",
    started=1.5,
    born=1.0,
    fresh_until=9.25,
    vary=(("foo", None), ("bar", "1")),
    tags=("a",),
)
ITEMS = [
    ENTRY,
    Metadata(("foo",), "salt", (Variant((("foo", "1"),), "de", 5.0),), 3.0),
    "mark",
]


@pytest.mark.parametrize("item", ITEMS, ids=["entry", "metadata", "mark"])
def test_format(item: Item) -> None:
    """What is encoded is decoded, under its name and secret alone."""
    data = encode(item, "name", b"secret")
    assert decode(data, "name", b"secret") == item
    assert decode(data, "other", b"secret") is None
    assert decode(data, "name", b"other") is None
    assert decode(data[:-1], "name", b"secret") is None
    assert decode(None, "name", b"secret") is None
    assert decode(b"WC0" + data[3:], "name", b"secret") is None


@pytest.mark.parametrize("line", [("X", "a\r\nb"), ("X\n", "a"), ("X", "\0")], ids=str)
def test_no_line_ends_early(line: tuple[str, str]) -> None:
    """A field with a line break in it is not read back."""
    entry = Entry(
        status="200 OK", headers=(line,), body=b"", started=0, born=0, fresh_until=0
    )
    with pytest.raises(ValueError, match="X"):
        decode(encode(entry, "name", b""), "name", b"")


def test_serializer() -> None:
    """Bytes and the integers of cachelib's own book-keeping, and no pickle."""
    bytes_ = Bytes()
    assert bytes_.loads(bytes_.dumps(b"WC1")) == b"WC1"
    assert bytes_.loads(bytes_.dumps(12)) == 12
    assert bytes_.loads(None) is None
    assert bytes_.loads(b"\x80\x04.") is None
    file = io.BytesIO()
    bytes_.dump(b"x", file)
    file.seek(0)
    assert bytes_.load(file) == b"x"


class Broken(BaseCache):
    """A cache that fails until it is repaired."""

    broken = True
    calls = 0

    def _work(self, *_: Any) -> Any:
        Broken.calls += 1
        if Broken.broken:
            raise OSError("no route")
        return [None]

    get_many = get = set = add = delete = inc = _work  # type: ignore[assignment]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    """A cache that fails."""
    monkeypatch.setattr(Broken, "broken", True)
    monkeypatch.setattr(Broken, "calls", 0)
    return Broken()


def test_failure_is_silent(
    broken: Broken, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that fails is left alone for a while, and logged once a minute."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    backend = Backend(broken, prefix="", secret=b"")
    assert backend.get("a") is None
    calls = Broken.calls
    assert backend.get_many("a", "b") == [None, None]
    assert backend.set("a", "b", 1) is False
    assert backend.add("a", "b", 1) is None
    backend.delete("a")
    backend.count("a", 1)
    assert backend.counted("a", "b") == [0, 0]
    assert Broken.calls == calls
    now = 101.5
    assert backend.get("a") is None
    assert Broken.calls == calls + 1
    assert caplog.text.count("The cache backend failed") == 1
    now = 161.5
    backend.get("a")
    assert caplog.text.count("The cache backend failed") == 2
    now = 163.0
    Broken.broken = False
    assert backend.get("a") is None
    assert backend.add("a", "b", 1) is True


def test_requests_go_on(make_origin: type[Origin], broken: Broken) -> None:
    """An app whose backend fails answers every request."""
    from flask import Flask

    from flask_webcache import WebCache

    app = Flask(__name__)
    WebCache(app, cache=broken)
    app.add_url_rule("/", view_func=lambda: ("fine", {"Cache-Control": "max-age=60"}))
    for _ in range(3):
        response = app.test_client().get("/")
        assert response.text == "fine"
        assert response.headers["Cache-Status"].endswith("detail=not-kept")


def test_redis_url() -> None:
    """Nothing connects before the first request."""
    pytest.importorskip("redis")
    backend = Backend(connect("redis://127.0.0.1:1/0"), prefix="", secret=b"")
    assert not backend.local
    assert backend.add("a", "b", 1) is None


def test_dangling_metadata(make_origin: type[Origin], tmp_path: Path) -> None:
    """A variant that the backend dropped is a miss."""
    origin = make_origin(url=f"file://{tmp_path}")
    origin.says("max-age=60", Vary="Foo")
    origin.get(Foo="1")
    for path in tmp_path.iterdir():
        if b"made 1" in path.read_bytes():
            path.unlink()
    assert origin.get(Foo="1").text == "made 2"


def test_marks_of_others(make_origin: type[Origin], tmp_path: Path) -> None:
    """A mark that is no moment purges nothing."""
    origin = make_origin(url=f"file://{tmp_path}")
    resources = origin.app.extensions["webcache"].resources
    origin.says("max-age=60")
    origin.get()
    resources.backend.set(resources._mark(""), "nonsense", 60)
    assert origin.get().headers["X-Cache"] == "hit"
    key = resources.url_key("http://localhost/")
    resources.backend.set(key, "nonsense", 60)
    assert origin.get().text == "made 2"


def test_write_that_fails(
    make_origin: type[Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that cannot be stored is not pointed to."""
    origin = make_origin(url=f"file://{tmp_path}")
    monkeypatch.setattr(
        origin.app.extensions["webcache"].resources.backend, "set", lambda *_: False
    )
    origin.says("max-age=60", Vary="Foo")
    assert origin.get().headers["Cache-Status"].endswith("detail=not-kept")


def test_unreadable_item(tmp_path: Path) -> None:
    """An item that is signed and cannot be read is a miss."""
    backend = Backend(connect(f"file://{tmp_path}"), prefix="", secret=b"")
    assert backend.set("a", ENTRY._replace(headers=(("X", "a\nb"),)), 60)
    assert backend.get("a") is None


ADDING = """
import sys, time
from pathlib import Path
from cachelib import FileSystemCache
from flask_webcache.backend import Backend

class Slow(FileSystemCache):
    def set(self, *args, **options):
        time.sleep(0.005)  # between the look and the writing
        return super().set(*args, **options)

folder, number, processes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
backend = Backend(Slow(str(folder / "cache"), threshold=0), prefix="", secret=b"")
(folder / f"ready {number}").touch()
deadline = time.monotonic() + 30
while len(list(folder.glob("ready *"))) < processes:
    assert time.monotonic() < deadline
    time.sleep(0.001)
print(*(name for name in range(20) if backend.add(f"lock {name}", "", 60)))
"""


def test_files_add_once(tmp_path: Path) -> None:
    """Of the processes that add one name at once to files, a single one succeeds."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, str(tmp_path), str(number), "4"],
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    added = [process.communicate(timeout=60)[0].split() for process in processes]
    names = [int(name) for some in added for name in some]
    assert sorted(names) == list(range(20))


@pytest.mark.parametrize("locks", [True, False], ids=["posix", "windows"])
def test_files_add_over_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    """What has expired on files is no longer in the way of the next."""
    if not locks:
        monkeypatch.setattr(module, "fcntl", None)
    cache = FileSystemCache(str(tmp_path))
    backend = Backend(cache, prefix="", secret=b"")
    assert backend.add("a", "", 60)
    assert backend.add("a", "", 60) is False
    monkeypatch.setattr("cachelib.file.time", lambda: time.time() + 61)
    assert backend.add("a", "", 60)
