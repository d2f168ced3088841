"""One declaration per configuration key: type, default, checks and help.

A package declares its keys as the fields of one frozen class::

    @settings
    class Config(Settings):
        prefix: ClassVar[str] = "STORE_"

        spool_workers: int = key(4, "Uploads sent at once.", at_least(1))

The annotation gives the type, :class:`Rule` objects add what a type cannot say, and
the same words make the error message, the README's table and ``flask store config``.
Annotations are read once, when the class is made. This file is the same in every
package that ships it, and knows no Flask.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import MISSING
from dataclasses import Field
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from difflib import get_close_matches
from types import MappingProxyType
from types import NoneType
from types import UnionType
from typing import Any
from typing import ClassVar
from typing import Literal
from typing import NamedTuple
from typing import NoReturn
from typing import Self
from typing import TypeVar
from typing import Union
from typing import dataclass_transform
from typing import get_args
from typing import get_origin
from typing import get_type_hints

from .exceptions import ConfigError


T = TypeVar("T")
S = TypeVar("S", bound="Settings")
logger: logging.Logger = logging.getLogger(__package__)


class Rule(NamedTuple):
    """A check and its words.

    :param check: returns the value to keep, or raises ValueError or TypeError.
    :param words: follow "set" in the error, such as ``"a whole number"``.
    """

    check: Callable[[Any], Any]
    words: str


def key(
    default: T, meaning: str, /, *rules: Rule, secret: bool = False, read: bool = True
) -> T:
    """Declare a configuration key.

    :param default: its value when it is not set.
    :param meaning: one sentence for the README.
    :param rules: checks beyond the type; None passes them all.
    :param secret: hide the value in errors, ``repr`` and output.
    :param read: read it from ``app.config``; otherwise code passes it.
    """
    metadata = {"meaning": meaning, "rules": rules, "secret": secret, "read": read}
    # A default that cannot be hashed is refused by dataclasses; copy it instead.
    if isinstance(default, (dict, list, Mapping)):
        kept: Any = default
        made: T = field(default_factory=lambda: kept, metadata=metadata)
    else:
        made = field(default=default, metadata=metadata)
    return made


def at_least(least: float) -> Rule:
    """Return the rule for numbers of *least* or more."""
    return satisfies(lambda value: value >= least, f"{least} or more")


def matches(pattern: str, words: str) -> Rule:
    """Return the rule for strings, or sequences of them, that match a pattern."""
    matched = re.compile(pattern).fullmatch

    def predicate(value: Any) -> bool:
        return all(map(matched, (value,) if isinstance(value, str) else value))

    return satisfies(predicate, words)


def satisfies(predicate: Callable[[Any], object], words: str) -> Rule:
    """Return the rule for values of which *predicate* is true."""
    return Rule(lambda value: value if predicate(value) else _refuse(), words)


def _refuse() -> NoReturn:
    raise ValueError


def _instance(*kinds: type) -> Callable[[Any], Any]:
    # bool is an int: True must not pass as a number.
    return lambda value: value if type(value) in kinds else _refuse()


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):
        _refuse()
    return float(value)


def _string(value: Any) -> str:
    path = os.fspath(value)  # a path object will do where text will
    return path if type(path) is str else _refuse()


_TYPES: dict[Any, Rule] = {
    Any: Rule(lambda value: value, "a value"),
    bool: Rule(_instance(bool), "True or False"),
    int: Rule(_instance(int), "a whole number"),
    float: Rule(_number, "a number"),
    str: Rule(_string, "a string"),
    bytes: Rule(_instance(bytes), "bytes"),
    NoneType: Rule(_instance(NoneType), "None"),
}


def _rule_of(hint: Any) -> Rule:
    """Return the rule that an annotation stands for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _TYPES:
        return _TYPES[hint]
    if origin is Literal:
        return _one_of(arguments)
    if origin in {Union, UnionType}:
        return _any_of([_rule_of(one) for one in arguments])
    if origin is tuple:
        return _tuple_of(_rule_of(arguments[0]))
    if origin in {dict, Mapping}:
        return _mapping_of(*map(_rule_of, arguments))
    if origin is Callable:
        return Rule(lambda value: value if callable(value) else _refuse(), "a callable")
    if isinstance(hint, type):
        return satisfies(lambda value: isinstance(value, hint), f"a {hint.__name__}")
    raise TypeError(f"no rule for the annotation {hint!r}")


def _one_of(choices: tuple[Any, ...]) -> Rule:
    def check(value: Any) -> Any:
        return value if type(value) is str and value in choices else _refuse()

    return Rule(check, " or ".join(map(repr, choices)))


def _any_of(rules: list[Rule]) -> Rule:
    def check(value: Any) -> Any:
        for rule in rules:
            try:
                return rule.check(value)
            except (TypeError, ValueError):
                pass
        return _refuse()

    return Rule(check, " or ".join(rule.words for rule in rules))


def _tuple_of(item: Rule) -> Rule:
    def check(value: Any) -> Any:
        if not isinstance(value, (tuple, list, set, frozenset)):
            _refuse()
        return tuple(map(item.check, value))

    return Rule(check, f"a tuple, each item {item.words}")


def _mapping_of(name: Rule, item: Rule) -> Rule:
    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            _refuse()
        made = {name.check(one): item.check(value[one]) for one in value}
        return MappingProxyType(made)

    return Rule(check, "a dictionary")


