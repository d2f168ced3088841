"""What the deployment says, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any
from typing import Self
from typing import TypeVar
from urllib.parse import urlsplit

from werkzeug.utils import import_string

from ._accept import Accept
from .exceptions import ConfigError
from .exceptions import NotConfiguredError


T = TypeVar("T")
PREFIX = "STORE_"
MIB = 1 << 20


def _key(default: T, parse: Callable[[Any], T], remedy: str) -> T:
    """Declare a key: how to read its value, and what to do when that fails."""
    made: T = field(default=default, metadata={"parse": parse, "remedy": remedy})
    return made


def _is(kind: type[T]) -> Callable[[Any], T]:
    def parse(value: Any) -> T:
        if type(value) is not kind:
            raise TypeError
        return value

    return parse


def _or_none(parse: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else parse(value)


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return parse


def _at_least(least: float) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        kinds = (int,) if isinstance(least, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
            raise ValueError
        return value

    return parse


def _web_address(value: Any) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
        raise ValueError
    return str(value).rstrip("/")


def _url_prefix(value: Any) -> str:
    if not value.startswith("/") or value.startswith("//") or set(value) & set("<>?#"):
        raise ValueError
    return str(value).rstrip("/")


def _path(value: Any) -> str:
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise TypeError
    return path


def _parameters(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return dict(value)


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        value = import_string(value, silent=True)
    if not callable(value):
        raise TypeError
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``STORE_`` keys of an app."""

    provider: str = _key(
        "flask_store.stores.local.LocalStore",
        _is(str),
        "set the dotted name of a provider's class",
    )
    path: str | None = _key(
        None, _or_none(_path), "set a folder, or for S3 what every key starts with"
    )
    domain: str = _key(
        "",
        lambda value: "" if value == "" else _web_address(value),
        "set where browsers reach the files, such as 'https://files.example.com'",
    )
    url_prefix: str = _key(
        "/flaskstore",
        _url_prefix,
        "set a path that starts with one '/', without a domain",
    )
    accept: Accept | None = _key(  # noqa: RUF009 - as all others
        None, _or_none(_hook), "set a function of a file, or its dotted name"
    )
    private: bool = _key(
        False, _is(bool), "set True to serve signed URLs only, or False"
    )
    fsync: bool = _key(
        True, _is(bool), "set False only where a power cut may lose files"
    )
    spool_path: str | None = _key(
        None, _or_none(_path), "set a folder on a disk that outlives the process"
    )
    spool_workers: int = _key(
        4, _at_least(1), "set how many uploads go to S3 at once, 1 or more"
    )
    spool_drain: float = _key(
        10.0, _at_least(0.0), "set seconds, less than the server's graceful timeout"
    )
    s3_bucket: str | None = _key(None, _or_none(_is(str)), "set the name of the bucket")
    s3_region: str | None = _key(
        None, _or_none(_is(str)), "set the bucket's region, such as 'eu-central-1'"
    )
    s3_access_key: str | None = _key(
        None, _or_none(_is(str)), "set it with STORE_S3_SECRET_KEY, or neither"
    )
    s3_secret_key: str | None = _key(
        None, _or_none(_is(str)), "set it with STORE_S3_ACCESS_KEY, or neither"
    )
    s3_endpoint_url: str | None = _key(
        None, _or_none(_web_address), "set the URL of a server that speaks S3"
    )
    s3_addressing: str = _key(
        "auto", _one_of("auto", "path", "virtual"), "set 'auto', 'path' or 'virtual'"
    )
    s3_acl: str | None = _key(
        None, _or_none(_is(str)), "set a canned ACL such as 'public-read', or None"
    )
    s3_conditional: str = _key(
        "auto", _one_of("auto", "always", "never"), "set 'auto', 'always' or 'never'"
    )
    s3_checksum: str = _key(
        "auto",
        _one_of("auto", "when_supported", "when_required"),
        "set 'auto', 'when_supported' or 'when_required'",
    )
    s3_multipart_threshold: int = _key(
        64 * MIB, _at_least(5 * MIB), "set a number of bytes, 5 MiB or more"
    )
    s3_timeout: float = _key(5.0, _at_least(0.1), "set seconds, 0.1 or more")
    s3_attempts: int = _key(3, _at_least(1), "set how often to try, 1 or more")
    s3_pool_size: int = _key(32, _at_least(1), "set a number of connections")
    s3_object_parameters: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "parse": _parameters,
            "remedy": "set a dict such as {'StorageClass': 'STANDARD_IA'}",
        },
    )
    #: The name of the store in the app.
    store: str = field(default="default", metadata={"config": False})
    #: What signs URLs, the current key last.
    signing_keys: tuple[str | bytes, ...] = field(
        default=(), repr=False, metadata={"config": False}
    )
    #: The ``STORE_`` keys of other people's providers.
    other: Mapping[str, Any] = field(default_factory=dict, metadata={"config": False})

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """Read an app's configuration.

        :raises ConfigError: for the first value that cannot be used.
        """
        values: dict[str, Any] = {}
        own = set()
        for entry in fields(cls):
            if "parse" not in entry.metadata:
                continue
            key = PREFIX + entry.name.upper()
            own.add(key)
            if key not in config:
                continue
            try:
                values[entry.name] = entry.metadata["parse"](config[key])
            except (AttributeError, TypeError, ValueError) as error:
                remedy = entry.metadata["remedy"]
                raise ConfigError(key, config[key], remedy) from error
        made = cls(
            **values,
            signing_keys=_signing_keys(config),
            other={
                key: value
                for key, value in config.items()
                if key.startswith(PREFIX) and key not in own
            },
        )
        _check_key_pair(made)
        return made


def _signing_keys(config: Mapping[str, Any]) -> tuple[str | bytes, ...]:
    current = config.get("SECRET_KEY")
    return (*(config.get("SECRET_KEY_FALLBACKS") or ()), current) if current else ()


def _check_key_pair(config: Config) -> None:
    pair = {
        "S3_ACCESS_KEY": config.s3_access_key,
        "S3_SECRET_KEY": config.s3_secret_key,
    }
    present = [name for name, value in pair.items() if value]
    if len(present) == 1:
        (missing,) = pair.keys() - present
        raise NotConfiguredError(
            PREFIX + missing,
            pair[missing],
            f"set it beside {PREFIX}{present[0]}; without both, boto3 looks for keys "
            "or the machine's role itself",
        )
