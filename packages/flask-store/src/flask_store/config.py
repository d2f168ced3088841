"""The configuration of one store, validated once when the app is set up."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any
from typing import ClassVar
from typing import Literal
from typing import NoReturn
from typing import Self
from urllib.parse import urlsplit

from werkzeug.utils import import_string

from ._accept import Accept
from ._settings import Rule
from ._settings import Settings
from ._settings import at_least
from ._settings import key
from ._settings import matches
from ._settings import satisfies
from ._settings import settings
from .exceptions import NotConfiguredError


__all__ = ["MIB", "Config"]

MIB: int = 1 << 20


def _refuse() -> NoReturn:
    raise ValueError


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
        _refuse()
    return value.rstrip("/")


def _url_prefix(value: str) -> str:
    if value and not value.startswith("/"):
        _refuse()
    if value.startswith("//") or set(value) & set("<>?#"):
        _refuse()
    return value.rstrip("/")


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        value = import_string(value, silent=True)
    return value if callable(value) else _refuse()


def _path(words: str) -> Rule:
    return satisfies(lambda value: "\0" not in value, words)


@settings
class Config(Settings):
    """The ``STORE_`` keys of an app, or the keys of one of its ``STORES``.

    :param store: the name of the store in the app.
    :param signing_keys: what signs URLs, the current key last.
    :param other: the keys that are not the extension's, such as a provider's own.
    """

    prefix: ClassVar[str] = "STORE_"

    provider: str = key(
        "flask_store.stores.local.LocalStore",
        "The provider's class.",
        matches(r"\S+[.:]\w+", "the dotted name of a provider's class"),
    )
    path: str | None = key(
        None,
        "Where the files are stored; by default in the folder `uploads` in the "
        "instance folder.",
        _path("a folder's absolute path, or for S3 the start of every key"),
    )
    domain: str = key(
        "",
        "The start of absolute URLs; it may include a path, such as the one where "
        "the app is mounted. For S3, the default is the bucket's address.",
        Rule(
            lambda value: _web_address(value) if value else "",
            "a web address such as 'https://files.example.com'",
        ),
    )
    url_prefix: str = key(
        "/flaskstore",
        "The URL path under which the app serves the files.",
        Rule(_url_prefix, "a path that starts with one '/', without a domain"),
    )
    accept: str | Accept | None = key(
        None,
        "A function that checks each file before it is stored, and may refuse it.",
        Rule(_hook, "a function of a file, or its dotted name"),
    )
    private: bool = key(False, "Serve files by signed URLs only.")
    fsync: bool = key(
        True,
        "Wait until files are on the disk; otherwise a power failure may lose "
        "the latest ones.",
    )
    spool_path: str | None = key(
        None,
        "The folder where uploads wait to be sent to S3; by default `store-spool` in "
        "the instance folder.",
        _path("a folder's absolute path, on a disk that outlives the process"),
    )
    spool_workers: int = key(4, "How many uploads are sent to S3 at once.", at_least(1))
    spool_drain: float = key(
        10.0,
        "How long a process that is shutting down keeps sending, in seconds.",
        at_least(0),
    )
    s3_bucket: str | None = key(None, "The bucket.")
    s3_region: str | None = key(None, "Its region.")
    s3_access_key: str | None = key(
        None,
        "The access key; set it together with the secret key, or set neither.",
        secret=True,
    )
    s3_secret_key: str | None = key(None, "The secret.", secret=True)
    s3_endpoint_url: str | None = key(
        None,
        "The URL of an S3 server other than Amazon's.",
        Rule(_web_address, "the URL of a server that speaks S3"),
        secret=True,
    )
    s3_addressing: Literal["auto", "path", "virtual"] = key(
        "auto",
        "Whether the bucket is in the URL's path (`'path'`) or host "
        "(`'virtual'`); `'auto'` lets boto3 choose.",
    )
    s3_acl: str | None = key(
        None, "A canned ACL for every file; new buckets refuse ACLs."
    )
    s3_conditional: Literal["auto", "always", "never"] = key(
        "auto",
        "Whether the server supports conditional writes, which keep names "
        "unique; `'auto'` finds out.",
    )
    s3_checksum: Literal["auto", "when_supported", "when_required"] = key(
        "auto",
        "When boto3 adds checksums; `'auto'` is `'when_supported'` for "
        "Amazon's servers.",
    )
    s3_multipart_threshold: int = key(
        64 * MIB,
        "The size in bytes from which a file is sent in parts.",
        satisfies(lambda value: value >= 5 * MIB, "5 MiB or more"),
    )
    s3_timeout: float = key(
        5.0,
        "The timeout of each connection attempt and each read, in seconds.",
        at_least(0.1),
    )
    s3_attempts: int = key(3, "How many times a request is tried.", at_least(1))
    s3_pool_size: int = key(
        32, "Connections per process; set it to the number of threads.", at_least(1)
    )
    s3_object_parameters: Mapping[str, Any] = key(
        {},
        "Additional parameters for every file, such as "
        "`{'StorageClass': 'STANDARD_IA'}`.",
    )
    store: str = key("default", "The name of the store in the app.", read=False)
    signing_keys: tuple[str | bytes, ...] = key(
        (), "What signs URLs, the current key last.", secret=True, read=False
    )
    other: Mapping[str, Any] = key(
        {}, "The keys of other people's providers.", secret=True, read=False
    )

    @classmethod
    def from_mapping(
        cls, config: Mapping[str, Any], *, ignore_keys: Collection[str] = ()
    ) -> Self:
        """Read an app's configuration, with the keys that sign URLs.

        :param ignore_keys: keys under the prefix that belong to somebody else, such as
            the provider.
        :raises ConfigError: for a wrong value, or a key that is a misspelt one.
        """
        # The decorator makes the class anew, so that a bare super() would miss it.
        parent = super(Config, cls)  # noqa: UP008
        made: Self = parent.from_mapping(config, ignore_keys=ignore_keys)  # type: ignore[attr-defined]  # mypy takes the decorator's result for no class
        known = dict(cls.declared())
        return dataclasses.replace(
            made,
            signing_keys=_signing_keys(config),
            other={
                name: value
                for name, value in config.items()
                if name.startswith(cls.prefix) and name not in known
            },
        )

    def check(self) -> None:
        """Refuse one half of a pair of keys."""
        if bool(self.s3_access_key) == bool(self.s3_secret_key):
            return
        pair = ("STORE_S3_ACCESS_KEY", "STORE_S3_SECRET_KEY")
        given, missing = pair if self.s3_access_key else pair[::-1]
        raise NotConfiguredError(
            missing,
            None,
            f"set it together with {given}; without both, boto3 looks for keys or the "
            "machine's role itself",
        )


def _signing_keys(config: Mapping[str, Any]) -> tuple[str | bytes, ...]:
    current = config.get("SECRET_KEY")
    return (*(config.get("SECRET_KEY_FALLBACKS") or ()), current) if current else ()
