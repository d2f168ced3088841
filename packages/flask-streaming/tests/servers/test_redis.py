"""Redis that restarts, loses, hangs, refuses, fails over, or is reached another way."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from flask_streaming import BrokerError
from flask_streaming import ServerSentEvent
from flask_streaming._redis import RedisBroker
from flask_streaming._subscription import Subscription
from flask_streaming.config import Config
from harness.databases import RedisServer
from harness.databases import answers_ping
from harness.server import free_port
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


@contextlib.contextmanager
def redis_with(*options: str) -> Iterator[RedisServer]:
    """Run a Redis of the test's own, without an append-only file."""
    program = require("redis-server", "apt-get install redis-server")
    port = free_port()
    with temporary_directory("redis") as directory:
        command = [
            program, "--bind", "127.0.0.1", "--port", str(port), "--save", "",
            "--dir", str(directory), "--repl-diskless-sync-delay", "0", *options,
        ]  # fmt: skip
        server = RedisServer("redis", command, port, directory, answers_ping)
        with running(server):
            yield server


def replica_of(server: RedisServer) -> contextlib.AbstractContextManager[RedisServer]:
    """Run a replica."""
    return redis_with("--replicaof", f"127.0.0.1 {server.port}")


def client_of(server: harness.Server) -> Any:
    """Return a client of the test's own."""
    import redis

    return redis.Redis(port=server.port, decode_responses=True)


def broker_of(server: RedisServer, **values: Any) -> RedisBroker:
    """Return a broker."""
    return RedisBroker(Config(redis_url=server.url, **values))


def collect(subscription: Subscription, until: str) -> list[ServerSentEvent]:
    """Read up to an event, or a type of events."""
    found: list[ServerSentEvent] = []
    deadline = time.monotonic() + 60
    while until not in kinds(found):
        assert time.monotonic() < deadline, found
        received = subscription.receive(1)
        assert received is not None, found
        found += received
    return found


def kinds(events: list[ServerSentEvent]) -> list[str | None]:
    """Return data, or the type where there is one."""
    return [event.event or event.data for event in events]


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def publish(broker: RedisBroker, text: str) -> str:
    """Publish as soon as Redis takes it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return broker.publish("news", text)
        except BrokerError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("seen", [1, 2, 3], ids=["before", "at", "after"])
def test_snapshot_is_restored(seen: int) -> None:
    """Events published after the snapshot are lost, and reported to everyone."""
    with redis_with() as server:
        broker = broker_of(server)
        with broker.subscribe(["news"]) as listener:
            ids = [publish(broker, "0"), publish(broker, "1")]
            client_of(server).save()
            ids.append(publish(broker, "2"))
            collect(listener, "2")
            server.kill()
            server.start()
            publish(broker, "3")
            # The one that is connected is told, and so is one that comes back.
            assert kinds(collect(listener, "gap"))[0] == "gap"
            publish(broker, "4")
            assert "4" in kinds(collect(listener, "4"))
        fresh = broker_of(server)
        with fresh.subscribe(["news"], ids[seen - 1]) as late:
            # What was kept of the lost history is not mixed with what came after.
            assert kinds(collect(late, "4")) == ["gap", "3", "4"]


def test_published_before_anybody_looks() -> None:
    """Events after a restored snapshot do not follow those before it."""
    with redis_with() as server:
        broker = broker_of(server)
        seen = publish(broker, "0")
        client_of(server).save()
        publish(broker, "lost")
        server.kill()
        server.start()
        first, second = publish(broker, "1"), publish(broker, "2")
        for last, expected in ((seen, ["gap", "1", "2"]), (first, ["2"])):
            with broker_of(server).subscribe(["news"], last) as late:
                assert kinds(collect(late, "2")) == expected
        assert seen[:8] != first[:8] == second[:8]


def test_channel_ended_before_the_loss() -> None:
    """A client of a channel that ended in a lost history is told, and can stop."""
    with redis_with() as server:
        broker = broker_of(server)
        started = broker.publish("job", "0")
        over = broker.publish("job", "", "end", end=60)
        client_of(server).save()
        server.kill()
        server.start()
        publish(broker, "elsewhere")
        for last in (started, over):
            with broker.subscribe(["job"], last) as late:
                found = list(late)
                assert kinds(found) == ["gap", "end"]
            assert broker.subscribe(["job"], found[-1].id).over


def test_listener_that_connects_anew_by_itself() -> None:
    """Events that a client's own retries hide are fetched."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with redis_with() as server:

        def make() -> Any:
            retry = Retry(NoBackoff(), 3)
            return redis.Redis(port=server.port, retry=retry)

        broker = RedisBroker(Config(), make)
        with broker.subscribe(["news"]) as listener:
            for number in range(3):
                # Both in one step, so that nobody is there to hear it.
                client = client_of(server)
                pipeline = client.pipeline(transaction=True)
                pipeline.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                pipeline.publish("flask-streaming:tick@0", "x 0")
                pipeline.execute()
                publish(broker, str(number))
                assert kinds(collect(listener, str(number))) == [str(number)]


