"""The stores of an app: one from its ``STORE_`` keys, more from ``STORES``.

Each store has a configuration, a provider and a territory of its own: the folder, or
the part of a bucket, that holds its files. Territories may not touch, as a public store
would serve a private one's files. A store's name goes into signed URLs, jobs, routes
and commands, never into a file's name, so a row in a database does not know it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import fields
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from werkzeug.utils import import_string

from .config import PREFIX
from .config import Config
from .exceptions import ConfigError
from .exceptions import NotConfiguredError
from .stores.base import BaseStore


if TYPE_CHECKING:
    from flask import Flask

DEFAULT = "default"
STORES = "STORES"
OPTIONS = "OPTIONS"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


def provider_class(name: str) -> type[BaseStore]:
    """Return the class of a dotted name.

    :raises ImportError: where the module or the class is not there.
    :raises ConfigError: where it is no provider.
    """
    found = import_string(name)
    if not (isinstance(found, type) and issubclass(found, BaseStore)):
        raise ConfigError("STORE_PROVIDER", name, "set the name of a provider")
    return found


def check_required(provider: type[BaseStore], config: Mapping[str, Any]) -> None:
    """Check that all keys are there which a provider cannot do without.

    :raises NotConfiguredError: for the first that is missing.
    """
    for key in provider.REQUIRED_CONFIGURATION:
        if not config.get(key):
            remedy = f"set it, as {provider.__name__} needs it"
            raise NotConfiguredError(key, config.get(key), remedy)


def named_stores(app: Flask) -> dict[str, BaseStore]:
    """Make the providers of ``STORES``.

    :raises ConfigError: for the first key that cannot be used, by its place there.
    """
    given = app.config.get(STORES, {})
    if not isinstance(given, Mapping):
        raise ConfigError(STORES, given, "set a mapping of stores by their names")
    return {name: _named(app, name, keys) for name, keys in given.items()}


def _named(app: Flask, name: object, keys: object) -> BaseStore:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "name a store with letters, digits, '-' and '_', a letter first"
        raise ConfigError(f"{STORES}[{name!r}]", keys, remedy)
    if name == DEFAULT:
        remedy = "set the STORE_ keys; they are the default store's"
        raise ConfigError(f"{STORES}[{name!r}]", keys, remedy)
    if not isinstance(keys, Mapping):
        raise ConfigError(f"{STORES}[{name!r}]", keys, "set a mapping of its keys")
    try:
        return _make(app, name, keys)
    except ConfigError as error:
        if not error.key.startswith(PREFIX):
            raise
        key = f"{STORES}[{name!r}][{error.key.removeprefix(PREFIX)!r}]"
        raise type(error)(key, error.value, error.remedy) from error


def _make(app: Flask, name: str, keys: Mapping[str, Any]) -> BaseStore:
    options = keys.get(OPTIONS, {})
    _refuse_unknown(keys)
    values = {
        **_signing(app.config),
        f"{PREFIX}URL_PREFIX": f"/flaskstore-{name}",
        **{f"{PREFIX}{key}": value for key, value in keys.items() if key != OPTIONS},
        **{f"{PREFIX}{key}": value for key, value in options.items()},
    }
    provider = provider_class(Config.from_mapping(values).provider)
    # What a provider takes for granted goes into this store's own keys.
    own = SimpleNamespace(config=values, instance_path=app.instance_path, name=app.name)
    provider.app_defaults(cast("Flask", own))
    check_required(provider, values)
    return provider(config=replace(Config.from_mapping(values), store=name))


def _signing(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("SECRET_KEY", "SECRET_KEY_FALLBACKS")
    return {key: config[key] for key in keys if key in config}


def _refuse_unknown(keys: Mapping[str, Any]) -> None:
    known = [
        entry.name.upper() for entry in fields(Config) if "parse" in entry.metadata
    ]
    for key in keys:
        if key not in known and key != OPTIONS:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"put it in {OPTIONS!r}"
            # It may be a misspelt secret.
            raise ConfigError(f"{PREFIX}{key}", "***", f"there is no such key; {hint}")


def check_territories(providers: Mapping[str, BaseStore]) -> None:
    """Check that no store lies in another.

    :raises ConfigError: for the first that does.
    """
    for name, other, place, around in _pairs(providers, lambda it: it.territory()):
        if place[0] == around[0] and _is_within(place[1], around[1]):
            where = "is" if place == around else "lies in"
            remedy = f"it {where} the place of the store {other!r}; set another"
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
