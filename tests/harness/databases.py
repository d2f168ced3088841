"""A real Redis, alone, in a Cluster or behind Sentinel, and a real Memcached."""

from __future__ import annotations

import contextlib
import getpass
import socket
import subprocess
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.server import READY_SECONDS
from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


@dataclass
class RedisServer(Server):
    """A Redis server; its URL is what clients take."""

    @property
    def url(self) -> str:
        """The server's first database."""
        return f"redis://{self.address}/0"


def answers_ping(server: Server) -> bool:
    """Return whether the server answers; it does not while it loads."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            # One that wants a password first says so.
            return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
    except OSError:
        return False


@contextlib.contextmanager
def redis_server(*options: str, keep: bool = True) -> Iterator[RedisServer]:
    """Run Redis.

    :param options: further options of the command.
    :param keep: whether it keeps its data over a restart.
    """
    program = require("redis-server", "apt-get install redis-server")
    port = free_port()
    with temporary_directory("redis") as directory:
        command = [
            program, "--bind", "127.0.0.1", "--port", str(port), "--dir",
            str(directory), "--save", "", "--appendonly", "yes" if keep else "no",
            "--unixsocket", str(directory / "socket"), *options,
        ]  # fmt: skip
        server = RedisServer("redis", command, port, directory, answers_ping)
        with running(server):
            yield server


@contextlib.contextmanager
def redis_cluster(nodes: int = 3) -> Iterator[list[RedisServer]]:
    """Run a Redis Cluster whose slots are shared by some masters."""
    client = require("redis-cli", "apt-get install redis-tools")
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                redis_server(
                    "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
                    "--cluster-port", str(free_port()),
                )
            )
            for _ in range(nodes)
        ]  # fmt: skip
        addresses = [server.address for server in servers]
        subprocess.run(
            [client, "--cluster", "create", *addresses, "--cluster-yes"],
            check=True, capture_output=True, timeout=READY_SECONDS,
        )  # fmt: skip
        for server in servers:
            until(server, b"CLUSTER INFO", b"cluster_state:ok")
        yield servers


@dataclass
class Sentinel(Server):
    """A Sentinel that watches one master with one replica, called ``main``."""

    master: RedisServer | None = None
    replica: RedisServer | None = None


@contextlib.contextmanager
def redis_sentinel() -> Iterator[Sentinel]:
    """Run Redis with a replica, and a Sentinel that replaces it after half a second."""
    program = require("redis-sentinel", "apt-get install redis-sentinel")
    port = free_port()
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis_server())
        replica = stack.enter_context(
            redis_server("--replicaof", "127.0.0.1", str(master.port))
        )
        until(replica, b"INFO replication", b"master_link_status:up")
        directory = stack.enter_context(temporary_directory("sentinel"))
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 5000\n"
        )
        server = Sentinel(
            "sentinel", [program, str(settings)], port, directory, answers_ping,
            master=master, replica=replica,
        )  # fmt: skip
        stack.enter_context(running(server))
        until(server, b"SENTINEL replicas main", str(replica.port).encode())
        yield server


def until(server: Server, command: bytes, expected: bytes) -> None:
    """Wait until the answer to a Redis command contains some bytes."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(command + b"\r\n")
            if expected in connection.recv(65536):
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name} did not get ready:\n{server.log()}")
        time.sleep(0.05)


@contextlib.contextmanager
def memcached(*options: str) -> Iterator[Server]:
    """Run Memcached with 64 MiB.

    :param options: further options of the command.
    """
    program = require("memcached", "apt-get install memcached")
    port = free_port()
    with temporary_directory("memcached") as directory:
        command = [
            program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64",
            "-u", getpass.getuser(), *options,
        ]  # fmt: skip
        server = Server("memcached", command, port, directory, listens)
        with running(server):
            yield server


@contextlib.contextmanager
def memcached_on_socket() -> Iterator[Path]:
    """Run Memcached on a Unix socket, and return its path."""
    program = require("memcached", "apt-get install memcached")
    with temporary_directory("memcached") as directory:
        path = directory / "socket"
        command = [program, "-s", str(path), "-u", getpass.getuser()]
        ready: Callable[[Server], bool] = lambda _: path.exists()  # noqa: E731
        with running(Server("memcached", command, 0, directory, ready)):
            yield path
