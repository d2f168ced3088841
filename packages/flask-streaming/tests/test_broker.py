"""The contract of a subscription, which both brokers keep, and what is theirs alone."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from itertools import islice
from typing import Any
from typing import TypeAlias

import pytest
from flask import Flask

from flask_streaming import BrokerError
from flask_streaming import ServerSentEvent
from flask_streaming import SetupError
from flask_streaming import Streaming
from flask_streaming._history import Position
from flask_streaming._history import Window
from flask_streaming._history import entry_of
from flask_streaming._history import read as history_of
from flask_streaming._memory import MemoryBroker
from flask_streaming._redis import RedisBroker
from flask_streaming._subscription import Subscription
from flask_streaming.config import Config


Broker: TypeAlias = MemoryBroker | RedisBroker
Make: TypeAlias = Callable[..., Broker]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make one of the two brokers, with settings."""
    if request.param == "memory":
        yield lambda **values: MemoryBroker(Config(**values))
        return
    pytest.importorskip("redis")
    pytest.importorskip("harness")
    url = request.getfixturevalue("redis_url")
    made: list[RedisBroker] = []

    def make_one(**values: Any) -> RedisBroker:
        made.append(RedisBroker(Config(redis_url=url, **values)))
        return made[-1]

    yield make_one
    # The garbage collector may find a socket before the connection that closes it.
    for broker in made:
        broker._stored._redis.close()


@pytest.fixture
def broker(make: Make) -> Broker:
    """One of the two brokers."""
    return make()


def texts(events: list[ServerSentEvent] | None) -> list[str | None]:
    """Return what the events say."""
    assert events is not None
    return [event.data for event in events]


def read(subscription: Subscription, count: int) -> list[ServerSentEvent]:
    """Read as many events, each within seconds."""
    found: list[ServerSentEvent] = []
    while len(found) < count:
        received = subscription.receive(30)
        assert received, f"after {texts(found)} came {received}"
        found += received
    assert len(found) == count
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.001)


def publish(broker: Broker, *texts: str, channel: str = "news") -> list[str]:
    """Publish texts and return their ids."""
    return [broker.publish(channel, text) for text in texts]


def test_from_now_on(broker: Broker) -> None:
    """A subscription has what is published after it, on its own channel, in order."""
    publish(broker, "old")
    with broker.subscribe(["news"]) as news, broker.subscribe(["news"]) as again:
        ids = [broker.publish("news", str(number), "number") for number in range(3)]
        broker.publish("sport", "other")
        expected = [ServerSentEvent(str(n), "number", ids[n]) for n in range(3)]
        assert read(news, 3) == read(again, 3) == expected
        assert news.receive(0) == []


def test_first_position(broker: Broker) -> None:
    """A client that has seen no event yet resumes at the position it began with."""
    publish(broker, "old")
    with broker.subscribe(["news"]) as subscription:
        position = subscription.position
    assert position is not None
    publish(broker, "a", "b")
    with broker.subscribe(["news"], str(position)) as subscription:
        assert subscription.position == position
        assert texts(read(subscription, 2)) == ["a", "b"]


def test_rendered_position(broker: Broker) -> None:
    """Between a page and its subscription nothing is lost."""
    publish(broker, "old")
    position = broker.position()
    publish(broker, "new")
    with broker.subscribe(["news", "empty"], str(position)) as subscription:
        assert texts(read(subscription, 1)) == ["new"]


def test_resume(broker: Broker) -> None:
    """A client that comes back gets what it missed, once, and then what comes."""
    ids = publish(broker, "0", "1", "2", "3")
    with broker.subscribe(["news"], ids[1]) as subscription:
        publish(broker, "4")
        assert texts(read(subscription, 3)) == ["2", "3", "4"]
    with broker.subscribe(["news"], ids[3]) as subscription:
        assert texts(read(subscription, 1)) == ["4"]


