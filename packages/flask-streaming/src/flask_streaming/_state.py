"""The state of one app, and the broker of each process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from ._memory import MemoryBroker
from ._redis import RedisBroker
from ._setup import state_of
from .config import Config


NAME = "streaming"

logger = logging.getLogger("flask_streaming")


@dataclass(frozen=True, slots=True)
class State:
    """The state of one app.

    :param redis: makes a client, in place of the URL.
    """

    config: Config
    redis: Callable[[], Any] | None = None
    #: By process: a fork must not share ids, sockets, locks or threads.
    _brokers: dict[int, MemoryBroker | RedisBroker] = field(
        default_factory=dict, repr=False
    )
    _warned: dict[str, None] = field(default_factory=dict, repr=False)

    @property
    def broker(self) -> MemoryBroker | RedisBroker:
        """The broker of this process."""
        process = os.getpid()
        broker = self._brokers.get(process)
        if broker is None:
            if self.config.redis_url is None and self.redis is None:
                broker = MemoryBroker(self.config)
            else:
                broker = RedisBroker(self.config, self.redis)
            # Without a lock, which may have been made before gevent replaced locks:
            # of two that are made at once, both take the one that was first.
            broker = self._brokers.setdefault(process, broker)
        return broker

    def warn_once(self, message: str) -> None:
        """Log a warning, if it is the first of its kind."""
        if message not in self._warned:
            self._warned[message] = None
            logger.warning(message)


def get_state() -> State:
    """Return the state of the current app.

    :raises SetupError: when the extension is not set up on it.
    """
    return state_of(NAME, "Streaming", State)