class Settings:
    """Base class of a package's ``Config``; decorate subclasses with ``settings``."""

    __slots__ = ()
    #: The start of every key in ``app.config``.
    prefix: ClassVar[str]
    #: The rules of each field, that of its type first.
    _rules: ClassVar[Mapping[str, tuple[Rule, ...]]]

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value = self._checked(one.name, getattr(self, one.name))
            object.__setattr__(self, one.name, value)
        self.check()

    def check(self) -> None:
        """Raise the :meth:`error` of values that exclude each other."""

    @classmethod
    def from_mapping(
        cls, config: Mapping[str, Any], *, ignore_keys: Collection[str] = ()
    ) -> Self:
        """Read the keys that start with the prefix.

        :param ignore_keys: keys under the prefix that belong to somebody else.
        :raises ConfigError: for a wrong value, or a key that is a misspelt one.
        """
        known = dict(cls.declared())
        for name in config:
            if name.startswith(cls.prefix) and name not in {*known, *ignore_keys}:
                _meet_unknown(name, cls.prefix, known)
        return cls(
            **{known[name].name: config[name] for name in known if name in config}
        )

    @classmethod
    def declared(cls) -> Iterator[tuple[str, Field[Any]]]:
        """Yield each key of ``app.config`` with its field."""
        for one in fields(cls):  # type: ignore[arg-type]
            if one.metadata["read"]:
                yield cls.prefix + one.name.upper(), one

    @classmethod
    def error(cls, name: str, value: object, remedy: str) -> ConfigError:
        """Return the error of a field's value, with a secret hidden."""
        return ConfigError(cls._key(name), cls._shown(name, value), remedy)

    @classmethod
    def table(cls) -> str:
        """Return the keys as the rows of a Markdown table."""
        rows = [
            f"| `{name}` | {cls._words(one.name)} | `{_default(one)!r}` "
            f"| {one.metadata['meaning']} |"
            for name, one in cls.declared()
        ]
        return "\n".join(
            ["| Key | Value | Default | Meaning |", "|---|---|---|---|", *rows]
        )

    def shown(self) -> Iterator[tuple[str, object, bool]]:
        """Yield each key, its value with secrets hidden, and whether it was set."""
        for name, one in self.declared():
            value = getattr(self, one.name)
            yield name, self._shown(one.name, value), value != _default(one)

    def __repr__(self) -> str:
        values = (
            f"{one.name}={self._shown(one.name, getattr(self, one.name))!r}"
            for one in fields(self)  # type: ignore[arg-type]
        )
        return f"{type(self).__name__}({', '.join(values)})"

    @classmethod
    def _checked(cls, name: str, value: Any) -> Any:
        kind, *rules = cls._rules[name]
        try:
            kept = kind.check(value)
            for rule in rules if kept is not None else ():
                kept = rule.check(kept)
        except (AttributeError, TypeError, ValueError):
            remedy = f"set {cls._words(name)}{_json_form(kind, value)}"
            # The cause may quote a secret.
            raise cls.error(name, value, remedy) from None
        return kept

    @classmethod
    def _words(cls, name: str) -> str:
        return ", ".join(rule.words for rule in cls._rules[name])

    @classmethod
    def _key(cls, name: str) -> str:
        return cls.prefix + name.upper() if cls._metadata(name)["read"] else name

    @classmethod
    def _shown(cls, name: str, value: object) -> object:
        if value is None or not cls._metadata(name)["secret"]:
            return value
        return hidden(value) if isinstance(value, str) and "://" in value else "***"

    @classmethod
    def _metadata(cls, name: str) -> Mapping[str, Any]:
        declared: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
        return declared[name].metadata


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[S]) -> type[S]:
    """Make a class of keys: a frozen dataclass whose values are checked."""
    made = dataclass(frozen=True, slots=True, kw_only=True, repr=False)(cls)
    hints = get_type_hints(made)
    made._rules = {
        one.name: (_rule_of(hints[one.name]), *one.metadata["rules"])
        for one in fields(made)  # type: ignore[arg-type]
    }
    return made


def hidden(url: str) -> str:
    """Return a URL without its user, its password and secrets in its query."""
    url = re.sub(r"(?s)://.*@", "://***@", url)
    return re.sub(
        r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", url
    )


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _json_form(kind: Rule, value: object) -> str:
    """Return what an environment variable has to hold, if that may be the trouble."""
    if kind is _TYPES[bool] and isinstance(value, (str, int)):
        return "; in an environment variable write true or false"
    if "a string" in kind.words and type(value) in {int, float}:
        return "; in an environment variable write it in double quotes"
    return ""


def _meet_unknown(name: str, prefix: str, known: Collection[str]) -> None:
    """Refuse a key that resembles a known one, and warn of any other.

    Names are compared without their prefix: with it, every foreign key resembles one.
    The value is never shown, as it may be a misspelt secret.
    """
    bare = [one.removeprefix(prefix) for one in known]
    near = get_close_matches(name.removeprefix(prefix).upper(), bare, 1, 0.6)
    if near:
        remedy = f"there is no such key; did you mean {prefix}{near[0]}?"
        raise ConfigError(name, "***", remedy)
    logger.warning(
        "%s is not a key of this extension; if it is yours, add it to ignore_keys", name
    )
