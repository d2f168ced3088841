"""One view run for concurrent requests."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Response

from flask_webcache.flights import PASSES
from flask_webcache.flights import Flights


if TYPE_CHECKING:
    from pathlib import Path

    from planned import Origin


@pytest.fixture(params=["simple", "file"])
def origin(
    request: pytest.FixtureRequest, make_origin: type[Origin], tmp_path: Path
) -> Origin:
    """An app with a slow view, on a cache of its own and on a shared one."""
    url = "simple://" if request.param == "simple" else f"file://{tmp_path}"
    return make_origin(url=url)


def slow(origin: Origin, said: str, seconds: float = 0.3) -> None:
    """Make the view take a while."""
    origin.says(said)
    plan = origin.answer

    def answer() -> Any:
        time.sleep(seconds)
        return plan()

    origin.answer = answer


def crowd(origin: Origin, number: int = 20, **fields: str) -> list[Any]:
    """Make requests at once."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: origin.get(**fields), range(number)))


def test_one_view_run(origin: Origin) -> None:
    """Those who come while the page is made get it when it is there."""
    slow(origin, "max-age=60")
    responses = crowd(origin)
    assert len(origin.seen) == 1
    assert {response.text for response in responses} == {"made 1"}
    statuses = {response.headers["Cache-Status"] for response in responses}
    assert statuses >= {
        "flask-webcache; fwd=uri-miss; stored",
        "flask-webcache; fwd=uri-miss; collapsed",
    }


def test_stale_is_validated_once(origin: Origin) -> None:
    """A stale response is made again once."""
    origin.says("max-age=1", ETag='"a"')
    origin.get()
    time.sleep(1.1)
    slow(origin, "max-age=60")
    assert {response.text for response in crowd(origin)} == {"made 2"}


def test_uncacheable_does_not_queue(origin: Origin) -> None:
    """After the first, requests for what is not stored run side by side."""
    slow(origin, "no-store")
    began = time.monotonic()
    responses = crowd(origin, 10)
    assert time.monotonic() - began < 1.5
    assert len({response.text for response in responses}) > 1
    began = time.monotonic()
    crowd(origin, 10)
    assert time.monotonic() - began < 0.9


def test_failing_view_hangs_nobody(origin: Origin) -> None:
    """A view that raises fails those who asked, each on its own, and soon."""

    def answer() -> Any:
        time.sleep(0.1)
        raise OSError(f"failure {len(origin.seen)}")

    origin.answer = answer
    began = time.monotonic()
    assert {response.status_code for response in crowd(origin, 10)} == {500}
    assert time.monotonic() - began < 2
    assert len(origin.seen) == 10
    origin.says("max-age=60", "good")
    assert origin.get().text == "good"


def test_exception_that_propagates(origin: Origin) -> None:
    """An exception that leaves the app leaves no lock behind."""
    origin.app.config["PROPAGATE_EXCEPTIONS"] = True
    origin.answer = lambda: 1 / 0
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(ZeroDivisionError, match="division"):
            origin.get()
        assert time.monotonic() - began < 1


def test_wait_is_bounded(make_origin: type[Origin], tmp_path: Path) -> None:
    """Nobody waits longer than the configuration allows, not for a process either."""
    origin = make_origin(url=f"file://{tmp_path}", lock_seconds=0.3)
    other = make_origin(url=f"file://{tmp_path}", lock_seconds=0.3)
    slow(origin, "max-age=60", 1.5)
    other.says("max-age=60", "other")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(origin.get)
        while not origin.seen:
            time.sleep(0.01)
        second = pool.submit(origin.get)
        began = time.monotonic()
        assert other.get().text == "other"
        assert time.monotonic() - began < 1.4
        assert {first.result().text, second.result().text} <= {
            "made 1",
            "made 2",
            "other",
        }


def test_processes_wait_for_each_other(
    make_origin: type[Origin], tmp_path: Path
) -> None:
    """A process waits for another one that makes the page."""
    origin = make_origin(url=f"file://{tmp_path}")
    other = make_origin(url=f"file://{tmp_path}")
    slow(origin, "max-age=60")
    other.says("max-age=60", "other")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(origin.get)
        while not origin.seen:
            time.sleep(0.01)
        response = other.get()
        assert response.text == first.result().text == "made 1"
        assert response.headers["Cache-Status"].endswith("collapsed")


def test_lock_of_a_dead_process(make_origin: type[Origin], tmp_path: Path) -> None:
    """A lock that expired is taken over."""
    origin = make_origin(url=f"file://{tmp_path}", lock_seconds=1)
    backend = origin.app.extensions["webcache"].resources.backend
    key = origin.app.extensions["webcache"].resources.url_key("http://localhost/")
    assert backend.add(f"lock {key}", "", 1)
    time.sleep(2.1)
    origin.says("max-age=60")
    began = time.monotonic()
    assert origin.get().text == "made 1"
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    "fields",
    [
        {"Authorization": "x"},
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "no-store"},
    ],
    ids=str,
)
def test_who_does_not_wait(origin: Origin, fields: dict[str, str]) -> None:
    """Who cannot use what another one gets does not wait for it."""
    slow(origin, "max-age=60")
    headers = {name.replace("-", "_"): value for name, value in fields.items()}
    crowd(origin, 3, **headers)
    assert len(origin.seen) == 3


def test_no_lock(make_origin: type[Origin]) -> None:
    """Waiting can be turned off."""
    origin = make_origin(lock_seconds=0)
    slow(origin, "max-age=60")
    crowd(origin, 3)
    assert len(origin.seen) == 3


def test_variants_wait_apart(origin: Origin) -> None:
    """Once the selecting fields are known, each variant has its own queue."""
    origin.says("max-age=60", Vary="Foo")
    origin.get(Foo="0")

    def answer() -> Response:
        time.sleep(0.2)
        return Response("x", headers={"Cache-Control": "max-age=60", "Vary": "Foo"})

    origin.answer = answer
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: origin.get(Foo=str(n % 2 + 1)), range(20)))
    assert len(origin.seen) == 3


def test_flights_of_the_dead() -> None:
    """A lead that was never given back is taken over after its time."""
    flights = Flights(0.05)
    assert flights.join("key") is None
    assert isinstance(flights.join("key"), threading.Event)
    time.sleep(0.06)
    assert flights.join("key") is None
    flights.land("key")
    flights.land("key")


def test_passes_are_bounded() -> None:
    """Only so many resources are remembered as not worth a queue."""
    flights = Flights(1)
    for number in range(PASSES + 1):
        flights.let_pass(str(number), 0.0)
    assert not flights.passes("0", 1.0)
    assert flights.passes(str(PASSES), 1.0)


def test_late_lead(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes the lead just after the page was stored does not make it again."""
    origin.says("max-age=60")
    resources = origin.app.extensions["webcache"].resources
    join = resources.flights.join

    def join_late(key: str) -> Any:
        monkeypatch.undo()
        origin.get()
        return join(key)

    monkeypatch.setattr(resources.flights, "join", join_late)
    response = origin.get()
    assert response.text == "made 1"
    assert "; hit" in response.headers["Cache-Status"]
    assert len(origin.seen) == 1
    assert not resources.flights._landings
