"""One server process: started, waited for, stopped."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import pytest


READY_SECONDS = 60.0
STOP_SECONDS = 10.0


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _ports() -> Iterator[int]:
    # Each process takes from a block of its own, below the ports that the system gives
    # to clients: nobody else takes a port before its server does.
    first = 10_000 + os.getpid() % 110 * 200
    yield from filter(_is_free, itertools.cycle(range(first, first + 200)))


_free = _ports()


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    return next(_free)


def free_ports(count: int) -> list[int]:
    """Return loopback ports on which nothing listens, each another."""
    return list(itertools.islice(_free, count))


def missing(what: str, install: str) -> None:
    """Skip the test, or fail it where every server has to be there."""
    reason = f"{what} is not installed; install it with: {install}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def require(program: str, install: str) -> str:
    """Return the path of a program; without it the test is skipped.

    :param install: the command that installs it, for the reason.
    """
    # Debian keeps daemons where a user's PATH does not look.
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        missing(program, install)
    assert found is not None
    return found


def require_module(name: str, install: str) -> None:
    """Skip the test where a module cannot be imported."""
    if importlib.util.find_spec(name) is None:
        missing(name, install)


@dataclass
class Server:
    """A process that listens on a loopback port."""

    name: str
    command: Sequence[str]
    port: int
    directory: Path
    ready: Callable[[Server], bool]
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL without a trailing slash."""
        return f"http://{self.address}"

    @property
    def log_path(self) -> Path:
        """The file of standard output and error."""
        return self.directory / "output.log"

    def log(self) -> str:
        """Return what the process printed."""
        return self.log_path.read_text(errors="replace")

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environ},
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready(self):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{self.log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the process; kill it when it does not stop in time."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(STOP_SECONDS)
        self.process = None

    def kill(self) -> None:
        """Kill the process as an outage would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self.process = None

    def restart(self) -> None:
        """Stop the process and start it again on the same port."""
        self.stop()
        self.start()


@contextlib.contextmanager
def temporary_directory(name: str) -> Iterator[Path]:
    """Make a directory that a server running as another user can read."""
    with tempfile.TemporaryDirectory(
        prefix=f"{name}-", ignore_cleanup_errors=True
    ) as made:
        directory = Path(made)
        directory.chmod(0o755)
        yield directory


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Keep a server running for the length of the block."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def listens(server: Server) -> bool:
    """Return whether something accepts connections on the server's port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", server.port)) == 0
