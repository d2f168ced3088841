"""Purging by URL, by tag and all at once; on a cache of one process and on files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Response


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from planned import Clock
    from planned import Origin

    Make = Callable[..., Origin]


@pytest.fixture(params=["simple", "file"])
def make(
    request: pytest.FixtureRequest, make_origin: type[Origin], tmp_path: Path
) -> Make:
    """Makes apps, which share their backend where it is of files."""
    url = "simple://" if request.param == "simple" else f"file://{tmp_path}"
    return lambda **options: make_origin(url=url, **options)


def test_purge_url(make: Make) -> None:
    """One URL goes with its variants, and no other."""
    origin = make()
    origin.says("max-age=60", Vary="Foo")
    for path, foo in [("/a", "1"), ("/a", "2"), ("/a?q", "1"), ("/b", "1")]:
        origin.get(path, Foo=foo)
    with origin.app.app_context():
        origin.cache.purge("http://localhost/a")
    assert origin.get("/a", Foo="1").text == "made 5"
    assert origin.get("/a", Foo="2").text == "made 6"
    assert origin.get("/a?q", Foo="1").text == "made 3"
    assert origin.get("/b", Foo="1").text == "made 4"
    assert origin.get("/a", Foo="1").text == "made 5"


def test_purge_path(make: Make) -> None:
    """A path is one of the host of the request in hand, or of SERVER_NAME."""
    origin = make()
    origin.says("max-age=60")
    origin.get("/caf%C3%A9")
    with origin.app.test_request_context("/"):
        origin.cache.purge("/caf%C3%A9")
    assert origin.get("/caf%C3%A9").text == "made 2"
    origin.app.config["SERVER_NAME"] = "localhost"
    with origin.app.app_context():
        origin.cache.purge("/caf%C3%A9")
    assert origin.get("/caf%C3%A9").text == "made 3"


def test_purge_path_of_no_host(make: Make) -> None:
    """A path of no host cannot be purged, and the error says what to do."""
    origin = make()
    with (
        origin.app.app_context(),
        pytest.raises(ValueError, match="url is '/x': give an absolute URL"),
    ):
        origin.cache.purge("/x")


@pytest.mark.parametrize(
    "fields", [{"Cache-Tag": "news, x"}, {"Cache-Groups": '"news", "x";a'}], ids=str
)
def test_purge_tag(make: Make, clock: Clock, fields: dict[str, str]) -> None:
    """Pages with the tag are purged, on every URL."""
    origin = make()
    origin.says("max-age=60", headers={**fields, "Vary": "Foo"})
    origin.get("/a")
    origin.get("/b", Foo="1")
    origin.says("max-age=60", Cache_Tag="other")
    origin.get("/c")
    clock.move(1)
    with origin.app.app_context():
        origin.cache.purge_tag("news")
    clock.move(1)
    origin.says("max-age=60", "new", headers=fields)
    assert origin.get("/a").text == "new"
    assert origin.get("/b", Foo="1").text == "new"
    assert origin.get("/c").text == "made 3"
    for path in ("/a", "/c"):
        assert origin.get(path).headers["X-Cache"] == "hit"


def test_purge_group_by_response(make: Make, clock: Clock) -> None:
    """A response to an unsafe request purges groups (RFC 9875)."""
    origin = make()
    origin.says("max-age=60", Cache_Groups='"news"')
    origin.get("/a")
    clock.move(1)
    origin.says(None, "done", Cache_Group_Invalidation='"news"')
    origin.client.post("/x")
    clock.move(1)
    origin.says("max-age=60", "new")
    assert origin.get("/a").text == "new"


def test_purge_tag_of_nothing(make: Make) -> None:
    """An empty tag is a mistake."""
    origin = make()
    with origin.app.app_context(), pytest.raises(ValueError, match="tag is ''"):
        origin.cache.purge_tag("")


def test_purge_all(make: Make, clock: Clock) -> None:
    """Everything goes."""
    origin = make()
    origin.says("max-age=60", Vary="Foo")
    origin.get("/a")
    origin.says("max-age=60")
    origin.get("/b")
    clock.move(1)
    with origin.app.app_context():
        origin.cache.purge_all()
    clock.move(1)
    assert origin.get("/a").text == "made 3"
    assert origin.get("/b").text == "made 4"
    assert origin.get("/b").text == "made 4"


def test_purge_in_another_process(
    make_origin: type[Origin], tmp_path: Path, clock: Clock
) -> None:
    """A page that one process purges is gone for others on the same backend."""
    one, other = (make_origin(url=f"file://{tmp_path}") for _ in range(2))
    for origin in (one, other):
        origin.says("max-age=60", Cache_Tag="news")
    for purge in ("purge_tag", "purge_all"):
        one.get()
        assert other.get().headers["X-Cache"] == "hit"
        clock.move(1)
        with one.app.app_context():
            getattr(one.cache, purge)(*(["news"] if purge == "purge_tag" else []))
        clock.move(1)
        assert other.get().headers["X-Cache"] == "miss"


@pytest.mark.parametrize("purge", ["purge", "purge_tag", "purge_all"])
def test_purge_while_made(make: Make, clock: Clock, purge: str) -> None:
    """A page that was begun before a purge is not stored after it."""
    origin = make()
    origin.says("max-age=60", "old", Cache_Tag="news")
    plan = origin.answer
    value = {"purge": ["/"], "purge_tag": ["news"], "purge_all": []}[purge]

    def answer() -> object:
        response = plan()
        clock.move(1)
        getattr(origin.cache, purge)(*value)
        return response

    origin.answer = answer
    origin.get()
    clock.move(1)
    origin.says("max-age=60", "new")
    assert origin.get().text == "new"


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
def test_late_view(make: Make, fast: bool) -> None:
    """A view that began before a write does not undo what was stored after it."""
    origin = make(fast=fast, lock_seconds=0)
    origin.says("max-age=60", "new")
    new = origin.answer

    def answer() -> object:
        origin.answer = new
        origin.client.post("/")
        assert origin.get(Cache_Control="no-cache").text == "new"
        return Response("old", headers={"Cache-Control": "max-age=60"})

    origin.answer = answer
    assert origin.get().text == "old"
    for _ in range(3):
        assert origin.get().text == "new"


def test_purge_by_a_clock_that_is_behind(
    make_origin: type[Origin], tmp_path: Path, clock: Clock
) -> None:
    """A purge takes effect, whatever time it is for the process that purges."""
    one, other = (make_origin(url=f"file://{tmp_path}") for _ in range(2))
    for origin in (one, other):
        origin.says("max-age=60", Cache_Tag="news")
    one.get()
    clock.move(1 - 4)
    with other.app.app_context():
        assert other.cache.purge_tag("news")
    clock.move(4)
    assert one.get().headers["X-Cache"] == "miss"


def test_many_hints(
    make_origin: type[Origin], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The number of resources that a process remembers is limited."""
    monkeypatch.setattr("flask_webcache._shared.HINTS", 2)
    origin = make_origin(url=f"file://{tmp_path}")
    origin.says("max-age=60", Vary="Foo")
    for _ in range(2):
        for number in range(5):
            origin.get(f"/{number}", Foo="1")
    stock = origin.app.extensions["webcache"].cache.stock
    assert len(stock._hints) <= 2
    assert len(origin.seen) == 5


def test_more_variants_than_room(make: Make) -> None:
    """A resource keeps its latest variants alone."""
    origin = make(max_variants=2)
    origin.says("max-age=60", Vary="Foo")
    for foo in "123":
        origin.get(Foo=foo)
    assert [origin.get(Foo=foo).headers["X-Cache"] for foo in "321"] == [
        "hit",
        "hit",
        "miss",
    ]
