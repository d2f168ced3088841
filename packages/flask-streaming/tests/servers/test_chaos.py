"""Clients of quiet and busy channels, cut at random: once, in order, or a gap."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.databases import RedisServer
from harness.databases import answers_ping
from harness.server import free_port
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


APP = Path(__file__).with_name("streams_app.py")
#: The long form has more: ``CHAOS_CUTS=100 pytest --timeout 1800 test_chaos.py``.
CUTS = int(os.environ.get("CHAOS_CUTS", "3"))
#: A run that failed says its own; the cuts then come in the same places.
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
SECONDS = 60
CHANNELS = ("busy", "quiet")


class Client:
    """A client that comes back with its last id, and checks what it is sent.

    `seen` has all numbers between two gaps, which must be all that were accepted.
    """

    def __init__(self, port: int, channel: str) -> None:
        self.port = port
        self.channel = channel
        self.last_id = ""
        self.seen: list[list[int]] = [[]]
        self.connected = 0

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._listen()
            await asyncio.sleep(random.random() / 5)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        path = f"/events?channel={self.channel}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
        try:
            status = await reader.readline()
            if b" 200 " not in status:
                return
            self.connected += 1
            await reader.readuntil(b"\r\n\r\n")
            block: dict[str, str] = {}
            async for line in reader:
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name in {"id", "event", "data"}:
                    block[name] = value
                elif not name and line == b"\n":
                    self._dispatch(block)
                    block = {}
        finally:
            writer.close()

    def _dispatch(self, block: dict[str, str]) -> None:
        self.last_id = block.get("id", self.last_id)
        if block.get("event") == "gap":
            self.seen.append([])
        elif "event" not in block and block.get("data", "").isdigit():
            self.seen[-1].append(int(block["data"]))


def check(client: Client, accepted: list[int]) -> None:
    """Fail where a run of events has a hole, a repetition or another order."""
    for run in client.seen:
        if run:
            first, last = accepted.index(run[0]), accepted.index(run[-1])
            assert run == accepted[first : last + 1], (client.channel, run)
    # Nothing is missing between a run and the next one but where a gap was told,
    # nothing comes twice, and the first run begins with the first event.
    numbers = [number for run in client.seen for number in run]
    assert numbers == sorted(set(numbers)), (client.channel, client.seen)
    assert client.seen[0][:1] == accepted[: len(client.seen[0][:1])]
    if len(client.seen) == 1:
        assert client.seen[0] == accepted


async def settle(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


class Deployment:
    """Two workers behind nginx, with a Redis that takes snapshots only."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.redis, url = self.databases(stack)
        environ = {"FLASK_STREAMING_REDIS_URL": url}
        self.workers = stack.enter_context(
            harness.gunicorn(
                APP, "--threads", "20", worker="gthread", workers=2, environ=environ
            )
        )
        location = f"location / {{ proxy_pass {self.workers.url}; }}"
        self.front = stack.enter_context(harness.nginx(location))
        self.accepted: dict[str, list[int]] = {name: [] for name in CHANNELS}
        self.doubtful: set[int] = set()
        self.number = 0

    def databases(self, stack: contextlib.ExitStack) -> tuple[RedisServer, str]:
        """Start Redis; return what is written to, and its URL."""
        redis = redis_server(stack)
        return redis, redis.url

    @property
    def acts(self) -> list[Callable[[], None]]:
        """The faults, in turn."""
        return [
            self.restart_front, self.restore_snapshot, self.kill_worker,
            self.restart_redis, self.restart_workers, self.flush,
        ]  # fmt: skip

    def prepare(self) -> None:
        """Get ready for the next act."""

    def publish(self, channel: str) -> bool:
        """Publish a number; return whether it was accepted."""
        self.number += 1
        url = f"{self.workers.url}/publish?channel={channel}&first={self.number}"
        request = urllib.request.Request(url, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60):
                self.accepted[channel].append(self.number)
                return True
        except OSError:
            # It may have been accepted, or not: nobody knows, so nobody is asked.
            self.doubtful.add(self.number)
            return False

    def restart_workers(self) -> None:
        """Restart all workers; nginx answers 502 for a while."""
        self.workers.restart()

    def kill_worker(self) -> None:
        """Kill one of the workers."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.workers.url}/counts", timeout=60) as answer,
        ):
            os.kill(json.load(answer)["process"], signal.SIGKILL)

    def restart_front(self) -> None:
        """Restart nginx, which cuts every connection."""
        self.front.restart()

    def restart_redis(self) -> None:
        """Restart Redis with all that it has."""
        self._redis("SAVE")
        self.redis.kill()
        self.redis.start()

    def restore_snapshot(self) -> None:
        """Take a snapshot, go on for a while, crash, and start from the snapshot."""
        self._redis("SAVE")
        self.publish_what_is_lost()
        self.redis.kill()
        self.redis.start()

    def publish_what_is_lost(self) -> None:
        """Have events accepted."""
        for _ in range(5):
            self.publish("busy")
        self.publish("quiet")

    def flush(self) -> None:
        """Lose everything."""
        self._redis("FLUSHALL")

    def _redis(self, command: str) -> Any:
        with client_of(self.redis) as client:
            return client.execute_command(command)


class FailingOver(Deployment):
    """The same with two of Redis, of which Sentinel makes one the master.

    Numbers come from its clock. They run on as if each clock were 30 seconds ahead of
    that of the next master.
    """

    def databases(self, stack: contextlib.ExitStack) -> tuple[RedisServer, str]:
        """Start both and Sentinel."""
        program = require("redis-sentinel", "apt-get install redis-sentinel")
        first, self.other = redis_server(stack), redis_server(stack)
        self._follow(self.other, first)
        port = free_port()
        directory = stack.enter_context(temporary_directory("sentinel"))
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor events 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds events 1500\n"
            "sentinel failover-timeout events 1000\n"
        )
        self.sentinel = RedisServer(
            "sentinel", [program, str(settings)], port, directory, answers_ping
        )
        stack.enter_context(running(self.sentinel))
        self._wait_for_sentinel(self.other)
        return first, f"redis+sentinel://{self.sentinel.address}/events/0"

    def prepare(self) -> None:
        """See which one is the master: where the machine stalls, Sentinel acts too."""
        with client_of(self.sentinel) as client:

            def is_settled() -> bool:
                _, port = client.sentinel_get_master_addr_by_name("events")
                if port != self.redis.port:
                    self.redis, self.other = self.other, self.redis
                return (
                    info_of(self.redis)["role"] == "master"
                    and info_of(self.other).get("master_link_status") == "up"
                )

            wait_until(is_settled)
        self._wait_for_sentinel(self.other)

    @property
    def acts(self) -> list[Callable[[], None]]:
        """The faults, in turn."""
        return [
            self.restart_front, self.lose_at_failover, self.kill_worker,
            self.fail_over, self.restart_workers, self.flush,
        ]  # fmt: skip

    def fail_over(self) -> None:
        """Kill the master; it comes back as the replica of the other one."""
        self.redis.kill()
        self._take_over()

    def lose_at_failover(self) -> None:
        """Do the same while the replica lacks what was accepted last."""
        process = self.other.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            self._redis("CLIENT KILL TYPE replica")
            self._redis("HINCRBY flask-streaming:head head 30000000")
            self.publish_what_is_lost()
            self.redis.kill()
        finally:
            process.send_signal(signal.SIGCONT)
        self._take_over()

    def _take_over(self) -> None:
        self.redis, self.other = self.other, self.redis
        wait_until(lambda: info_of(self.redis)["role"] == "master")
        self.other.start()
        self._follow(self.other, self.redis)
        self._wait_for_sentinel(self.other)

    def _follow(self, replica: RedisServer, master: RedisServer) -> None:
        with client_of(replica) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(master.port))
        wait_until(lambda: info_of(replica).get("master_link_status") == "up")

    def _wait_for_sentinel(self, replica: RedisServer) -> None:
        """Wait until it would promote the replica."""
        with client_of(self.sentinel) as client:

            def is_known() -> bool:
                its = client.sentinel_slaves("events")
                return any(
                    it["port"] == replica.port
                    and it["flags"] == "slave"
                    and it["master-link-status"] == "ok"
                    for it in its
                )

            wait_until(is_known)


def redis_server(stack: contextlib.ExitStack) -> RedisServer:
    """Start a Redis that keeps nothing but the snapshots that are asked for."""
    program = require("redis-server", "apt-get install redis-server")
    port = free_port()
    directory = stack.enter_context(temporary_directory("redis"))
    command = [
        program, "--bind", "127.0.0.1", "--port", str(port), "--save", "",
        "--dir", str(directory), "--repl-diskless-sync-delay", "0",
    ]  # fmt: skip
    redis = RedisServer("redis", command, port, directory, answers_ping)
    stack.enter_context(running(redis))
    return redis


def client_of(server: RedisServer) -> Any:
    """Return a client of the test's own."""
    import redis

    return redis.Redis(port=server.port, decode_responses=True)


