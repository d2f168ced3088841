"""Stored bytes, backends that fail, and purges that nothing may lose."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from typing import Any

import pytest
from cachelib import FileSystemCache
from cachelib import SimpleCache
from flask import Flask

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import _failing
from flask_webcache import cache_event
from flask_webcache._backends import Backend
from flask_webcache._backends import files
from flask_webcache._backends.files import Files
from flask_webcache._backends.foreign import Bytes
from flask_webcache._backends.foreign import Foreign
from flask_webcache._rules.entry import Entry
from flask_webcache._rules.entry import Item
from flask_webcache._rules.entry import Metadata
from flask_webcache._rules.entry import decode
from flask_webcache._rules.entry import encode
from flask_webcache._shared import Shared


if TYPE_CHECKING:
    from pathlib import Path

    from planned import Clock
    from planned import Origin


ENTRY = Entry(
    status="200 OK",
    headers=(("Content-Type", "text/plain"), ("X", "é\t")),
    body=b"\x00body",
    born=1.0,
    fresh_until=9.25,
    vary=("foo", "cookie=a"),
    tags=("a",),
    tokens=(("all", 7 << 16), ("url x", 9 << 16)),
)
INDEX = Metadata(("foo",), "salt", (("bar", "foo"),), ("a",), ("key 1",), 3.0)


@pytest.mark.parametrize("item", [ENTRY, INDEX], ids=["entry", "index"])
def test_format(item: Item) -> None:
    """An item is decoded under its name and secret alone, or an earlier secret."""
    data = encode(item, "name", b"secret")
    assert decode(data, "name", [b"secret"]) == item
    assert decode(data, "name", [b"new", b"secret"]) == item
    assert decode(data, "other", [b"secret"]) is None
    assert decode(data, "name", [b"other"]) is None
    assert decode(data[:-1], "name", [b"secret"]) is None
    assert decode(None, "name", [b"secret"]) is None


def test_what_an_older_version_stored(
    make_origin: type[Origin], tmp_path: Path
) -> None:
    """Items of an older format are misses, and no errors."""
    origin = make_origin(url=f"file://{tmp_path}")
    origin.says("max-age=60")
    origin.get()
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"WC2", b"WC1"))
    assert origin.get().text == "made 2"


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
def test_what_an_older_version_left_in_its_place(
    make_origin: type[Origin],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fast: bool,
) -> None:
    """An item pickled by cachelib is ignored, even under a current name."""
    before = FileSystemCache(str(tmp_path))
    for number in range(20):
        before.set(f"flask-webcache:{number}", ("200 OK", [("X", "old")], "old"))
    left = list(tmp_path.iterdir())
    origin = make_origin(url=f"file://{tmp_path}", fast=fast)
    origin.says("max-age=60", Vary="Foo", Cache_Tag="news")
    origin.get()
    ours = [path for path in tmp_path.iterdir() if path not in left]
    for path in ours:
        path.write_bytes(left[0].read_bytes())
    answers = [origin.get() for _ in range(5)]
    assert answers[0].text == "made 2"
    assert answers[-1].headers["X-Cache"] == "hit"
    assert purged(origin, "tag")
    assert origin.get().headers["X-Cache"] == "miss"
    assert not caplog.text
    limited = make_origin(url=f"file://{tmp_path}?max_items=10")
    limited.says("max-age=60")
    for number in range(20):
        limited.get(f"/{number}")
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("line", [("X", "a\r\nb"), ("X\n", "a"), ("X", "\0")], ids=str)
def test_no_line_ends_early(line: tuple[str, str]) -> None:
    """A field with a line break in it is not read back."""
    data = encode(ENTRY._replace(headers=(line,)), "name", b"")
    with pytest.raises(ValueError, match="X"):
        decode(data, "name", [b""])


def test_serializer() -> None:
    """Bytes and numbers, and no pickle."""
    bytes_ = Bytes()
    assert bytes_.loads(bytes_.dumps(b"WC2")) == b"WC2"
    assert bytes_.loads(bytes_.dumps(12)) == 12
    assert bytes_.loads(None) is None
    assert bytes_.loads(b"\x80\x04.") is None
    file = io.BytesIO()
    bytes_.dump(b"x", file)
    file.seek(0)
    assert bytes_.load(file) == b"x"


class Faulty(Backend):
    """A shared cache whose reads, or writes, fail while they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, Any] = {}
        self.calls = 0
        self.fails: set[str] = set()

    def _meet(self, kind: str) -> None:
        self.calls += 1
        if kind in self.fails:
            raise OSError(f"{kind} fails")

    def get(self, key: str) -> Any:
        self._meet("read")
        return self.items.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._meet("write")
        self.items[key] = value
        return True

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._meet("write")
        return self.items.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        self._meet("delete")
        return self.items.pop(key, None) is not None

    def inc(self, key: str, delta: int = 1) -> int:
        self._meet("write")
        self.items[key] = int(self.items.get(key, 0)) + delta
        return int(self.items[key])


