"""Stale while revalidated, renewed ahead of time, and by dispatchers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Flask

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import recache
from flask_webcache.recache import Recache


if TYPE_CHECKING:
    from pathlib import Path

    from planned import Clock
    from planned import Origin


TASK = Recache("http", "localhost:5000", "", "/x", "a=b", "/x?a=b", (("HTTP_A", "1"),))


def finish() -> None:
    """Wait for the renewals of this process."""
    for thread in threading.enumerate():
        if thread.name == "webcache-recache":
            thread.join(5)


def test_stale_while_revalidate(origin: Origin, clock: Clock) -> None:
    """A stale response is served at once, and renewed once, by a thread."""
    origin.says("max-age=10, stale-while-revalidate=20", Vary="Foo")
    origin.get(Foo="1", Cookie="secret=1")
    clock.move(15)
    stale = origin.get(Foo="1", Cookie="secret=1")
    finish()
    assert stale.text == "made 1"
    assert stale.headers["Cache-Status"] == "flask-webcache; hit; ttl=-5"
    assert origin.get(Foo="1").text == "made 2"
    assert origin.seen[1]["Foo"] == "1"
    assert "Cookie" not in origin.seen[1]


def test_stale_for_too_long(origin: Origin, clock: Clock) -> None:
    """After its time, a stale response is no longer served."""
    origin.says("max-age=10, stale-while-revalidate=20", ETag='"a"')
    origin.get()
    clock.move(31)
    assert origin.get().text == "made 2"


@pytest.mark.parametrize("fast", [False, True])
def test_preemptive(make_origin: type[Origin], clock: Clock, fast: bool) -> None:
    """Close to its end, a fresh response is served, and renewed by the callback."""
    tasks: list[Recache] = []
    origin = make_origin(
        preemptive_recache_seconds=5,
        preemptive_recache_callback=tasks.append,
        fast=fast,
    )
    origin.says("max-age=10")
    origin.get("/path?a=b")
    clock.move(4)
    origin.get("/path?a=b")
    assert tasks == []
    clock.move(2)
    for _ in range(3):
        assert origin.get("/path?a=b").text == "made 1"
    assert tasks == [Recache("http", "localhost", "", "/path", "a=b", "/path?a=b", ())]
    recache.run(origin.app, tasks[0])
    assert origin.get("/path?a=b").text == "made 2"


def test_dispatcher_that_fails(
    make_origin: type[Origin], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """If no renewal can be started, the request is answered all the same."""

    def fail(task: Recache) -> None:
        raise OSError("the queue is away")

    origin = make_origin(preemptive_recache_callback=fail)
    origin.says("max-age=10, stale-while-revalidate=20")
    origin.get()
    clock.move(15)
    assert origin.get().text == "made 1"
    assert "could not be dispatched" in caplog.text


def test_renewal_that_fails(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    """A renewal that fails is logged."""
    origin.app.config["PROPAGATE_EXCEPTIONS"] = True
    origin.answer = lambda: 1 / 0
    recache.run(origin.app, TASK)
    assert "Renewing /x failed" in caplog.text


def test_environ() -> None:
    """A renewal is a plain request for the same target."""
    seen: list[Any] = []
    app = Flask(__name__)

    @app.get("/x")
    def view() -> str:
        from flask import request

        # A view that trusts this machine does not trust a renewal.
        address = request.remote_addr
        seen.append((request.url, request.headers["A"], dict(request.cookies), address))
        return ""

    recache.run(app, TASK)
    assert seen == [("http://localhost:5000/x?a=b", "1", {}, None)]
    assert Recache("https", "h", "", "/", "", "/").environ()["SERVER_PORT"] == "443"
    assert Recache("http", "h", "", "/", "", "/").environ()["SERVER_PORT"] == "80"


def test_client_cannot_ask_for_a_renewal(origin: Origin) -> None:
    """A field of a request does not reach the key of the environment."""
    origin.says("max-age=60")
    origin.get()
    assert origin.get(**{"Flask-Webcache-Recache": "1"}).text == "made 1"


def test_close_is_called() -> None:
    """A renewal closes what it got."""
    closed: list[bool] = []
    app = Flask(__name__)

    @app.get("/x")
    def view() -> Any:
        response = app.response_class(iter([b"a", b"b"]))
        response.call_on_close(lambda: closed.append(True))
        return response

    recache.run(app, TASK)
    assert closed == [True]

    def plain(environ: Any, start_response: Any) -> list[bytes]:
        return [b"no close"]

    app.wsgi_app = plain  # type: ignore[method-assign]
    recache.run(app, TASK)


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app or its factory is named as module and attribute."""
    ran: list[Any] = []
    monkeypatch.setattr(recache, "run", lambda app, task: ran.append((app, task)))
    app = Flask(__name__)
    module = type(threading)("webcache_names")
    module.app, module.make = app, lambda: app  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "webcache_names", module)
    recache.run_by_name("webcache_names:app", TASK)
    recache.run_by_name("webcache_names:make", TASK.to_json())
    assert ran == [(app, TASK)] * 2


def test_rq_dispatcher() -> None:
    """RQ gets a function that it can import, and strings."""
    jobs: list[Any] = []

    class Queue:
        def enqueue(self, *job: Any) -> None:
            jobs.append(job)

    recache.make_rq_dispatcher(Queue(), "shop:app")(TASK)
    ((function, app, text),) = jobs
    assert (function, app) == (recache.run_by_name, "shop:app")
    assert Recache.from_json(text) == TASK


def test_celery_dispatcher() -> None:
    """Celery gets two strings, as its default serializer is JSON."""
    jobs: list[Any] = []

    class Task:
        def delay(self, *arguments: Any) -> None:
            jobs.append(arguments)

    recache.make_celery_dispatcher(Task(), "shop:app")(TASK)
    ((app, text),) = jobs
    assert (app, Recache.from_json(text)) == ("shop:app", TASK)


def test_process_dispatcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the request, and stores what it gets."""
    (tmp_path / "shop.py").write_text(
        "from flask import Flask\n"
        "from flask_webcache import Config, WebCache, modifiers\n"
        "app = Flask(__name__)\n"
        f"WebCache(app, config=Config(url='file://{tmp_path}/cache'))\n"
        "view = modifiers.cache_for(minutes=5)(lambda: 'theirs')\n"
        "app.add_url_rule('/x', 'x', view)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recache.make_process_dispatcher("shop:app")(
        Recache("http", "localhost", "", "/x", "", "/x")
    )
    app = Flask(__name__)
    WebCache(app, config=Config(url=f"file://{tmp_path}/cache"))
    app.add_url_rule("/x", view_func=lambda: "ours")
    client = app.test_client()
    deadline = time.monotonic() + 60
    while client.get("/x").text != "theirs":
        assert time.monotonic() < deadline
        time.sleep(0.05)
