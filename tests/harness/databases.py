"""A real Redis and a real Memcached."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Iterator
from dataclasses import dataclass

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
    """Tell whether the server answers, which it does not while it loads."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run Redis, which keeps its data over a restart."""
    program = require("redis-server", "apt-get install redis-server")
    port = free_port()
    with temporary_directory("redis") as directory:
        command = [
            program, "--bind", "127.0.0.1", "--port", str(port),
            "--dir", str(directory), "--save", "", "--appendonly", "yes",
        ]  # fmt: skip
        server = RedisServer("redis", command, port, directory, answers_ping)
        with running(server):
            yield server


@contextlib.contextmanager
def memcached() -> Iterator[Server]:
    """Run Memcached with 64 MiB."""
    program = require("memcached", "apt-get install memcached")
    port = free_port()
    with temporary_directory("memcached") as directory:
        command = [
            program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64",
            "-u", getpass.getuser(),
        ]  # fmt: skip
        server = Server("memcached", command, port, directory, listens)
        with running(server):
            yield server
