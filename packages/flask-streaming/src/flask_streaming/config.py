"""The configuration, validated once at start-up."""

from __future__ import annotations

from typing import ClassVar

from ._connect import url_problem
from ._settings import Settings
from ._settings import at_least
from ._settings import key
from ._settings import settings


@settings
class Config(Settings):
    """The keys of ``app.config``."""

    prefix: ClassVar[str] = "STREAMING_"

    history: int = key(
        1000,
        "How many events each channel keeps for clients that reconnect or fall behind.",
        at_least(0),
    )
    history_seconds: int = key(
        3600,
        "How long a channel's history is kept after its last event, in seconds.",
        at_least(1),
    )
    redis_url: str | None = key(
        None,
        "The URL of the Redis server (6.2 or later) that carries events between "
        "processes.",
        secret=True,
    )
    redis_read_url: str | None = key(
        None,
        "The URL of a Redis replica that subscribers read from.",
        secret=True,
    )
    redis_prefix: str = key(
        "flask-streaming:", "The prefix of all keys and channels in Redis."
    )
    redis_connections: int = key(
        10,
        "The maximum number of connections per process, in addition to that of "
        "its reader.",
        at_least(1),
    )
    redis_timeout: float = key(
        2.0, "How long a call waits for Redis, in seconds.", at_least(0.1)
    )

    def check(self) -> None:
        """Name what is wrong with a URL."""
        for name in ("redis_url", "redis_read_url"):
            value = getattr(self, name)
            if value is not None and (remedy := url_problem(value)):
                raise self.error(name, value, remedy)
        if self.redis_read_url is not None and self.redis_url is None:
            remedy = (
                "set STREAMING_REDIS_URL to the Redis server that events are sent to"
            )
            raise self.error("redis_read_url", self.redis_read_url, remedy)
