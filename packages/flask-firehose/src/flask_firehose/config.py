"""The facts of the deployment, validated once."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields
from typing import Any
from typing import Self

from .exceptions import ConfigError


PREFIX = "FIREHOSE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How links leave this deployment.

    :param early_hints: send a 103 where the server can.
    :param learn: send ahead what an endpoint's last page pushed.
    :param learn_prefixes: where links start that are the same for every user.
    :param max_bytes: the longest ``Link`` value, in bytes.
    :param max_links: the most links of one response.
    :param mimetypes: the responses that carry links.
    """

    early_hints: bool = False
    learn: bool = True
    learn_prefixes: tuple[str, ...] = ()
    max_bytes: int = 1024
    max_links: int = 20
    mimetypes: tuple[str, ...] = ("text/html", "application/xhtml+xml")

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """Read and validate the keys that start with ``FIREHOSE_``.

        :raises ConfigError: a value has the wrong type or cannot work.
        """
        values = {
            field.name: _valid(field.name, config[PREFIX + field.name.upper()])
            for field in fields(cls)
            if PREFIX + field.name.upper() in config
        }
        return cls(**values)


def _valid(name: str, value: Any) -> Any:
    """Return the value as the field holds it, or tell what it must be."""
    check, remedy = _RULES[name]
    if not check(value):
        raise ConfigError(PREFIX + name.upper(), value, remedy)
    return tuple(value) if isinstance(value, list) else value


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _all(pattern: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, (list, tuple)) and all(
            isinstance(item, str) and re.fullmatch(pattern, item) for item in value
        )

    return check


_FLAG = (_is_flag, "set it to True or False")
_COUNT = (_is_count, "set it to a whole number above 0")
_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "early_hints": _FLAG,
    "learn": _FLAG,
    "learn_prefixes": (
        _all(r"(https?://[^/]+)?/([^/].*/)?"),
        "set it to a tuple of URL prefixes that end with '/', such as '/assets/' "
        "or 'https://cdn.example/'",
    ),
    "max_bytes": _COUNT,
    "max_links": _COUNT,
    "mimetypes": (
        _all(r"[a-z0-9.+-]+/[a-z0-9.+-]+"),
        "set it to a tuple of media types in lower case, such as ('text/html',)",
    ),
}