def test_flushed() -> None:
    """After FLUSHALL every client gets a gap, even on an empty channel."""
    with redis_with() as server:
        broker = broker_of(server)
        quiet = broker.subscribe(["quiet"]).position
        with broker.subscribe(["news"]) as listener:
            publish(broker, "0")
            collect(listener, "0")
            client_of(server).flushall()
            broker.publish("quiet", "lost for who comes back")
            publish(broker, "1")
            assert kinds(collect(listener, "gap"))[0] == "gap"
        with broker.subscribe(["quiet"], str(quiet)) as late:
            assert kinds(late.receive(5) or [])[0] == "gap"


def test_failover_with_another_clock() -> None:
    """A promoted replica that lacks events, its numbers behind: a gap, then all."""
    with redis_with() as first, replica_of(first) as second:
        replica = client_of(second)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        broker = broker_of(first)
        with broker.subscribe(["news"]) as listener:
            publish(broker, "0")
            wait_until(lambda: replica.exists("flask-streaming:channel:news"))
            # It is promoted before it has all.
            replica.replicaof("no", "one")
            last = publish(broker, "lost")
            collect(listener, "lost")
        first.kill()
        # As if its clock had been 30 s ahead before, and were not any more.
        head = int(replica.hget("flask-streaming:head", "head"))
        replica.hset("flask-streaming:head", "head", head + 30_000_000)
        promoted = broker_of(second)
        with promoted.subscribe(["news"], last) as late:
            publish(promoted, "1")
            assert kinds(collect(late, "1")) == ["gap", "1"]


def test_hung_redis_holds_nobody_for_long() -> None:
    """With a silent Redis, a call takes its time-out and no longer."""
    with redis_with() as server:
        broker = broker_of(server)
        publish(broker, "0")
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(BrokerError, match="Redis did not take the event"):
                broker.publish("news", "1")
            # The promise is 2 s; the rest is for a machine that is busy.
            assert time.monotonic() - started < 10
            for names in (["news"], ["other"]):
                started = time.monotonic()
                assert list(broker.subscribe(names)) == []
                assert time.monotonic() - started < 10
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


