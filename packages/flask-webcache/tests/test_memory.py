"""The cache in memory: bounded, in the order of use, at constant cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING
from typing import Any

import pytest

from flask_webcache import MemoryCache


if TYPE_CHECKING:
    from planned import Clock
    from planned import Origin


def test_interface(clock: Clock) -> None:
    """It does what cachelib says a cache does."""
    cache = MemoryCache()
    assert cache.get("a") is None
    assert cache.set("a", b"1", 10)
    assert cache.get("a") == b"1"
    assert cache.get_many("a", "b") == [b"1", None]
    assert cache.get_dict("a", "b") == {"a": b"1", "b": None}
    assert [cache.add("a", b"2"), cache.add("b", b"2")] == [False, True]
    assert cache.set_many({"c": b"3", "d": b"4"}) == ["c", "d"]
    assert [cache.has(name) for name in "abcde"] == [True] * 4 + [False]
    assert [cache.delete("c"), cache.delete("c")] == [True, False]
    assert cache.delete_many("d", "e") == ["d", "e"]
    assert [cache.inc("n"), cache.inc("n", 2), cache.dec("n")] == [1, 3, 2]
    clock.move(11)
    assert cache.get("a") is None
    assert cache.get("b") == b"2"
    assert cache.clear()
    assert (len(cache), cache.size) == (0, 0)
    assert repr(MemoryCache(max_items=1)) == (
        "MemoryCache(max_items=1, max_bytes=67108864)"
    )


@pytest.mark.parametrize("timeout", [5, timedelta(seconds=5)], ids=str)
def test_expiry(clock: Clock, timeout: Any) -> None:
    """An expired entry is gone for every operation, and can be added again."""
    cache = MemoryCache()
    for name in "abcd":
        cache.set(name, b"1", timeout)
    clock.move(4.9)
    assert cache.get("a") == b"1"
    clock.move(0.2)
    assert cache.get("a") is None
    assert not cache.has("b")
    assert not cache.delete("c")
    assert cache.add("d", b"2", timeout)
    assert cache.get("d") == b"2"
    # The one that was never asked for again is still counted.
    assert len(cache) == 2


def test_least_recently_used() -> None:
    """Recently used entries stay; a look whether one exists is no use of it."""
    cache = MemoryCache(max_items=3)
    for name in "abc":
        cache.set(name, b"1")
    cache.get("a")
    cache.has("b")
    cache.set("d", b"1")
    assert [cache.has(name) for name in "abcd"] == [True, False, True, True]
    cache.set("c", b"2")
    cache.set("e", b"1")
    assert [cache.has(name) for name in "acde"] == [False, True, True, True]


def test_bytes() -> None:
    """The size is bounded, and what does not fit at all is refused."""
    cache = MemoryCache(max_bytes=10_000)
    for number in range(100):
        assert cache.set(str(number), bytes(1000))
        assert 0 < cache.size <= 10_000
    assert 6 <= len(cache) <= 9
    assert cache.set("99", bytes(10_000)) is False
    # An old value does not stay in its place.
    assert cache.get("99") is None
    for number in range(100):
        cache.delete(str(number))
    assert (len(cache), cache.size) == (0, 0)


def test_weight_of_what_is_inside() -> None:
    """Containers weigh what they contain, cycles end, and objects count as they are."""
    cache = MemoryCache()
    big = bytes(100_000)
    endless: list[Any] = []
    endless.append(endless)
    for value in ((big,), [[big]], {"a": big}, frozenset([big])):
        cache.clear()
        cache.set("a", value)
        assert 100_000 < cache.size < 102_000
    assert cache.set("a", endless)
    assert cache.set("a", object())


@pytest.mark.parametrize("name", ["max_items", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "9"])
def test_wrong_bounds(name: str, value: Any) -> None:
    """A bound is a whole number."""
    with pytest.raises(ValueError, match=f"{name} is {value!r}: set a whole number"):
        MemoryCache(**{name: value})


def test_threads() -> None:
    """Threads that read, write and delete at once lose neither items nor count."""
    cache = MemoryCache(max_items=50, max_bytes=100_000)
    errors: list[BaseException] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        try:
            barrier.wait(10)
            for turn in range(3000):
                key = str((turn * (number + 1)) % 120)
                found = cache.get(key)
                assert found in (None, key.encode())
                cache.set(key, key.encode(), 60)
                if turn % 7 == 0:
                    cache.delete(key)
                cache.inc("all")
        except BaseException as error:  # noqa: BLE001 - for the main thread
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(one,)) for one in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert cache.get("all") == 18_000
    assert len(cache) <= 50
    cache.delete_many(*map(str, range(120)), "all")
    assert (len(cache), cache.size) == (0, 0)


def test_reader_between_eviction_and_expiry(clock: Clock) -> None:
    """A reader that finds an expired item does not remove its successor."""
    cache = MemoryCache()
    cache.set("a", b"1", 1)
    item = cache._items["a"]
    clock.move(2)
    cache.set("a", b"2", 10)
    cache._expire("a", item)
    assert cache.get("a") == b"2"


COUNTING = """
import sys
from flask_webcache import MemoryCache
size = int(sys.argv[1])
cache = MemoryCache(max_items=size, max_bytes=10**9)
for number in range(size):
    cache.set(f"key {number:9}", b"x" * 100, 60)
count = 0
def trace(frame, event, argument):
    global count
    count += 1
    return trace
sys.settrace(trace)
for number in range(size, size + 200):
    cache.get(f"key {number:9}")
    cache.set(f"key {number:9}", b"x" * 100, 60)
sys.settrace(None)
print(count)
"""


def test_constant_steps() -> None:
    """A full cache of 100,000 items takes as many steps as one of 100."""
    steps = [
        int(subprocess.check_output([sys.executable, "-c", COUNTING, str(size)]))
        for size in (100, 100_000)
    ]
    assert steps[0] == steps[1]


FILLING = """
import sys
from pathlib import Path
import os
from flask import Flask
from flask_webcache import WebCache, MemoryCache
size, count, limit = map(int, sys.argv[1:])
app = Flask("app")
cache = MemoryCache(max_bytes=limit)
WebCache(app, cache=cache)
@app.get("/<int:number>")
def page(number):
    return b"%9d" % number + b"x" * size, {"Cache-Control": "max-age=3600"}
def memory():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
client = app.test_client()
for number in range(20):
    client.get(f"/{number}")
cache.clear()
before = memory()
for number in range(count):
    assert client.get(f"/{number}").status_code == 200
print(memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(("size", "count"), [(900_000, 40), (200, 2400)])
def test_memory_stays_within_the_limit(size: int, count: int) -> None:
    """A process grows by the limit at most, and a fifth of it."""
    limit = 5_000_000 if count > 1000 else 20_000_000
    command = [sys.executable, "-c", FILLING, str(size), str(count), str(limit)]
    grown = int(subprocess.check_output(command, timeout=120))
    assert grown < 1.2 * limit


def test_crawler(make_origin: type[Origin], clock: Clock) -> None:
    """A page of 30 s in use stays a hit while many of an hour are fetched.

    They are 10,000 with ``CRAWL=all``.
    """
    origin = make_origin(url="simple://?max_items=100")
    origin.says("max-age=30", "short")
    origin.get("/short")
    origin.says("max-age=3600", "long")
    count = 10_000 if os.environ.get("CRAWL") == "all" else 600
    for number in range(count):
        origin.get(f"/{number}")
        if number % 60 == 0:
            clock.move(600 / count)
            assert origin.get("/short").headers["X-Cache"] == "hit"
