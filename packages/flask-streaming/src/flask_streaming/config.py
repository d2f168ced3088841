"""The configuration, validated once at start-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields
from typing import Any
from typing import Self
from urllib.parse import urlsplit

from .exceptions import ConfigError


PREFIX = "STREAMING_"
SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What ``app.config`` says under :data:`PREFIX`.

    :param history: events kept for each channel, for clients that resume.
    :param history_seconds: how long a channel is remembered after its last event.
    :param queue_size: events that wait for one client before it is cut off.
    :param redis_url: the Redis that carries events between processes.
    :param redis_prefix: what the keys in Redis start with.
    :param redis_connections: connections of one process, beside its reader's.
    """

    history: int = 1000
    history_seconds: int = 3600
    queue_size: int = 100
    redis_url: str | None = None
    redis_prefix: str = "flask-streaming:"
    redis_connections: int = 10

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """Read and check the keys of an app's configuration.

        :raises ConfigError: for the first value that is wrong.
        """
        names = (field.name for field in fields(cls))
        values = {
            name: config[PREFIX + name.upper()]
            for name in names
            if PREFIX + name.upper() in config
        }
        for name, value in values.items():
            remedy = wrong(name, value)
            if remedy:
                secret = isinstance(value, str) and "@" in value
                raise ConfigError(PREFIX + name.upper(), value, remedy, secret=secret)
        return cls(**values)


def is_url(text: str) -> bool:
    """Tell whether a text is the URL of a Redis, with a number for its port."""
    try:
        _ = urlsplit(text).port
    except ValueError:
        return False
    return text.startswith(SCHEMES)


def wrong(name: str, value: object) -> str | None:
    """Return what to set instead of a wrong value."""
    if name == "redis_url":
        if value is None or (isinstance(value, str) and is_url(value)):
            return None
        return "set a URL such as 'redis://localhost:6379/0', or None for one process"
    if name == "redis_prefix":
        return None if isinstance(value, str) else "set a string"
    # bool is an int, and True is no number of events.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return None
    return "set a whole number of at least 1"
