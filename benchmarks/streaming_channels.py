"""The cost of an event where a process listens to many channels.

Usage: python benchmarks/streaming_channels.py

CPU of one event, from the publisher to the one who listens to its channel, in a process
that listens to 10 and to 10,000; in memory and over Redis, whose own CPU is left out.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask_streaming._memory import MemoryBroker
from flask_streaming._redis import RedisBroker
from flask_streaming.config import Config


COUNTS, BAR = (10, 10_000), 1.5
EVENTS, ROUNDS = 300, 7


def listening(broker: Any, count: int) -> Callable[[int], None]:
    """Listen to channels; return what publishes to one after the other."""
    listeners = {}
    for number in range(count):
        name = f"channel {number}"
        listeners[name] = broker.subscribe([name])
    names = list(listeners)
    chosen = random.Random(1)

    def run(times: int) -> None:
        for name in chosen.choices(names, k=times):
            broker.publish(name, "x" * 50)
            assert listeners[name].receive(60), name

    return run


def child(url: str, count: int) -> None:
    """Print the CPU of one event in microseconds, the best of several rounds."""
    config = Config(redis_url=url or None, redis_timeout=600)
    broker = RedisBroker(config) if url else MemoryBroker(config)
    run = listening(broker, count)
    run(EVENTS)
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run(EVENTS)
        found.append(time.process_time() - started)
    print(min(found) / EVENTS * 1e6)


def measured(url: str, count: int) -> float:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--child", url, str(count)]
    return float(subprocess.check_output(command, text=True))


def main() -> None:
    """Run all of it."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import harness

    with harness.redis_server() as server:
        for name, url in (("memory", ""), ("redis", server.url)):
            few, many = (measured(url, count) for count in COUNTS)
            word = "met" if many / few <= BAR else "MISSED"
            print(
                f"{name:10}{few:8.1f} us with 10{many:8.1f} us with 10,000"
                f"{many / few:8.2f}  bar {BAR}  {word}",
                flush=True,
            )


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
