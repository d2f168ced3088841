"""The configuration, validated once when the app is set up."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any

from ._backends import parse
from .exceptions import ConfigError


PREFIX = "WEBCACHE_"
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How one app caches; every field is the key ``WEBCACHE_`` with its name.

    :param preemptive_recache_callback: what renews a response in the background; a
        thread of this process where it is None. See :mod:`flask_webcache.recache`.
    """

    url: str = "simple://"
    key_prefix: str = "webcache:"
    master_salt: str = ""
    resource_exemptions: tuple[str, ...] = ()
    request_controls_cache: bool = True
    default_expiration_seconds: int = 0
    stale_on_error: int = 0
    keep_seconds: int = 3600
    preemptive_recache_seconds: int = 0
    lock_seconds: float = 5.0
    max_body_bytes: int = 1_000_000
    max_variants: int = 16
    etags: bool = True
    store_set_cookie: bool = False
    targeted_fields: tuple[str, ...] = ("Webcache-Cache-Control",)
    ignored_query: tuple[str, ...] = ()
    sort_query: bool = False
    cache_name: str = "flask-webcache"
    preemptive_recache_callback: Callable[[Any], object] | None = field(
        default=None, metadata={"config": False}
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.metadata.get("config", True):
                value = _checked(one.name, getattr(self, one.name), one.default)
                object.__setattr__(self, one.name, value)
        callback = self.preemptive_recache_callback
        if callback is not None and not callable(callback):
            raise ConfigError(
                "preemptive_recache_callback", callback, "give a callable or None"
            )

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Config:
        """Read the keys with the prefix.

        :raises ConfigError: naming the first key that cannot work.
        """
        return cls(
            **{
                one.name: config[key]
                for one in fields(cls)
                if one.metadata.get("config", True)
                and (key := PREFIX + one.name.upper()) in config
            }
        )


def _checked(name: str, value: Any, default: Any) -> Any:
    """Return a value that has the type of its default and makes sense."""
    key = PREFIX + name.upper()
    if isinstance(default, tuple):
        return _strings(key, value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(key, value, "set True or False")
    elif isinstance(default, (int, float)):
        kinds = (int,) if isinstance(default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= 0:
            raise ConfigError(key, value, f"set a number of {_unit(name)}, 0 or more")
        if name == "max_variants" and value < 1:
            raise ConfigError(key, value, "allow at least 1 variant")
    elif not isinstance(value, str):
        raise ConfigError(key, value, "set a string")
    elif name == "url":
        parse(value)
    elif name == "cache_name" and not _TOKEN.fullmatch(value):
        raise ConfigError(key, value, "set a name of letters, digits, '-' and '.'")
    return value


def _strings(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, (tuple, list, set, frozenset)) and all(
        isinstance(one, str) and one for one in value
    ):
        return tuple(value)
    raise ConfigError(key, value, "set a list of strings that are not empty")


def _unit(name: str) -> str:
    return {"max_body_bytes": "bytes", "max_variants": "variants"}.get(name, "seconds")