def info_of(server: RedisServer) -> dict[str, Any]:
    """Return what a Redis says of its replication."""
    with client_of(server) as client:
        found: dict[str, Any] = client.info("replication")
    return found


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


async def chaos(deployment: Deployment, cuts: int) -> list[Client]:
    """Publish, cut, publish; return the clients when all have seen the last event."""
    port = deployment.front.port
    clients = [Client(port, channel) for channel in CHANNELS for _ in range(4)]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        await settle(lambda: all(client.connected for client in clients))
        for turn in range(cuts):
            for _ in range(random.randint(0, 5)):
                await asyncio.to_thread(deployment.publish, "busy")
            if turn % 3 == 0:
                await asyncio.to_thread(deployment.publish, "quiet")
            act = deployment.acts[turn % len(deployment.acts)]
            await asyncio.to_thread(deployment.prepare)
            await asyncio.to_thread(act)
            await asyncio.to_thread(deployment.publish, "busy")
        for _ in range(200):
            # Clients that were told a gap have all that comes after it.
            for channel in CHANNELS:
                await asyncio.to_thread(deployment.publish, channel)
            ends = {name: its[-1:] for name, its in deployment.accepted.items()}

            def arrived(ends: dict[str, list[int]] = ends) -> bool:
                return all(it.seen[-1][-1:] == ends[it.channel] for it in clients)

            with contextlib.suppress(TimeoutError):
                await settle(arrived, 1)
                break
        else:
            raise AssertionError("not all clients came back")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return clients


@pytest.mark.parametrize("kind", [Deployment, FailingOver])
def test_chaos(kind: type[Deployment]) -> None:
    """Every accepted event arrives once and in order, or a gap says otherwise."""
    sys.stdout.write(f"CHAOS_SEED={SEED}\n")
    random.seed(SEED)
    with contextlib.ExitStack() as stack:
        deployment = kind(stack)
        clients = asyncio.run(chaos(deployment, CUTS), debug=False)
        for client in clients:
            check_with_doubt(client, deployment)


def check_with_doubt(client: Client, deployment: Deployment) -> None:
    """Check what a client saw, without the numbers that may have been accepted."""
    client.seen = [
        [number for number in run if number not in deployment.doubtful]
        for run in client.seen
    ]
    check(client, deployment.accepted[client.channel])