def test_several_channels(broker: Broker) -> None:
    """One stream has the events of all its channels in order; one id resumes them."""
    names = ["a", "b", "quiet"]
    with broker.subscribe(names) as subscription:
        ids = [broker.publish("ab"[number % 2], str(number)) for number in range(6)]
        seen = read(subscription, 6)
    assert [event.id for event in seen] == ids
    for last in range(6):
        with broker.subscribe(names, ids[last]) as subscription:
            missed = [str(number) for number in range(last + 1, 6)]
            assert texts(read(subscription, len(missed))) == missed
            assert subscription.receive(0) == []


@pytest.mark.parametrize(
    "last_id",
    [
        "1-1", "x", "0-0", "00000000-1", "00000000-1~", "9" * 30 + "-1",
        "1-18446744073709551615", "00000000-9999999999999999", "١-1",
    ],
)  # fmt: skip
def test_unknown_id(broker: Broker, last_id: str) -> None:
    """A foreign id is answered with a gap and all known events."""
    last = publish(broker, "0", "1", "2")[-1]
    with broker.subscribe(["news"], last_id) as subscription:
        assert subscription.position is None
        events = read(subscription, 4)
    assert (events[0].event, events[0].data) == ("gap", last_id)
    assert texts(events[1:]) == ["0", "1", "2"]
    with broker.subscribe(["news"], events[0].id) as subscription:
        assert texts(read(subscription, 3)) == ["0", "1", "2"]
    with broker.subscribe(["news"], last) as subscription:
        assert subscription.receive(0) == []


def test_id_from_the_future(broker: Broker) -> None:
    """A number that was not given yet is of a history that was lost."""
    last = Position.parse(publish(broker, "a")[0])
    assert last is not None
    later = str(last._replace(number=last.number + 10**9))
    with broker.subscribe(["news"], later) as subscription:
        assert texts(read(subscription, 2)) == [later, "a"]


def test_channel_without_events(broker: Broker) -> None:
    """On an unknown channel, a foreign id is answered with a gap."""
    with broker.subscribe(["empty"], "5-5") as subscription:
        assert read(subscription, 1)[0].event == "gap"
        broker.publish("empty", "a")
        assert texts(read(subscription, 1)) == ["a"]


@pytest.mark.parametrize("how", ["now", "position", "foreign-position"])
def test_history_that_a_client_may_have(broker: Broker, how: str) -> None:
    """Events before the allowed position are a gap, if there were any."""
    first = publish(broker, "secret")[0]
    position = broker.position()
    assert position is not None
    publish(broker, "a")
    after = ["a"] if how == "position" else []
    allowed: dict[str, bool | Position] = {
        "now": False, "position": position, "foreign-position": Position("0" * 8, 1),
    }  # fmt: skip
    for last_id in ("0-0", str(position._replace(number=0)), first):
        with broker.subscribe(["news"], last_id, allowed[how]) as subscription:
            told = ["gap"] * (last_id != first or how != "position")
            publish(broker, "b")
            seen = read(subscription, len(told) + len(after) + 1)
            assert [event.event for event in seen[: len(told)]] == told
            assert texts(seen[len(told) :]) == [*after, "b"]
            after = [*after, "b"] if how == "position" else []


def test_nothing_was_missed_before_what_is_allowed(broker: Broker) -> None:
    """A client that missed nothing gets no gap, even with ``history=False``."""
    last = publish(broker, "a")[0]
    with broker.subscribe(["news"], last, history=False) as subscription:
        publish(broker, "b")
        assert texts(read(subscription, 1)) == ["b"]


def test_burst(broker: Broker) -> None:
    """A burst larger than any queue cuts no client that is within the history."""
    with broker.subscribe(["news"]) as subscription:
        expected = [str(number) for number in range(1000)]
        publish(broker, *expected)
        assert texts(read(subscription, 1000)) == expected


def test_falling_behind(make: Make) -> None:
    """A reader that falls behind the window gets a gap, and goes on."""
    broker = make(history=10)
    with broker.subscribe(["news"]) as subscription:
        count = 1000
        ids = publish(broker, *map(str, range(count)))
        last = Position.parse(ids[-1])
        assert last is not None
        wait_until(lambda: subscription._feed.now >= last)
        seen: list[ServerSentEvent] = []
        while not seen or seen[-1].data != str(count - 1):
            seen += subscription.receive(10) or []
        assert seen[0].event == "gap"
        first = count - len(seen) + 1
        assert texts(seen[1:]) == [str(number) for number in range(first, count)]
        assert first > 1


