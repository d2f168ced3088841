"""A real Memcached."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


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
