"""The stores of an app: one from its ``STORE_`` keys, more from ``STORES``.

Each store has a configuration, a provider and a territory of its own: the folder, or
the part of a bucket, that holds its files. Territories may not touch, as a public store
would serve a private one's files. A store's name goes into signed URLs, jobs, routes
and commands, never into a file's name, so a row in a database does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from werkzeug.utils import import_string

from ._state import DEFAULT
from .config import Config
from .exceptions import ConfigError
from .exceptions import NotConfiguredError
from .stores.base import BaseStore


if TYPE_CHECKING:
    from flask import Flask

PREFIX = Config.prefix
STORES = "STORES"
OPTIONS = "OPTIONS"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


#: What the package of the same name called its providers, before 2.0.
RENAMED = {
    f"flask_store.providers.{old}": f"flask_store.stores.{new}"
    for old, new in (
        ("local.LocalProvider", "local.LocalStore"),
        ("s3.S3Provider", "s3.S3Store"),
        ("s3.S3GeventProvider", "s3.S3GeventStore"),
        ("temp.TemporaryStore", "memory.MemoryStore"),
    )
}


def provider_class(name: str) -> type[BaseStore]:
    """Return the class of a dotted name.

    :raises ConfigError: where it is not there, or no provider.
    """
    try:
        found = import_string(name)
    except ImportError as error:
        remedy = "set the dotted name of a provider's class"
        if name in RENAMED:
            remedy = f"it was renamed; did you mean {RENAMED[name]}?"
        raise ConfigError("STORE_PROVIDER", name, remedy) from error
    if not (isinstance(found, type) and issubclass(found, BaseStore)):
        raise ConfigError("STORE_PROVIDER", name, "set the name of a provider")
    return found


def check_required(provider: type[BaseStore], config: Mapping[str, Any]) -> None:
    """Check that all keys are there which a provider cannot do without.

    :raises NotConfiguredError: for the first that is missing.
    """
    for key in provider.REQUIRED_CONFIGURATION:
        if not config.get(key):
            remedy = f"set it; {provider.__name__} requires it"
            raise NotConfiguredError(key, config.get(key), remedy)


def read_config(
    app: Flask,
    values: dict[str, Any],
    *,
    store: str = DEFAULT,
    ignore_keys: Collection[str] = (),
) -> tuple[type[BaseStore], Config]:
    """Return a store's provider, and its configuration.

    :param values: its ``STORE_`` keys; gets what the provider takes for granted.
    :raises ConfigError: for the first value that cannot be used, or misspelt key.
    :raises NotConfiguredError: for the first key that is missing.
    """
    wanted = {key: values[key] for key in values if key == f"{PREFIX}PROVIDER"}
    provider = provider_class(Config.from_mapping(wanted).provider)
    own = own_keys(provider, app, values)
    config = Config.from_mapping(values, ignore_keys={*own, *ignore_keys})
    check_required(provider, values)
    return provider, replace(config, store=store)


def own_keys(
    provider: type[BaseStore], app: Flask, values: dict[str, Any]
) -> Collection[str]:
    """Return the keys that a provider declares, and set those it takes for granted."""
    kept = _Recorder(values)
    stand_in = _StandIn(app, kept)
    provider.app_defaults(cast("Flask", stand_in))
    values.update(kept)
    declared = provider.REQUIRED_CONFIGURATION + provider.OPTIONAL_CONFIGURATION
    return {*declared, *kept.named}


class _Recorder(dict[str, Any]):
    """A configuration that knows which keys were set, or were there already."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.named: set[str] = set()

    def __setitem__(self, key: str, value: Any) -> None:
        self.named.add(key)
        super().__setitem__(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set a key that is not there."""
        self.named.add(key)
        return super().setdefault(key, default)


class _StandIn:
    """An app with the configuration of one of its stores."""

    def __init__(self, app: Flask, config: dict[str, Any]) -> None:
        self._app = app
        self.config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)


def named_stores(app: Flask) -> dict[str, BaseStore]:
    """Make the providers of ``STORES``.

    :raises ConfigError: for the first key that cannot be used, by its place there.
    """
    given = app.config.get(STORES, {})
    if not isinstance(given, Mapping):
        raise ConfigError(STORES, given, "set a mapping of stores by their names")
    return {name: _named(app, name, keys) for name, keys in given.items()}


def _named(app: Flask, name: object, keys: object) -> BaseStore:
    place = f"{STORES}[{name!r}]"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "name a store with letters, digits, '-' and '_', a letter first"
        raise ConfigError(place, keys, remedy)
    if name == DEFAULT:
        remedy = "set the STORE_ keys; they configure the default store"
        raise ConfigError(place, keys, remedy)
    if not isinstance(keys, Mapping):
        raise ConfigError(place, keys, "set a mapping of its keys")
    try:
        return _make(app, name, keys)
    except ConfigError as error:
        if not error.key.startswith(PREFIX):
            raise
        key = f"{place}[{error.key.removeprefix(PREFIX)!r}]"
        # Here keys have no prefix.
        remedy = error.remedy.replace(PREFIX, "")
        raise type(error)(key, error.value, remedy) from None


def _make(app: Flask, name: str, keys: Mapping[str, Any]) -> BaseStore:
    options = {f"{PREFIX}{key}": value for key, value in _options(keys).items()}
    values = {
        **_signing(app.config),
        f"{PREFIX}URL_PREFIX": f"/flaskstore-{name}",
        **{f"{PREFIX}{key}": value for key, value in keys.items() if key != OPTIONS},
        **options,
    }
    provider, config = read_config(app, values, store=name, ignore_keys=options)
    _refuse_unknown(app, provider, keys)
    return provider(config=config)


def _options(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    options = keys.get(OPTIONS, {})
    if not isinstance(options, Mapping):
        raise ConfigError(f"{PREFIX}{OPTIONS}", options, "set a mapping of keys")
    return options


def _signing(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("SECRET_KEY", "SECRET_KEY_FALLBACKS")
    return {key: config[key] for key in keys if key in config}


def _refuse_unknown(
    app: Flask, provider: type[BaseStore], keys: Mapping[str, Any]
) -> None:
    """Refuse any unknown key: nobody else has keys in a store's own mapping."""
    known = {name for name, _ in Config.declared()} | {*own_keys(provider, app, {})}
    for key in keys:
        if f"{PREFIX}{key}" not in known and key != OPTIONS:
            # It may be a misspelt secret.
            remedy = f"there is no such key; set it in {OPTIONS!r}"
            raise ConfigError(f"{PREFIX}{key}", "***", remedy)


def check_territories(providers: Mapping[str, BaseStore]) -> None:
    """Check that no store lies in another.

    :raises ConfigError: for the first that does.
    """
    for name, other, place, around in _pairs(providers, lambda it: it.territory()):
        if place[0] == around[0] and _is_within(place[1], around[1]):
            where = "is" if place == around else "lies in"
            remedy = f"it {where} the location of the store {other!r}; set another"
            raise ConfigError(_key(name, "PATH"), place[1], remedy)
    for name, other, place, around in _pairs(providers, _route):
        if place == around:
            remedy = f"the store {other!r} has it; set another"
            raise ConfigError(_key(name, "URL_PREFIX"), place[0], remedy)


def _key(name: str, key: str) -> str:
    return f"{PREFIX}{key}" if name == DEFAULT else f"{STORES}[{name!r}][{key!r}]"


def _pairs(
    providers: Mapping[str, BaseStore],
    place: Callable[[BaseStore], tuple[str, str] | None],
) -> Iterator[tuple[str, str, tuple[str, str], tuple[str, str]]]:
    """Yield each store with each other, where both have a place."""
    places = {name: place(provider) for name, provider in providers.items()}
    # The default store last, as the others are likelier to be new.
    for name, own in sorted(places.items(), key=lambda pair: pair[0] == DEFAULT):
        for other, around in places.items():
            if name != other and own and around:
                yield name, other, own, around


def _route(provider: BaseStore) -> tuple[str, str] | None:
    return (provider.config.url_prefix, "") if provider.register_route else None


def _is_within(path: str, around: str) -> bool:
    return not around or path == around or path.startswith(f"{around.rstrip('/')}/")
