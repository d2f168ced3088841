"""One view run for concurrent requests."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Response
from flask import request

from flask_webcache._waiting import PASSES
from flask_webcache._waiting import Leads


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
    """Requests that arrive while a page is made get it when it is ready."""
    slow(origin, "max-age=60")
    responses = crowd(origin)
    assert len(origin.seen) == 1
    assert {response.text for response in responses} == {"made 1"}
    statuses = {response.headers["Cache-Status"] for response in responses}
    assert statuses >= {
        "flask-webcache; fwd=uri-miss; stored",
        "flask-webcache; fwd=uri-miss; collapsed",
    }
    with origin.app.app_context():
        assert origin.cache.stats()["wait"] >= 1


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
    """A view that raises fails each waiting request separately, and soon."""

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


class Runs:
    """Counts the runs of a view, and how many there are at a time."""

    def __init__(self, origin: Origin, seconds: float) -> None:
        self.most = self.now = 0
        self.lock = threading.Lock()
        plan = origin.answer

        def answer() -> Any:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(seconds)
            with self.lock:
                self.now -= 1
            return plan()

        origin.answer = answer


def test_view_slower_than_the_lock(make_origin: type[Origin], tmp_path: Path) -> None:
    """A leader that is alive keeps its lead for as long as its view runs."""
    apps = [make_origin(url=f"file://{tmp_path}", lock_seconds=1) for _ in range(2)]
    for origin in apps:
        origin.says("max-age=60")
        Runs(origin, 2.5)
    with ThreadPoolExecutor(12) as pool:
        texts = set(pool.map(lambda n: apps[n % 2].get().text, range(12)))
    assert texts == {"made 1"}
    assert sum(len(origin.seen) for origin in apps) == 1


def test_hand_over(origin: Origin, make_origin: type[Origin]) -> None:
    """If a view takes too long, one of the waiting requests runs it, too."""
    url = origin.app.extensions["webcache"].config.url
    origin = make_origin(url=url, lock_seconds=1, wait_seconds=1.0)
    origin.says("max-age=60")
    runs = Runs(origin, 1.5)
    assert len({response.text for response in crowd(origin, 8)}) <= 2
    assert runs.most == 2


def test_late_leader(make_origin: type[Origin], tmp_path: Path) -> None:
    """A leader that was handed over does not give its successor's lead back."""
    cache = make_origin(url=f"file://{tmp_path}").app.extensions["webcache"].cache
    late = Leads(cache.stock.vault, 1.0, 30.0)
    _, lead = late.join("page", time.monotonic() + 5)
    assert lead is not None
    cache.stock.vault.end_lead("page", lead.owner)
    next_ = Leads(cache.stock.vault, 1.0, 30.0)
    answer, successor = next_.join("page", time.monotonic() + 5)
    assert (answer, successor is not None) == ("lead", True)
    late.end(lead)
    assert successor is not None
    assert cache.stock.vault.led("page") == successor.owner
    next_.end(successor)
    assert cache.stock.vault.led("page") is None


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
    """A waiting request takes over from a process that died."""
    origin = make_origin(url=f"file://{tmp_path}", lock_seconds=1)
    cache = origin.app.extensions["webcache"].cache
    assert cache.stock.vault.lead(cache.url_key("http://localhost/"), "the dead", 1)
    slow(origin, "max-age=60")
    began = time.monotonic()
    assert {response.text for response in crowd(origin, 5)} == {"made 1"}
    assert time.monotonic() - began < 4


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
    """A request that cannot use another's response does not wait for it."""
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


def test_passes_are_bounded(origin: Origin) -> None:
    """Only so many pages are remembered as not worth a queue."""
    leads: Leads = origin.app.extensions["webcache"].cache.leads
    for number in range(PASSES + 1):
        leads.let_pass(str(number))
    assert not leads.passes("0")
    assert leads.passes(str(PASSES))


@pytest.mark.parametrize(
    "fields", [{"Upgrade": "websocket"}, {"Accept": "text/event-stream"}], ids=str
)
def test_what_cannot_be_collapsed(origin: Origin, fields: dict[str, str]) -> None:
    """Websockets and event streams never wait for each other."""
    together = threading.Barrier(3)
    origin.says("max-age=60")
    plan = origin.answer

    def answer() -> Any:
        together.wait(20)
        return plan()

    origin.answer = answer
    assert [one.status_code for one in crowd(origin, 3, **fields)] == [200] * 3


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_request_within_a_request(
    make_origin: type[Origin], copied: bool, fast: bool
) -> None:
    """A view that dispatches to its own URL does not wait for itself."""
    origin = make_origin(fast=fast)

    def answer() -> Any:
        if len(origin.seen) > 1:
            return Response("inner", headers={"Cache-Control": "max-age=60"})
        environ = request.environ
        inner = Response.from_app(origin.app, dict(environ) if copied else environ)
        return Response("outer+" + inner.get_data(as_text=True))

    origin.answer = answer
    began = time.monotonic()
    assert origin.get().text == "outer+inner"
    assert time.monotonic() - began < 2


class Stop(BaseException):
    """Ends a worker's request, as a timeout of gevent does."""


@pytest.mark.parametrize("fast", [True, False])
def test_what_ends_a_request(make_origin: type[Origin], fast: bool) -> None:
    """A lead is given back, whatever ended the request."""
    origin = make_origin(fast=fast)

    def answer() -> Any:
        raise Stop("enough")

    origin.answer = answer
    with pytest.raises(Stop, match="enough"):
        origin.get()
    with origin.app.test_request_context("/"):
        origin.app.preprocess_request()
    origin.says("max-age=60")
    began = time.monotonic()
    assert origin.get().status_code == 200
    assert time.monotonic() - began < 1


def test_late_lead(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader chosen just after the page was stored does not make it again."""
    origin.says("max-age=60")
    leads: Leads = origin.app.extensions["webcache"].cache.leads
    take = leads.take

    def take_late(name: str) -> Any:
        monkeypatch.undo()
        origin.get()
        return take(name)

    monkeypatch.setattr(leads, "take", take_late)
    response = origin.get()
    assert response.text == "made 1"
    assert "; hit" in response.headers["Cache-Status"]
    assert len(origin.seen) == 1
    assert not leads._leads
