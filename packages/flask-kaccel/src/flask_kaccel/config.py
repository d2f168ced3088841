"""The configuration: read once, when the app starts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from datetime import datetime
from typing import Any
from typing import Literal
from typing import get_args

from ._files import Location
from ._files import absolute
from ._files import is_url
from ._headers import CHARSET_NAME
from ._headers import DEFAULT_CHARSET
from ._headers import EXPIRES
from ._headers import INTERNAL_PREFIX
from ._headers import LIMIT
from ._headers import Rule
from .exceptions import ConfigError


PREFIX = "KACCEL_"
Backend = Literal["nginx", "x-sendfile", "flask"]
HOST = re.compile(r"[^\s/@?#]+")
SECRET = re.compile(r"[\w-]{16,}", re.ASCII)
STORE = re.compile(r"https?://[\w.:\[\]-]+/(?:[\w.~%-]+/)*", re.ASCII)


def _optional(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def _is_directory(value: object) -> bool:
    """Tell whether a value names a directory, but not the whole file system."""
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return isinstance(path, str) and bool(path.strip("/")) and "\0" not in path


DIRECTORY = Rule(
    _is_directory,
    "give a directory, absolute or relative to the app's root_path, other than '/'",
)
SOURCE = Rule(
    lambda value: (
        STORE.fullmatch(value) is not None if is_url(value) else _is_directory(value)
    ),
    "map directories other than '/', and URLs that end with a slash",
)
RULES = {
    "backend": Rule(
        _optional(lambda value: isinstance(value, str) and value in get_args(Backend)),
        "give 'nginx', 'x-sendfile' or 'flask', or None for nginx where a prefix is "
        "configured and Flask where none is",
    ),
    "buffer": Rule(lambda value: isinstance(value, bool), "give True or False"),
    "cache_expires": EXPIRES,
    "charset": CHARSET_NAME,
    "files_path": Rule(_optional(DIRECTORY.accepts), DIRECTORY.remedy),
    "host": Rule(
        _optional(lambda value: isinstance(value, str) and bool(HOST.fullmatch(value))),
        "give the host and port at which the app itself listens, such as "
        "'127.0.0.1:8000'",
    ),
    "limit_rate": LIMIT,
    "mappings": Rule(
        lambda value: isinstance(value, Mapping),
        "give a dictionary from directory or URL to internal prefix",
    ),
    "redirect_path": Rule(_optional(INTERNAL_PREFIX.accepts), INTERNAL_PREFIX.remedy),
    "secret": Rule(
        _optional(
            lambda value: isinstance(value, str) and bool(SECRET.fullmatch(value))
        ),
        "give at least 16 letters, digits, '-' and '_', such as "
        "secrets.token_urlsafe() makes",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The facts of the deployment; the README has what each means."""

    backend: Backend | None = None
    buffer: bool = True
    cache_expires: int | datetime | None = None
    charset: str | None = DEFAULT_CHARSET
    files_path: str | os.PathLike[str] | None = None
    host: str | None = None
    limit_rate: int | None = None
    mappings: Mapping[str | os.PathLike[str], str] = field(default_factory=dict)
    redirect_path: str | None = None
    secret: str | None = None

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Config:
        """Read the keys that start with the prefix.

        :raises ConfigError: the first key whose value cannot be carried out.
        """
        values = {
            it.name: config[PREFIX + it.name.upper()]
            for it in fields(cls)
            if PREFIX + it.name.upper() in config
        }
        for name, value in values.items():
            _check(RULES[name], name, value)
        made = cls(**values)
        made._check_together()
        return made

    def _check_together(self) -> None:
        for source, prefix in self.mappings.items():
            _check(SOURCE, "mappings", source)
            _check(INTERNAL_PREFIX, "mappings", prefix)
        if self.redirect_path and self.files_path is None:
            raise ConfigError(
                "KACCEL_FILES_PATH",
                None,
                "give the directory of which KACCEL_REDIRECT_PATH is the prefix",
            )
        if self.backend == "x-sendfile" and not (self.files_path or self.mappings):
            raise ConfigError(
                "KACCEL_BACKEND",
                self.backend,
                "set KACCEL_FILES_PATH to the directory whose files may be sent",
            )

    def locations(self, root_path: str) -> list[Location]:
        """Return the mapping, with relative directories under the app's root.

        :raises ConfigError: two sources that are one, or two prefixes of which nginx
            could not tell which one is meant.
        """
        locations = list(self._locations(root_path))
        for index, location in enumerate(locations):
            for other in locations[:index]:
                if location.source == other.source or _overlap(location, other):
                    raise ConfigError(
                        "KACCEL_MAPPINGS",
                        self.mappings,
                        f"{location.source!r} and {other.source!r} share a directory "
                        "or a prefix; give each its own",
                    )
        return locations

    def _locations(self, root_path: str) -> Iterator[Location]:
        if self.files_path is not None:
            directory = _directory("files_path", self.files_path, root_path)
            yield Location(directory, self.redirect_path)
        for source, prefix in self.mappings.items():
            if not is_url(source):
                source = _directory("mappings", source, root_path)
            yield Location(str(source), prefix)

    @property
    def delivery(self) -> Backend:
        """Who sends the files."""
        if self.backend is not None:
            return self.backend
        return "nginx" if self.redirect_path or self.mappings else "flask"


def _directory(name: str, path: str | os.PathLike[str], root_path: str) -> str:
    directory = absolute(path, root_path)
    _check(DIRECTORY, name, directory)
    return directory + os.sep


def _check(rule: Rule, name: str, value: object) -> None:
    if not rule.accepts(value):
        raise ConfigError(PREFIX + name.upper(), value, rule.remedy)


def _overlap(one: Location, other: Location) -> bool:
    if one.prefix is None or other.prefix is None:
        return False
    return one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
