"""The cost of an event where a process listens to many channels.

Usage: python benchmarks/streaming_channels.py

Instructions of one event, from the publisher to the one who listens to its channel, in
a process that listens to 10 and to 10,000; in memory and over Redis.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _counting

from flask_streaming._memory import MemoryBroker
from flask_streaming._redis import RedisBroker
from flask_streaming.config import Config


COUNTS, BAR = (10, 10_000), 1.5


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
    """Be counted."""
    config = Config(redis_url=url or None, redis_timeout=600)
    broker = RedisBroker(config) if url else MemoryBroker(config)
    _counting.measure([listening(broker, count)])


def main() -> None:
    """Run all of it."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import harness

    if not _counting.available():
        return
    with harness.redis_server() as server:
        for name, url in (("memory", ""), ("redis", server.url)):
            few, many = (_counting.instructions(url, str(count))[0] for count in COUNTS)
            word = "met" if many / few <= BAR else "MISSED"
            print(
                f"{name:10}{few:12,.0f} with 10{many:12,.0f} with 10,000"
                f"{many / few:8.2f}  bar {BAR}  {word}",
                flush=True,
            )


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