@pytest.fixture
def faulty() -> Faulty:
    """A shared cache that fails on demand."""
    return Faulty()


@pytest.fixture
def origin(faulty: Faulty, make_origin: type[Origin]) -> Origin:
    """An app on it."""
    return make_origin(cache=faulty)


def test_requests_go_on(
    origin: Origin, faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    """An app whose backend fails answers every request, and logs once a minute."""
    faulty.fails.update({"read", "write", "delete"})
    origin.says("max-age=60")
    for number in range(1, 4):
        response = origin.get()
        assert response.text == f"made {number}"
        assert "detail=not-kept" in response.headers["Cache-Status"]
    assert faulty.calls < 6
    assert caplog.text.count("The cache backend failed (reading)") == 1
    with origin.app.app_context():
        faulty.fails.clear()
        assert origin.cache.stats()["miss"] == 3


def test_backend_is_tried_again(
    origin: Origin, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second the backend is tried again."""
    now = time.monotonic()
    faulty.fails.update({"read", "write"})
    origin.says("max-age=60")
    origin.get()
    faulty.fails.clear()
    calls = faulty.calls
    origin.get()
    assert faulty.calls == calls
    monkeypatch.setattr("time.monotonic", lambda: now + 2)
    origin.get()
    # It was found not to be stored; now it is.
    origin.get()
    assert origin.get().headers["X-Cache"] == "hit"


def test_reads_go_on_while_writes_fail(origin: Origin, faulty: Faulty) -> None:
    """A write that fails pauses no reads."""
    origin.says("max-age=60")
    origin.get("/hot")
    faulty.fails.update({"write"})
    for number in range(20):
        origin.get(f"/{number}")
        assert origin.get("/hot").headers["X-Cache"] == "hit"


def test_waiting_while_reads_fail(make_origin: type[Origin], faulty: Faulty) -> None:
    """Who cannot see whether another process is done does not ask at full speed."""
    origin = make_origin(cache=faulty, wait_seconds=0.25)
    origin.says("max-age=60")
    cache: Any = origin.app.extensions["webcache"].cache
    key = cache.url_key("http://localhost/")
    assert cache.stock.vault.lead(key, "another process", 60)
    faulty.fails.update({"read"})
    calls = faulty.calls
    assert origin.get().text == "made 1"
    # Half a second, in steps of 5 ms, of a few calls each.
    assert faulty.calls - calls < 1000


def test_purge_of_a_full_backend(origin: Origin, faulty: Faulty) -> None:
    """A purge needs no room."""
    origin.says("max-age=60", Cache_Tag="news")
    origin.get()
    faulty.fails.update({"write"})
    assert purged(origin, "tag")
    assert origin.get().text == "made 2"


def purged(origin: Origin, what: str, **options: bool) -> bool:
    """Purge the front page and return whether it is done."""
    with origin.app.test_request_context("/"):
        if what == "url":
            return origin.cache.purge("/", **options)
        if what == "tag":
            return origin.cache.purge_tag("news", **options)
        return origin.cache.purge_all()


@pytest.mark.parametrize("what", ["url", "tag", "all"])
def test_purge_that_fails(
    origin: Origin,
    faulty: Faulty,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failed purge is reported and retried, and its responses are not used."""
    monkeypatch.setattr(_failing, "RETRY", 0.02)
    origin.says("max-age=60", Cache_Tag="news")
    origin.get()
    faulty.fails.update({"delete"})
    assert not purged(origin, what)
    assert "The purge of" in caplog.text
    for number in (2, 3):
        assert origin.get().text == f"made {number}"
    faulty.fails.clear()
    wait_for(lambda: "succeeded after a retry" in caplog.text)
    wait_for(lambda: origin.get().headers["X-Cache"] == "hit")
    with origin.app.app_context():
        assert origin.cache.stats()["purge-failed"] == 1


def wait_for(met: Any) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("by", ["purge", "write"])
def test_purge_does_not_mind_the_pause(origin: Origin, faulty: Faulty, by: str) -> None:
    """A purge is carried out although the backend failed a moment ago."""
    origin.says("max-age=60")
    origin.get()
    faulty.fails.update({"read", "write"})
    origin.get("/other")
    faulty.fails.clear()
    assert alive(origin) == [b"made 1"]
    if by == "purge":
        assert purged(origin, "url")
    else:
        assert origin.client.post("/").status_code == 200
    assert alive(origin) == []


def alive(origin: Origin) -> list[bytes]:
    """Return the stored entries whose generations exist."""
    stock = origin.app.extensions["webcache"].cache.stock
    key = origin.app.extensions["webcache"].cache.url_key("http://localhost/")
    reads = stock.vault.reads
    paused, reads._retry_at = reads._retry_at, 0.0
    entry = stock.look(key, {}).entry
    reads._retry_at = paused
    return [entry.body] if entry is not None else []


def test_events_of_failures(origin: Origin, faulty: Faulty, clock: Any) -> None:
    """A failed purge, a failure of the backend and a renewal are events and counted."""
    events: list[str] = []

    def listen(sender: Flask, event: str, reason: str) -> None:
        if sender is origin.app:
            events.append(event)

    cache_event.connect(listen)
    origin.says("max-age=1, stale-while-revalidate=100")
    origin.get()
    clock.move(2)
    origin.get()
    wait_for(lambda: events.count("stored") == 2)
    assert {"renewal", "stale"} <= set(events)
    faulty.fails.update({"delete", "read"})
    assert not purged(origin, "url")
    origin.get("/other")
    assert {"purge-failed", "backend-error"} <= set(events)
    faulty.fails.clear()
    with origin.app.app_context():
        stats = origin.cache.stats()
    assert all(stats[one] >= 1 for one in ("purge-failed", "backend-error", "renewal"))


def test_page_that_is_not_stored(origin: Origin, faulty: Faulty) -> None:
    """Once found not to be stored, a page costs one look at the backend."""
    origin.says("no-store")
    origin.get()
    get_many, looks = faulty.get_many, 0

    def note(*names: str) -> Any:
        nonlocal looks
        looks += 1
        return get_many(*names)

    faulty.get_many = note  # type: ignore[method-assign]
    calls = faulty.calls
    origin.get()
    assert looks == 1
    # The entry or index, and the generations of all, of the tags and of the URL.
    assert faulty.calls - calls == 4


def test_purge_command_that_fails(origin: Origin, faulty: Faulty) -> None:
    """A command whose purge or count fails exits with 1."""
    faulty.fails.update({"delete", "read"})
    runner = origin.app.test_cli_runner()
    for arguments in (["purge", "http://localhost/"], ["stats"]):
        result = runner.invoke(args=["webcache", *arguments])
        assert result.exit_code == 1
        assert "The backend failed" in result.output


def test_lost_generations(origin: Origin, faulty: Faulty) -> None:
    """Whatever the backend loses is a miss, never an old page."""
    origin.says("max-age=60", Cache_Tag="news")
    for _ in range(2):
        origin.get()
        stock: Any = origin.app.extensions["webcache"].cache.stock
        # It matters only to responses that are being made.
        purges = stock.vault.thing_name("purges", "")
        for name in [one for one, value in faulty.items.items() if value.isdigit()]:
            del faulty.items[name]
            assert (origin.get().headers["X-Cache"] == "miss") is (name != purges)
            origin.get()


@pytest.mark.parametrize("how", ["evicted", "no Vary for once"])
def test_lost_index(origin: Origin, faulty: Faulty, how: str) -> None:
    """An index that is lost is made again by the process that remembers it."""
    origin.says("max-age=60", Vary="Foo")
    assert [origin.get().headers["X-Cache"] for _ in "ab"] == ["miss", "hit"]
    if how == "evicted":
        cache: Any = origin.app.extensions["webcache"].cache
        key = cache.url_key("http://localhost/")
        del faulty.items[cache.stock.vault.name(key)]
    else:
        origin.says("max-age=60")
        origin.get(Cache_Control="no-cache")
        origin.says("max-age=60", Vary="Foo")
    origin.get(Cache_Control="no-cache")
    text = f"made {len(origin.seen)}"
    for _ in range(2):
        response = origin.get()
        assert (response.text, response.headers["X-Cache"]) == (text, "hit")


def test_replayed_items(origin: Origin, faulty: Faulty) -> None:
    """An old response that is put back after a purge does not answer."""
    origin.says("max-age=60", "old", Vary="Foo")
    origin.get()
    before = dict(faulty.items)
    assert purged(origin, "url")
    origin.says("max-age=60", "new", Vary="Foo")
    origin.get()
    faulty.items.update(
        (name, value) for name, value in before.items() if not value.isdigit()
    )
    assert origin.get().text == "new"


@pytest.mark.parametrize("what", ["url", "tag"])
def test_soft_purge(origin: Origin, what: str, clock: Any) -> None:
    """A soft purge makes stale: good while it is renewed, and not beyond."""
    tasks: list[Any] = []
    object.__setattr__(
        origin.app.extensions["webcache"].config,
        "preemptive_recache_callback",
        tasks.append,
    )
    origin.says("max-age=60, stale-while-revalidate=30", Cache_Tag="news")
    origin.get("/")
    origin.says("max-age=60", "strict", Cache_Tag="news")
    origin.get("/x")
    clock.move(40)
    assert purged(origin, what, soft=True)
    stale = origin.get()
    assert (stale.text, stale.headers["X-Cache"]) == ("made 1", "hit")
    assert stale.headers["Cache-Status"].startswith("flask-webcache; hit; ttl=")
    assert len(tasks) == 1
    assert (origin.get("/x").headers["X-Cache"] == "miss") is (what == "tag")
    origin.says("max-age=60", "renewed", Cache_Tag="news")
    origin.app(tasks[0].environ(), lambda *_: lambda _: None)
    assert origin.get().text == "renewed"


def test_secret_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key set late signs, fallbacks verify, and a lack of keys is a warning."""
    texts = []
    for key, fallbacks in (("old", []), ("new", ["old"]), ("other", ["new"])):
        app = Flask(__name__)
        WebCache(app, config=Config(url=f"file://{tmp_path}"))
        assert "has no SECRET_KEY" in caplog.text
        app.secret_key = key
        app.config["SECRET_KEY_FALLBACKS"] = fallbacks
        body = ("made with " + key, {"Cache-Control": "max-age=60"})
        app.add_url_rule("/", view_func=lambda body=body: body)
        texts.append(app.test_client().get("/").text)
    assert texts == ["made with old", "made with old", "made with other"]


def test_purge_while_keys_change(tmp_path: Path) -> None:
    """A process with a new key purges what one with the old key has stored."""
    bodies = {"old": "old 1", "new": "new 1"}
    apps: dict[str, Flask] = {}
    for key, fallbacks in (("old", []), ("new", ["old"])):
        app = apps[key] = Flask(key)
        app.secret_key = key
        app.config["SECRET_KEY_FALLBACKS"] = fallbacks
        WebCache(app, config=Config(url=f"file://{tmp_path}"))

        @app.get("/")
        def view(key: str = key) -> tuple[str, dict[str, str]]:
            return bodies[key], {"Cache-Control": "max-age=60", "Cache-Tag": "news"}

    def get(key: str) -> str:
        return apps[key].test_client().get("/").text

    assert [get("old"), get("new")] == ["old 1", "old 1"]
    bodies.update(old="old 2", new="new 2")
    assert apps["new"].extensions["webcache"].purge_tag("news")
    assert get("old") == "old 2"
    assert apps["new"].extensions["webcache"].purge_tag("news")
    assert [get("new"), get("new")] == ["new 2", "new 2"]
    bodies.update(new="new 3")
    assert apps["old"].extensions["webcache"].purge_tag("news")
    assert get("new") == "new 3"


def test_dangling_index(make_origin: type[Origin], tmp_path: Path) -> None:
    """A variant that the backend dropped is a miss."""
    origin = make_origin(url=f"file://{tmp_path}")
    origin.says("max-age=60", Vary="Foo")
    origin.get(Foo="1")
    for path in tmp_path.iterdir():
        if b"made 1" in path.read_bytes():
            path.unlink()
    assert origin.get(Foo="1").text == "made 2"


def test_unreadable_item(origin: Origin, faulty: Faulty) -> None:
    """An item that is signed and cannot be read is a miss."""
    stock: Any = origin.app.extensions["webcache"].cache.stock
    assert isinstance(stock, Shared)
    assert stock._vault.write(
        stock._vault.home("a"), "a", ENTRY._replace(headers=(("X", "a\nb"),)), 60
    )
    assert stock.look("a", {}).entry is None


def test_entry_without_generations(origin: Origin) -> None:
    """An entry that names no generation never answers."""
    stock: Any = origin.app.extensions["webcache"].cache.stock
    stock.vault.write(
        stock.vault.home("a"), "a", ENTRY._replace(tokens=(), vary=()), 60
    )
    assert stock.look("a", {}).entry is None


def test_local_generations_do_not_pile_up(make_origin: type[Origin]) -> None:
    """In one process, a generation lives as long as an entry that has it."""
    origin = make_origin(cache=SimpleCache(threshold=10))
    origin.says("max-age=60")
    for number in range(100):
        origin.get(f"/{number}")
    stock: Any = origin.app.extensions["webcache"].cache.stock
    assert len(stock._generations._current) < 60


ADDING = """
import sys, time
from pathlib import Path
from flask_webcache._backends.files import Files

class Slow(Files):
    def set(self, *args, **options):
        time.sleep(0.005)  # between the look and the writing
        return super().set(*args, **options)

folder, number, processes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cache = Slow(str(folder / "cache"))
(folder / f"ready {number}").touch()
deadline = time.monotonic() + 60
while len(list(folder.glob("ready *"))) < processes:
    assert time.monotonic() < deadline
    time.sleep(0.001)
for name in range(20):
    cache.inc("count")
    if cache.add(f"lock {name}", b"x", 60):
        print(name)
"""


def test_files_add_once(tmp_path: Path) -> None:
    """Of the processes that add one name at once to files, a single one succeeds."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, str(tmp_path), str(number), "3"],
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    added = [process.communicate(timeout=100)[0].split() for process in processes]
    names = [int(name) for some in added for name in some]
    assert sorted(names) == list(range(20))
    assert Files(str(tmp_path / "cache")).get("count") == b"60"


@pytest.mark.parametrize("locks", [True, False], ids=["posix", "windows"])
def test_files_add_over_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, locks: bool
) -> None:
    """An expired file does not block the next one."""
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    cache = Files(str(tmp_path))
    assert [cache.add("a", b"x", 60) for _ in "ab"] == [True, False]
    clock.move(61)
    assert not cache.has("a")
    assert cache.add("a", b"x", 60)


def test_files_interface(tmp_path: Path) -> None:
    """Numbers are added to, and deleting tells whether there was one."""
    cache = Files(str(tmp_path / "new" / "folder"))
    assert [cache.inc("a"), cache.inc("a", 2), cache.dec("a")] == [1, 3, 2]
    assert [cache.delete("a"), cache.delete("a")] == [True, False]
    assert cache.set("b", b"1")
    assert [cache.delete_if("b", one) for one in (b"2", b"1")] == [False, True]
    assert cache.add_many({"b": (b"1", 9), "c": (b"", 9)}) == [True, True]
    assert cache.get_many("b", "c", "d") == [b"1", b"", None]
    (tmp_path / "new" / "folder" / "other").write_text("not ours")
    assert cache.clear()
    assert cache.get_many("b", "c") == [None, None]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["other"]
    assert "folder" in repr(cache)


def test_files_least_recently_used(tmp_path: Path) -> None:
    """The least recently used entry is evicted, whenever it would expire."""
    cache = Files(str(tmp_path), max_items=50)
    cache.set("used", b"1", 30)
    for number in range(400):
        # Times of files are those of the machine.
        for path in tmp_path.iterdir():
            os.utime(path, (0, path.stat().st_mtime - 2))
        cache.set(str(number), b"1", 3600)
        if number % 10 == 0:
            assert cache.get("used") == b"1"
    assert 40 <= len(list(tmp_path.iterdir())) <= 60


def test_files_that_cannot_be_deleted(tmp_path: Path) -> None:
    """Deleting a file that stays is an error, and not a silent success."""
    cache = Files(str(tmp_path))
    cache.set("a", b"x")
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match=str(path)):
        cache.delete("a")


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that could not be put in place is not left behind."""
    cache = Files(str(tmp_path))
    cache._path("a").mkdir()
    with pytest.raises(OSError, match="a"):
        cache.set("a", b"x")
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]


def test_cache_of_the_app_that_deletes_nothing(tmp_path: Path) -> None:
    """A purge is not done where the cache keeps what is to be deleted."""

    class Keeps(FileSystemCache):
        def delete(self, key: str, mgmt_element: bool = False) -> bool:
            return False

    cache = Foreign(Keeps(str(tmp_path)))
    cache.set("a", b"x", 60)
    with pytest.raises(OSError, match="does not delete"):
        cache.remove("b", "a")


def test_objects_of_the_app(tmp_path: Path) -> None:
    """A cache that the app made keeps its own serializer."""
    cache = FileSystemCache(str(tmp_path))
    app = Flask(__name__)
    app.secret_key = "secret"
    WebCache(app, cache=cache)
    app.add_url_rule("/", view_func=lambda: ("x", {"Cache-Control": "max-age=9"}))
    for said in ("miss", "hit"):
        assert app.test_client().get("/").headers["X-Cache"] == said
    cache.set("own", {"a": 1})
    assert cache.get("own") == {"a": 1}


def test_renewals_are_bounded(make_origin: type[Origin], clock: Any) -> None:
    """Many stale pages are renewed by a few threads."""
    origin = make_origin(cache=SimpleCache(threshold=1000))
    origin.says("max-age=1, stale-while-revalidate=600")
    for number in range(40):
        origin.get(f"/{number}")
    clock.move(5)
    plan, release = origin.answer, threading.Event()

    def answer() -> Any:
        release.wait(30)
        return plan()

    origin.answer = answer
    before = set(threading.enumerate())
    try:
        for number in range(40):
            assert origin.get(f"/{number}").headers["X-Cache"] == "hit"
        names = [one.name for one in set(threading.enumerate()) - before]
        assert names.count("webcache-recache") == 4
    finally:
        release.set()
    wait_for(lambda: len(origin.seen) == 80)


def test_renewed_as_often_as_it_is_stale(origin: Origin, clock: Any) -> None:
    """A page of one second is renewed each second, not every half minute."""
    origin.says("max-age=1, stale-while-revalidate=100")
    origin.get()
    for number in range(2, 6):
        clock.move(2)
        origin.get()
        wait_for(lambda number=number: len(origin.seen) == number)
        wait_for(lambda number=number: origin.get().text == f"made {number}")
