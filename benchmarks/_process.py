"""The CPU time and memory of a server process, read from Linux."""

from __future__ import annotations

import resource
from pathlib import Path


def cpu(process: int) -> float:
    """Return the time that a process and its children have run, in seconds."""
    tasks = [*Path(f"/proc/{process}/task").iterdir()]
    own = sum(int((it / "schedstat").read_text().split()[0]) for it in tasks) / 1e9
    return own + sum(map(cpu, children(process)))


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(it) for task in tasks for it in (task / "children").read_text().split()]


def memory(process: int) -> int:
    """Return the memory of a process and its children in KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    own = int(status.split("VmRSS:")[1].split()[0])
    return own + sum(map(memory, children(process)))


def allow_files(count: int) -> int:
    """Let this process and those that it starts open files; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        soft = min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