def test_lost_answer_is_not_published_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the response is lost with the connection, the event is stored once."""
    import redis

    with redis_with() as server:
        broker = broker_of(server)
        real = broker._stored._publish
        answers = [True]

        def lose(*args: Any) -> Any:
            found = real(*args)
            if answers and answers.pop():
                raise redis.ConnectionError("the connection broke")
            return found

        monkeypatch.setattr(broker._stored, "_publish", lose)
        with broker.subscribe(["news"]) as listener:
            first = broker.publish("news", "0")
            second = broker.publish("news", "1")
            assert [it.id for it in collect(listener, "1")] == [first, second]


@pytest.mark.parametrize("url", ["", "?protocol=2", "?protocol=3"])
def test_protocols(redis_session: RedisServer, url: str) -> None:
    """Both protocols of Redis carry events."""
    broker = RedisBroker(Config(redis_url=f"{redis_session.url}{url}"))
    with broker.subscribe(["protocols"]) as listener:
        broker.publish("protocols", "a")
        assert kinds(collect(listener, "a")) == ["a"]


@pytest.mark.parametrize("decoded", [True, False])
def test_own_client(redis_session: RedisServer, decoded: bool) -> None:
    """A client that the application makes is used as it is."""
    import redis

    def make() -> Any:
        return redis.Redis(port=redis_session.port, decode_responses=decoded)

    broker = RedisBroker(Config(), make)
    with broker.subscribe(["own"]) as listener:
        broker.publish("own", "é")
        assert kinds(collect(listener, "é")) == ["é"]


def test_databases_are_apart(redis_session: RedisServer) -> None:
    """Pub/Sub knows no databases, but events stay in theirs."""
    one = RedisBroker(Config(redis_url=f"redis://{redis_session.address}/1"))
    two = RedisBroker(Config(redis_url=f"redis://{redis_session.address}/2"))
    with one.subscribe(["news"]) as listener:
        two.publish("news", "elsewhere")
        one.publish("news", "here")
        assert kinds(collect(listener, "here")) == ["here"]


def test_user_of_the_prefix_only() -> None:
    """A user that may do nothing outside of the prefix is enough, INFO or not."""
    with redis_with() as server:
        client = client_of(server)
        for name, more in (("with", ["+info"]), ("without", ["-info"])):
            client.acl_setuser(
                name, enabled=True, passwords=["+secret"],
                keys=["flask-streaming:*"], channels=["flask-streaming:*"],
                commands=["+@all", "-@admin", "-@dangerous", *more],
            )  # fmt: skip
            url = f"redis://{name}:secret@{server.address}/0"
            broker = RedisBroker(Config(redis_url=url))
            with broker.subscribe(["news"]) as listener:
                last = publish(broker, name)
                assert kinds(collect(listener, name)) == [name]
            with broker.subscribe(["news"], last) as late:
                publish(broker, "again")
                assert kinds(collect(late, "again")) == ["again"]
            client.delete("flask-streaming:channel:news")
            lost = broker.subscribe(["news"], last)
            assert kinds(lost.receive(5) or []) == ["gap"]


def test_full_redis_can_be_listened_to() -> None:
    """To subscribe writes nothing that a full or read-only Redis would refuse."""
    with redis_with() as server:
        broker = broker_of(server)
        last = publish(broker, "0")
        publish(broker, "1")
        client_of(server).config_set("maxmemory", "1")
        with pytest.raises(BrokerError, match=r"did not take the event: .*maxmemory"):
            broker.publish("news", "2")
        with broker_of(server).subscribe(["news"], last) as listener:
            assert "1" in kinds(collect(listener, "1"))


def test_reading_from_a_replica() -> None:
    """Subscribers may read from a replica, which takes no writes."""
    with redis_with() as first, replica_of(first) as second:
        replica = client_of(second)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        broker = RedisBroker(Config(redis_url=first.url, redis_read_url=second.url))
        with broker.subscribe(["news"]) as listener:
            position = listener.position
            publish(broker, "0")
            assert kinds(collect(listener, "0")) == ["0"]
        with broker.subscribe(["news"], str(position)) as late:
            assert kinds(collect(late, "0"))[-1] == "0"


def test_replica_is_sent_a_new_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that a replica does not announce still arrive."""
    monkeypatch.setattr("flask_streaming._reader.TICK_SECONDS", 0.5)
    with (
        redis_with("--repl-backlog-size", "16kb") as first,
        replica_of(first) as second,
    ):
        replica = client_of(second)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        broker = RedisBroker(Config(redis_url=first.url, redis_read_url=second.url))
        with broker.subscribe(["news", "other"]) as listener:
            publish(broker, "0")
            collect(listener, "0")
            assert second.process is not None
            os.kill(second.process.pid, signal.SIGSTOP)
            try:
                client_of(first).execute_command("CLIENT", "KILL", "TYPE", "replica")
                publish(broker, "1" * 100_000)
                broker.publish("other", "2" * 100_000)
            finally:
                os.kill(second.process.pid, signal.SIGCONT)
            found = collect(listener, "2" * 100_000)
            assert [text[:1] for text in kinds(found) if text] == ["1", "2"]
            assert client_of(first).info("stats")["sync_full"] > 1


def test_sentinel() -> None:
    """The master is found by its name, and again after a failover."""
    program = require("redis-sentinel", "apt-get install redis-sentinel")
    with (
        redis_with() as first,
        replica_of(first) as second,
        temporary_directory("sentinel") as directory,
    ):
        replica = client_of(second)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        port = free_port()
        conf = Path(directory, "sentinel.conf")
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor events 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds events 500\n"
            "sentinel failover-timeout events 3000\n"
        )
        server = RedisServer(
            "sentinel", [program, str(conf)], port, directory, answers_ping
        )
        with running(server):
            asked = client_of(server)
            wait_until(lambda: asked.sentinel_master("events")["num-slaves"] == 1)
            url = f"redis+sentinel://127.0.0.1:{port}/events/0"
            broker = RedisBroker(Config(redis_url=url))
            with broker.subscribe(["news"]) as listener:
                publish(broker, "0")
                assert kinds(collect(listener, "0")) == ["0"]
                first.kill()
                publish(broker, "1")
                # What the replica may not have had is told.
                assert kinds(collect(listener, "gap"))[0] == "gap"
                publish(broker, "2")
                assert "2" in kinds(collect(listener, "2"))