def test_history_is_bounded(make: Make) -> None:
    """Events are kept up to the configured number; a gap says what was dropped."""
    broker = make(history=3)
    ids = publish(broker, "0", "1", "2", "3", "4")
    assert texts(read(broker.subscribe(["news"], ids[1]), 3)) == ["2", "3", "4"]
    told = read(broker.subscribe(["news"], ids[0]), 4)
    assert texts(told) == [ids[0], "2", "3", "4"]
    assert texts(read(broker.subscribe(["news"], told[0].id), 3)) == ["2", "3", "4"]


def test_no_history(make: Make) -> None:
    """Without a history, all listeners get everything; a resume is a gap."""
    broker = make(history=0)
    with broker.subscribe(["news"]) as subscription:
        ids = publish(broker, *map(str, range(200)))
        assert len(read(subscription, 200)) == 200
    assert texts(read(broker.subscribe(["news"], ids[-2]), 1)) == [ids[-2]]
    assert broker.subscribe(["news"], ids[-1]).receive(0) == []


def test_end(broker: Broker) -> None:
    """A channel that ends says so, and its streams are over."""
    with broker.subscribe(["job"]) as subscription:
        broker.publish("job", "a")
        last = broker.publish("job", "done", "end", end=10)
        assert [event.event for event in read(subscription, 2)] == [None, "end"]
        assert subscription.receive(30) is None
        assert subscription.over
    assert broker.subscribe(["job"], last).over
    for last_id in (None, "x"):
        with broker.subscribe(["job"], last_id) as late:
            assert not late.over
            assert [event.event for event in late][-1] == "end"
    broker.publish("job", "again")
    with broker.subscribe(["job"], last) as subscription:
        assert texts(read(subscription, 1)) == ["again"]


def test_end_of_one_of_several(broker: Broker) -> None:
    """A stream goes on while one of its channels does."""
    with broker.subscribe(["job", "news"]) as subscription:
        last = broker.publish("job", "", "end", end=0)
        publish(broker, "a")
        assert texts(read(subscription, 2)) == ["", "a"]
    with broker.subscribe(["job", "news"], last) as subscription:
        assert texts(read(subscription, 1)) == ["a"]
        broker.publish("news", "", "end", end=0)
        assert texts(read(subscription, 1)) == [""]
        assert subscription.receive(30) is None


def test_end_without_history(broker: Broker) -> None:
    """When a channel's events are dropped, its end is still known."""
    ids = [broker.publish("job", str(number)) for number in range(3)]
    last = broker.publish("job", "done", "end", end=0)
    assert broker.subscribe(["job"], last).over
    assert texts(read(broker.subscribe(["job"], ids[2]), 1)) == ["done"]
    assert texts(read(broker.subscribe(["job"], ids[1]), 2)) == [ids[1], "done"]


def test_published_once(broker: Broker) -> None:
    """An event with a key that the history has is not published again."""
    first = broker.publish("news", "a", key="order 7\n")
    assert broker.publish("news", "a", key="order 7\n") == first
    assert broker.publish("news", "a", key="order 8") != first
    with broker.subscribe(["news"], "x") as subscription:
        assert texts(read(subscription, 3)) == ["x", "a", "a"]


def test_closed_subscription(broker: Broker) -> None:
    """A closed subscription ends, and closing it again does nothing."""
    subscription = broker.subscribe(["news"])
    subscription.close()
    subscription.close()
    publish(broker, "a")
    assert list(subscription) == []


def test_closed_by_another_thread(broker: Broker) -> None:
    """The end of a channel wakes those who wait."""
    subscription = broker.subscribe(["news"])
    threading.Timer(0.05, subscription.close).start()
    assert subscription.receive(30) is None


