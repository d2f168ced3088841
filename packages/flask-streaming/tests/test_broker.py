"""What the two brokers have in common, and what is theirs alone."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from flask import Flask

from flask_streaming import BrokerError
from flask_streaming import ServerSentEvent
from flask_streaming import SetupError
from flask_streaming import Streaming
from flask_streaming._memory import MemoryBroker
from flask_streaming._memory import Subscription
from flask_streaming._redis import RedisBroker
from flask_streaming._redis import missed
from flask_streaming._redis import position_of
from flask_streaming.config import Config


@pytest.fixture(params=["memory", "redis"])
def config(request: pytest.FixtureRequest) -> Config:
    """The configuration of each broker."""
    if request.param == "memory":
        return Config(queue_size=5)
    pytest.importorskip("redis")
    pytest.importorskip("harness")
    return Config(redis_url=request.getfixturevalue("redis_url"), queue_size=5)


@pytest.fixture
def broker(config: Config) -> Iterator[MemoryBroker | RedisBroker]:
    """Each broker."""
    if config.redis_url is None:
        yield MemoryBroker(config)
    else:
        yield from connected(config)


def connected(config: Config) -> Iterator[RedisBroker]:
    """Make a broker, and close its connections in the end."""
    broker = RedisBroker(config)
    yield broker
    broker._redis.connection_pool.disconnect()


def texts(events: list[ServerSentEvent] | None) -> list[str | None]:
    """Return what the events say."""
    assert events is not None
    return [event.data for event in events]


def read(subscription: Subscription, count: int) -> list[ServerSentEvent]:
    """Read as many events."""
    return list(islice(subscription, count))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.001)


def test_from_now_on(broker: MemoryBroker | RedisBroker) -> None:
    """A subscription has what is published after it, on its own channel, in order."""
    broker.publish("news", "old")
    with broker.subscribe("news") as news, broker.subscribe("news") as again:
        ids = [broker.publish("news", str(number), "number") for number in range(3)]
        broker.publish("sport", "other")
        expected = [ServerSentEvent(str(n), "number", ids[n]) for n in range(3)]
        assert read(news, 3) == read(again, 3) == expected
        assert news.receive(0) == []


def test_resume(broker: MemoryBroker | RedisBroker) -> None:
    """A client that comes back gets what it missed, once, and then what comes."""
    ids = [broker.publish("news", str(number)) for number in range(4)]
    with broker.subscribe("news", ids[1]) as subscription:
        broker.publish("news", "4")
        assert [event.data for event in read(subscription, 3)] == ["2", "3", "4"]
    with broker.subscribe("news", ids[3]) as subscription:
        assert [event.data for event in read(subscription, 1)] == ["4"]


@pytest.mark.parametrize(
    "last_id", ["1-1", "x", "0-0", "9" * 30 + "-1", "18446744073709551615-1", "١-1"]
)
def test_unknown_id(broker: MemoryBroker | RedisBroker, last_id: str) -> None:
    """An id of another process, or none of ours, is told, with all that is known."""
    *_, last = [broker.publish("news", str(number)) for number in range(3)]
    with broker.subscribe("news", last_id) as subscription:
        events = read(subscription, 4)
    assert (events[0].event, events[0].data) == ("gap", last_id)
    assert [event.data for event in events[1:]] == ["0", "1", "2"]
    with broker.subscribe("news", events[0].id) as subscription:
        assert [event.data for event in read(subscription, 3)] == ["0", "1", "2"]
    with broker.subscribe("news", last) as subscription:
        assert subscription.receive(0) == []


def test_channel_without_events(broker: MemoryBroker | RedisBroker) -> None:
    """On a channel of which nothing is known, an id is told as unknown."""
    with broker.subscribe("empty", "5-5") as subscription:
        assert read(subscription, 1)[0].event == "gap"
        broker.publish("empty", "a")
        assert [event.data for event in read(subscription, 1)] == ["a"]


def test_slow_client(broker: MemoryBroker | RedisBroker) -> None:
    """A client that does not read is cut off, and resumes without a loss."""
    with broker.subscribe("news") as subscription:
        for number in range(20):
            broker.publish("news", str(number))
        wait_until(lambda: subscription._mailbox._ended)
        seen = list(subscription)
    assert texts(seen) == ["0", "1", "2", "3", "4"]
    with broker.subscribe("news", seen[-1].id) as subscription:
        assert texts(subscription.receive(0)) == [
            str(number) for number in range(5, 20)
        ]


def test_closed_subscription(broker: MemoryBroker | RedisBroker) -> None:
    """A closed subscription ends, and closing it again does nothing."""
    subscription = broker.subscribe("news")
    subscription.close()
    subscription.close()
    broker.publish("news", "a")
    assert list(subscription) == []


def test_event_is_checked_where_it_is_published(
    broker: MemoryBroker | RedisBroker,
) -> None:
    """A type of two lines is the publisher's error, not every listener's."""
    with pytest.raises(ValueError, match="event is 'a\\\\nb': it must be one line"):
        broker.publish("news", "x", "a\nb")


def test_abandoned_subscription(broker: MemoryBroker | RedisBroker) -> None:
    """A subscription that nobody closes does not stay."""
    subscription = broker.subscribe("news")
    channel: Any = next(iter(broker._channels.values()))
    assert len(channel.subscribers) == 1
    del subscription
    gc.collect()
    assert len(channel.subscribers) == 0


class CollectingLock:
    """A lock under which garbage is always collected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> None:
        self.acquire()
        gc.collect()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_collected_under_the_lock(
    broker: MemoryBroker | RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator may be closed by the very thread that works on the channels."""
    ended = []

    def listen() -> Iterator[None]:
        with broker.subscribe("news"):
            try:
                yield
            finally:
                ended.append(True)

    def work() -> None:
        with broker.subscribe("news") as subscription:
            broker.publish("news", "a")
            assert texts(read(subscription, 1)) == ["a"]
        ended.append(True)

    monkeypatch.setattr(broker, "_lock", CollectingLock())
    garbage: list[Any] = [listen()]
    next(garbage[0])
    garbage.append(garbage)
    del garbage
    threading.Thread(target=work, daemon=True).start()
    wait_until(lambda: len(ended) == 2)


def test_closed_while_publishing() -> None:
    """What is closed then leaves with the next event at the latest."""
    broker = MemoryBroker(Config())
    subscription = broker.subscribe("quiet")
    with broker._lock:
        subscription.close()
    broker.publish("news", "a")
    assert broker._channels.keys() == {"news"}


def test_history_is_bounded() -> None:
    """Events are kept up to the configured number; what was dropped is told."""
    broker = MemoryBroker(Config(history=3))
    ids = [broker.publish("news", str(number)) for number in range(5)]
    assert texts(broker.subscribe("news", ids[1]).receive(0)) == ["2", "3", "4"]
    gap = broker.subscribe("news", ids[0]).receive(0)
    assert texts(gap) == [ids[0], "2", "3", "4"]
    assert texts(broker.subscribe("news", (gap or [])[0].id).receive(0)) == [
        "2",
        "3",
        "4",
    ]


def test_unused_channels_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels without events and without listeners take no memory; told is told."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    broker = MemoryBroker(Config(history_seconds=60))
    last = broker.publish("news", "a")
    kept = broker.subscribe("kept")
    silent = broker.subscribe("silent")
    first = broker.publish("kept", "b")
    now[0] += 100
    for name in ("w", "x", "y", "z"):
        broker.publish(name, "c")
    assert broker._channels.keys() == {"kept", "silent", "w", "x", "y", "z"}
    assert silent.receive(0) == []
    assert texts(kept.receive(0)) == ["b"]
    assert texts(broker.subscribe("news", last).receive(0)) == [last]
    assert broker.subscribe("kept", broker.publish("kept", "d")).receive(0) == []
    assert texts(broker.subscribe("kept", first).receive(0)) == ["d"]


def test_visitors_do_not_fill_the_memory() -> None:
    """Listening to many channels on which nothing is said leaves nothing behind."""
    broker = MemoryBroker(Config())
    for number in range(100):
        broker.subscribe(str(number)).close()
    assert broker._channels == {}
    subscription = broker.subscribe("x")
    broker._channels.clear()
    subscription.close()


def test_an_hour_of_events_in_flat_memory() -> None:
    """180,000 events, 50 a second for an hour, leave no more than the history."""
    broker = MemoryBroker(Config())
    subscription = broker.subscribe("news")

    def publish(count: int) -> int:
        for number in range(count):
            broker.publish("news", f"{number:0100}")
            if number % 50 == 0:
                subscription.receive(0)
        return sys.getallocatedblocks()

    before = publish(2_000)
    assert publish(180_000) - before < 1000


def test_receive_waits() -> None:
    """A reader wakes with the event."""
    broker = MemoryBroker(Config())
    subscription = broker.subscribe("news")
    threading.Timer(0.05, broker.publish, ["news", "a"]).start()
    assert texts(subscription.receive(10)) == ["a"]


@pytest.mark.parametrize(
    ("oldest", "last", "expected"),
    [
        (None, (5, 5), ((0, 0), True)),
        ("7-2", (7, 2), ((7, 2), False)),
        ("7-2", (7, 1), ((7, 1), False)),
        ("7-2", (7, 0), ((7, 1), True)),
        ("7-0", (6, 2**64 - 1), ((6, 2**64 - 1), False)),
        ("7-0", (6, 9), ((6, 2**64 - 1), True)),
        ("7-2", (8, 0), ((8, 0), False)),
        ("7-2", (8, 1), ((7, 1), True)),
        ("7-2", None, ((7, 1), True)),
    ],
    ids=[
        "empty", "first", "before-first", "earlier", "before-round",
        "earlier-round", "last", "future", "foreign",
    ],
)  # fmt: skip
def test_where_a_resume_begins(oldest: Any, last: Any, expected: Any) -> None:
    """What Redis still has of a stream decides whether something may be missing."""
    assert missed(oldest, (8, 0), last) == expected


@pytest.fixture
def redis_broker(request: pytest.FixtureRequest) -> Iterator[RedisBroker]:
    """A broker on an empty Redis."""
    pytest.importorskip("redis")
    pytest.importorskip("harness")
    yield from connected(Config(redis_url=request.getfixturevalue("redis_url")))


def test_reader_ends_when_nobody_listens(
    redis_broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's thread goes away, and comes back when it is needed."""
    monkeypatch.setattr("flask_streaming._redis.BLOCK", 20)
    for _ in range(2):
        with redis_broker.subscribe("news") as subscription:
            redis_broker.publish("news", "a")
            assert texts(read(subscription, 1)) == ["a"]
            reader = redis_broker._reader
            assert reader is not None
            redis_broker._unsubscribe("unknown", Subscription(1))
        reader.join(10)
        assert not reader.is_alive()
        assert redis_broker._reader is None


def test_foreign_entries_are_skipped(
    redis_broker: RedisBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """What another program wrote there is no reason to stop."""
    with redis_broker.subscribe("news") as subscription:
        redis_broker._redis.xadd("flask-streaming:news", {"data": "a", "event": "\n"})
        redis_broker._redis.xadd("flask-streaming:news", {"other": "a"})
        redis_broker._redis.xadd("flask-streaming:news", {b"\xff": b"\xff"})
        redis_broker.publish("news", "b")
        assert texts(read(subscription, 1)) == ["b"]
    assert caplog.text.count("is no event") == 3


def test_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Publishing is an error; a subscription ends, so that the client comes back."""
    pytest.importorskip("redis")
    broker = RedisBroker(Config(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(BrokerError, match="Redis did not take the event"):
        broker.publish("news", "a")
    with caplog.at_level(logging.WARNING, "flask_streaming"):
        assert list(broker.subscribe("news")) == []
    assert "Redis is away, a client will have to come back" in caplog.text


def test_reader_outlives_an_outage(
    redis_broker: RedisBroker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reader tries again until Redis answers, and says so once."""
    import redis

    real = redis.Redis.xread
    failures = iter([redis.ConnectionError("away")] * 3)

    def xread(*args: Any, **kwargs: Any) -> Any:
        for failure in failures:
            raise failure
        return real(*args, **kwargs)

    monkeypatch.setattr("flask_streaming._redis.RETRY_SECONDS", 0.001)
    monkeypatch.setattr(redis.Redis, "xread", xread)
    with redis_broker.subscribe("news") as subscription:
        redis_broker.publish("news", "a")
        # There may have been more, in a stream that is gone.
        assert texts(read(subscription, 2)) == ["0-0", "a"]
    assert caplog.text.count("Redis is away, clients wait") == 1


def test_redis_refuses(
    redis_broker: RedisBroker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is wrong with a Redis that answers is named."""
    monkeypatch.setattr("flask_streaming._redis.BLOCK", 20)
    commands = redis_broker._redis
    with redis_broker.subscribe("news"):
        commands.set("flask-streaming:news", "no stream")
        wait_until(lambda: "Redis refuses, clients wait: WRONGTYPE" in caplog.text)
        assert list(redis_broker.subscribe("news")) == []
        assert "Redis refuses, a client will have to come back: WRONG" in caplog.text
        commands.delete("flask-streaming:news")
    commands.config_set("requirepass", "secret")
    try:
        assert list(RedisBroker(redis_broker._config).subscribe("news")) == []
    finally:
        commands.config_set("requirepass", "")
    assert "authenticat" in caplog.text.lower()
    assert "Redis is away" not in caplog.text


def lose(broker: RedisBroker, last: str) -> None:
    """Delete the stream, and wait until no entry of a new one can have an old id."""
    broker._redis.delete("flask-streaming:news")
    wait_until(lambda: time.time() * 1000 >= position_of(last)[0] + 1)


def test_reader_knows_of_a_break(redis_broker: RedisBroker) -> None:
    """A connection that breaks while it waits may hide that a stream is gone."""
    commands = redis_broker._redis
    # The readers of tests before end a little later.
    others = {it["id"] for it in commands.client_list()}

    def reading() -> list[str]:
        blocked = [it["id"] for it in commands.client_list() if it["flags"] == "b"]
        return [number for number in blocked if number not in others]

    with redis_broker.subscribe("news") as subscription:
        first = redis_broker.publish("news", "first")
        assert texts(read(subscription, 1)) == ["first"]
        wait_until(lambda: len(reading()) == 1)
        lose(redis_broker, first)
        commands.client_kill_filter(_id=reading()[0])
        redis_broker.publish("news", "second")
        assert texts(read(subscription, 2)) == [first, "second"]


@pytest.mark.parametrize(
    ("history", "count", "cut", "expires", "told"),
    [
        (50, 400, False, False, True),
        (50, 400, True, False, True),
        (2000, 1500, False, False, False),
        (2000, 1500, True, False, False),
        (50, 10, True, True, True),
        (1, 1, False, False, False),
    ],
    ids=["behind", "cut", "behind-in-time", "cut-in-time", "expired", "shortest"],
)
def test_reader_that_missed_events(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    history: int,
    count: int,
    cut: bool,
    expires: bool,
    told: bool,
) -> None:
    """A connected client is told when Redis dropped events before they were read."""
    redis = pytest.importorskip("redis")
    pytest.importorskip("harness")
    redis_url = request.getfixturevalue("redis_url")
    real = redis.Redis.xread
    go, failures = threading.Event(), [redis.ConnectionError("cut")] * cut

    def held(reading: Any, cursors: dict[str, str], **kwargs: Any) -> Any:
        if cursors["flask-streaming:news"] != "0-0":
            assert go.wait(20)
            if failures:
                raise failures.pop()
        return real(reading, cursors, **kwargs)

    config = Config(redis_url=redis_url, history=history, queue_size=5000)
    brokers = connected(config)
    broker = next(brokers)
    monkeypatch.setattr(redis.Redis, "xread", held)
    with broker.subscribe("news") as subscription:
        first = broker.publish("news", "first")
        assert texts(read(subscription, 1)) == ["first"]
        if expires:
            lose(broker, first)
        ids = [broker.publish("news", str(number)) for number in range(count)]
        kept = broker._redis.xlen("flask-streaming:news") - (not told)
        go.set()
        seen = read(subscription, told + kept)
    assert [event.id for event in seen[told:]] == ids[-kept:]
    assert (kept < count) == (told and not expires)
    if told:
        assert (seen[0].event, seen[0].data) == ("gap", first)
        with broker.subscribe("news", seen[0].id) as resumed:
            assert read(resumed, kept) == seen[1:]
    assert next(brokers, None) is None


@pytest.fixture
def app() -> Iterator[Flask]:
    """An app with the extension, its context pushed."""
    app = Flask(__name__)
    Streaming(app)
    with app.app_context():
        yield app


def test_extension(app: Flask) -> None:
    """Publishing needs no request; data that is no text is sent as JSON."""
    streaming = Streaming()
    with streaming.subscribe("news") as subscription:
        ids = [streaming.publish("news", "a"), streaming.publish("news", {"b": 1}, "x")]
        assert read(subscription, 2) == [
            ServerSentEvent("a", None, ids[0]),
            ServerSentEvent('{"b": 1}', "x", ids[1]),
        ]


def test_last_event_id(app: Flask) -> None:
    """In a request, the client's header says where to go on."""
    streaming = Streaming()
    first = streaming.publish("news", "a")
    streaming.publish("news", "b")
    with app.test_request_context(headers={"Last-Event-ID": first}):
        assert texts(streaming.subscribe("news").receive(0)) == ["b"]
        other = streaming.subscribe("news", last_event_id="1-1")
        assert texts(other.receive(0)) == ["1-1", "a", "b"]
    assert streaming.subscribe("news").receive(0) == []


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
    monkeypatch.setattr("flask_streaming._extension.os.getpid", lambda: -1)
    assert Streaming().publish("news", "a").split("-")[0] != first.split("-")[0]


def test_redis_by_configuration(app: Flask) -> None:
    """The URL chooses the broker."""
    pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["STREAMING_REDIS_URL"] = "redis://127.0.0.1:1/0"
    Streaming(app)
    assert isinstance(app.extensions["streaming"].brokers.current(), RedisBroker)


def test_setup(app: Flask) -> None:
    """Setting up twice and use without setup are errors that say what to do."""
    with pytest.raises(SetupError, match="already"):
        Streaming(app)
    with Flask(__name__).app_context(), pytest.raises(SetupError, match="init_app"):
        Streaming().publish("news", "a")