def test_receive_waits(broker: Broker) -> None:
    """A reader wakes with the event."""
    subscription = broker.subscribe(["news"])
    threading.Timer(0.05, broker.publish, ["news", "a"]).start()
    assert texts(subscription.receive(30)) == ["a"]


def test_mark_moves_on(broker: Broker) -> None:
    """On a quiet channel the position follows the events of others."""
    with broker.subscribe(["quiet", "news"]) as subscription:
        before = subscription.mark
        publish(broker, "a")
        read(subscription, 1)
        after = subscription.mark
    assert before is not None
    assert after is not None
    assert before < after
    with broker.subscribe(["quiet", "news"], str(after)) as subscription:
        assert subscription.receive(0) == []


def test_event_is_checked_where_it_is_published(broker: Broker) -> None:
    """A type of two lines is the publisher's error, not every listener's."""
    with pytest.raises(ValueError, match="event is 'a\\\\nb': it must be one line"):
        broker.publish("news", "x", "a\nb")


@pytest.mark.parametrize(
    "data", ["", "a\nb\r\nc", "\u2028é", "\ud83d"[:0], "0 1 2 3\n"]
)
@pytest.mark.parametrize("event", [None, "", "=x", "-"])
def test_text_is_intact(broker: Broker, data: str, event: str | None) -> None:
    """Every text and type arrives as it was."""
    with broker.subscribe(["a b:c\n"]) as subscription:
        last = broker.publish("a b:c\n", data, event)
        assert read(subscription, 1) == [ServerSentEvent(data, event, last)]
    with broker.subscribe(["a b:c\n"], "x") as subscription:
        assert read(subscription, 2)[1] == ServerSentEvent(data, event, last)


def test_abandoned_subscription(broker: Broker) -> None:
    """A subscription that nobody closes does not stay."""
    subscription = broker.subscribe(["news"])
    channel = subscription.channels[0]
    assert len(channel.subscribers) == 1
    del subscription
    gc.collect()
    assert len(channel.subscribers) == 0


class CollectingLock:
    """A lock under which garbage is always collected."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        gc.collect()

    def __exit__(self, *_: object) -> None:
        gc.collect()
        self._lock.release()


@pytest.mark.parametrize("what", ["closes", "publishes", "subscribes"])
def test_collected_under_the_lock(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A generator may end in the very thread that works on the channels."""
    if what == "subscribes" and isinstance(broker, RedisBroker):
        pytest.skip("who subscribes then waits for the reader, up to the time-out")
    ended = []

    def listen() -> Iterator[None]:
        with broker.subscribe(["news"]):
            try:
                yield
            finally:
                if what == "publishes":
                    broker.publish("other", "bye")
                if what == "subscribes":
                    broker.subscribe(["other"]).close()
                ended.append(True)

    def work() -> None:
        with broker.subscribe(["news"]) as subscription:
            publish(broker, "a")
            assert texts(read(subscription, 1)) == ["a"]
        ended.append(True)

    holder = broker._reader if isinstance(broker, RedisBroker) else broker
    monkeypatch.setattr(holder, "_lock", CollectingLock())
    # What is there already is not looked through each time that the lock is used.
    gc.freeze()
    try:
        garbage: list[Any] = [listen()]
        next(garbage[0])
        garbage.append(garbage)
        del garbage
        threading.Thread(target=work, daemon=True).start()
        wait_until(lambda: len(ended) == 2, 60)
    finally:
        gc.unfreeze()


def test_many_threads(broker: Broker) -> None:
    """Readers of several channels see everything in order, whoever publishes."""
    names, count = ["a", "b", "c"], 200
    with broker.subscribe(names) as subscription:
        threads = [
            threading.Thread(
                target=lambda name=name: publish(
                    broker, *(f"{name}{n}" for n in range(count)), channel=name
                )
            )
            for name in names
        ]
        for thread in threads:
            thread.start()
        seen: list[ServerSentEvent] = []
        while len(seen) < 3 * count:
            seen += subscription.receive(10) or []
        for thread in threads:
            thread.join(60)
    numbers = [Position.parse(event.id or "") for event in seen]
    assert numbers == sorted(numbers)  # type: ignore[type-var]
    for name in names:
        its = [event.data for event in seen if str(event.data).startswith(name)]
        assert its == [f"{name}{n}" for n in range(count)]


def test_numbers_of_another_epoch_are_no_order() -> None:
    """A history that restarted with lower numbers comes whole, after a gap."""
    entries = [entry_of(number, ServerSentEvent(str(number))) for number in (6, 7)]
    windows = [Window("b" * 8, 4, entries)]
    before, now = Position("a" * 8, 100), Position("b" * 8, 7)
    found = history_of(windows, before, now, 64)
    assert [entry.event.event for entry in found.entries] == ["gap"]
    assert found.entries[0].event.id == "bbbbbbbb-4~"
    assert found.entries[0].event.data == "aaaaaaaa-100~"
    assert history_of(windows, found.after, now, 64).entries == entries


# What is the memory's alone.


def test_published_while_publishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publication within another comes after it, for everybody."""
    broker = MemoryBroker(Config())
    subscription = broker.subscribe(["news"])
    inner: list[str] = []
    tell = broker.post.tell

    def nested(channel: Any) -> None:
        tell(channel)
        if not inner:
            inner.append("")
            inner[0] = broker.publish("news", "inner")

    monkeypatch.setattr(broker.post, "tell", nested)
    outer = broker.publish("news", "outer")
    assert [event.id for event in subscription.receive(0) or []] == [outer, inner[0]]


def test_unused_channels_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels without events and listeners take no memory."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    broker = MemoryBroker(Config(history_seconds=60))
    last = broker.publish("news", "a")
    kept = broker.subscribe(["kept"])
    silent = broker.subscribe(["silent"])
    first = broker.publish("kept", "b")
    now[0] += 100
    for name in ("w", "x", "y", "z"):
        broker.publish(name, "c")
    assert broker._channels.keys() == {"kept", "silent", "w", "x", "y", "z"}
    assert silent.receive(0) == []
    assert texts(broker.subscribe(["news"], last).receive(0)) == [last]
    latest = broker.publish("kept", "d")
    assert [it.event for it in read(kept, 2)] == ["gap", None]
    assert broker.subscribe(["kept"], latest).receive(0) == []
    assert texts(broker.subscribe(["kept"], first).receive(0)) == ["d"]


def test_visitors_do_not_fill_the_memory() -> None:
    """Listening to many quiet channels leaves nothing behind."""
    broker = MemoryBroker(Config())
    for number in range(100):
        broker.subscribe([str(number)]).close()
    assert broker._channels == {}
    subscription = broker.subscribe(["x"])
    broker._channels.clear()
    subscription.close()


def test_ended_channels_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 channels that have ended, only the ends are left."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    broker = MemoryBroker(Config())
    for number in range(500):
        for _ in range(10):
            broker.publish(f"job:{number}", "x" * 100)
        broker.publish(f"job:{number}", "", "end", end=10)
    now[0] += 11
    broker.publish("news", "a")
    entries = [len(it.window.entries) for it in broker._channels.values()]
    assert entries == [1] * 501


def test_events_in_flat_memory() -> None:
    """30,000 events, 50 a second for ten minutes, leave no more than the history."""
    import sys

    broker = MemoryBroker(Config())
    subscription = broker.subscribe(["news"])

    def work(count: int) -> int:
        for number in range(count):
            broker.publish("news", f"{number:0100}")
            if number % 50 == 0:
                while subscription.receive(0):
                    pass
        return sys.getallocatedblocks()

    before = work(2_000)
    assert work(30_000) - before < 1000


@pytest.fixture
def app() -> Iterator[Flask]:
    """An app with the extension, its context pushed."""
    app = Flask(__name__)
    Streaming(app)
    with app.app_context():
        yield app


def test_extension(app: Flask) -> None:
    """Publishing needs no request; data that is not text is sent as JSON."""
    streaming = Streaming()
    with streaming.subscribe("news") as subscription:
        ids = [streaming.publish("news", "a"), streaming.publish("news", {"b": 1}, "x")]
        assert list(islice(subscription, 2)) == [
            ServerSentEvent("a", None, ids[0]),
            ServerSentEvent('{"b": 1}', "x", ids[1]),
        ]


def test_last_event_id(app: Flask) -> None:
    """In a request, the header says where to go on, then the query."""
    streaming = Streaming()
    first = streaming.publish("news", "a")
    second = streaming.publish("news", "b")
    with app.test_request_context(headers={"Last-Event-ID": first}):
        assert texts(streaming.subscribe("news").receive(0)) == ["b"]
        other = streaming.subscribe("news", last_event_id="1-1")
        assert texts(other.receive(0)) == ["1-1", "a", "b"]
    with app.test_request_context(f"/?last_event_id={first}"):
        assert texts(streaming.subscribe("news").receive(0)) == ["b"]
    headers = {"Last-Event-ID": second}
    with app.test_request_context(f"/?last_event_id={first}", headers=headers):
        assert streaming.subscribe("news").receive(0) == []
    assert streaming.subscribe("news").receive(0) == []


def test_position_and_history(app: Flask) -> None:
    """A page's position serves as the last id, and as a limit of the history."""
    streaming = Streaming()
    streaming.publish("news", "a")
    position = streaming.position()
    streaming.publish("news", "b")
    found = streaming.subscribe("news", last_event_id="0-0", history=position)
    assert texts(found.receive(0)) == ["0-0", "b"]
    with pytest.raises(ValueError, match="history is 'x': pass True, False, or what"):
        streaming.subscribe("news", history="x")


def test_end_of_a_channel(app: Flask) -> None:
    """The extension ends a channel with what it is to say."""
    streaming = Streaming()
    with streaming.subscribe("job") as subscription:
        streaming.close("job", {"ok": True})
        assert [(it.event, it.data) for it in subscription] == [("end", '{"ok": true}')]
    with pytest.raises(ValueError, match="keep is -1: set seconds, 0 or more"):
        streaming.close("job", keep=-1)


@pytest.mark.parametrize("names", [(), ("a", 5)], ids=["none", "number"])
def test_channels_are_names(app: Flask, names: Any) -> None:
    """Listening to nothing, or to what is not a name, is an error."""
    with pytest.raises(TypeError, match="each name as an argument"):
        Streaming().subscribe(*names)


def test_several_processes_are_warned_of(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, where the server runs several and the broker is this process's."""
    for _ in range(2):
        with app.test_request_context(multiprocess=True):
            Streaming().subscribe("news")
    assert caplog.text.count("set STREAMING_REDIS_URL") == 1


def test_fork_makes_a_new_broker(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was forked off does not go on with its parent's ids."""
    first = Streaming().publish("news", "a")
    monkeypatch.setattr("flask_streaming._state.os.getpid", lambda: -1)
    assert Streaming().publish("news", "a").split("-")[0] != first.split("-")[0]


def test_redis_by_configuration() -> None:
    """The URL chooses the broker, and so does a function that makes a client."""
    redis = pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["STREAMING_REDIS_URL"] = "redis://127.0.0.1:1/0"
    Streaming(app)
    assert isinstance(app.extensions["streaming"].broker, RedisBroker)
    app = Flask(__name__)
    Streaming(app, redis=lambda: redis.Redis(port=1))
    assert isinstance(app.extensions["streaming"].broker, RedisBroker)
    with pytest.raises(TypeError, match="pass a function that returns a client"):
        Streaming(redis=redis.Redis(port=1))


def test_redis_is_away() -> None:
    """Publishing is an error; a subscription ends, so that the client comes back."""
    pytest.importorskip("redis")
    broker = RedisBroker(Config(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(BrokerError, match="Redis did not take the event"):
        broker.publish("news", "a")
    assert broker.position() is None
    subscription = broker.subscribe(["news"])
    assert list(subscription) == []
    assert subscription.position is None


def test_setup(app: Flask) -> None:
    """Setting up twice and use without setup are errors that say what to do."""
    with pytest.raises(SetupError, match="already"):
        Streaming(app)
    with Flask(__name__).app_context(), pytest.raises(SetupError, match="init_app"):
        Streaming().publish("news", "a")
