"""The configuration: read once, when the app starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from typing import Literal

from ._files import Location
from ._files import absolute
from ._files import is_url
from ._headers import CHARSET_NAME
from ._headers import DEFAULT_CHARSET
from ._headers import EXPIRES
from ._headers import INTERNAL_PREFIX
from ._headers import LIMIT
from ._settings import Settings
from ._settings import key
from ._settings import matches
from ._settings import satisfies
from ._settings import settings


Backend = Literal["nginx", "x-sendfile", "caddy", "flask"]
DIRECTORY = satisfies(
    lambda path: path.strip("/") and "\0" not in path,
    "the path of a directory other than '/'",
)
STORE = matches(
    r"https?://(?a:[\w.:\[\]-]+)/(?:(?a:[\w.~%-]+)/)*",
    "the URL of a store, which ends with a slash",
)


@settings
class Config(Settings):
    """The facts of the deployment."""

    prefix: ClassVar[str] = "KACCEL_"

    backend: Backend | None = key(
        None,
        "Who sends the files; x-sendfile is for Apache and lighttpd. By default nginx "
        "if a prefix is configured, otherwise Flask.",
    )
    buffer: bool = key(True, "The `buffering` that `send_from_directory` uses.")
    cache_expires: int | datetime | None = key(
        None, "The `expires` that `send_from_directory` uses.", EXPIRES
    )
    charset: str | None = key(
        DEFAULT_CHARSET,
        "The charset that `send_from_directory` adds to text types; `None` adds none.",
        CHARSET_NAME,
    )
    files_path: str | None = key(
        None,
        "The directory of the files, absolute or relative to the app's `root_path`.",
        DIRECTORY,
    )
    host: str | None = key(
        None,
        "The host and port the app itself listens on. A request for this host did "
        "not pass through a server in front, so Flask sends the file.",
        matches(r"[^\s/@?#]+", "a host and port, such as '127.0.0.1:8000'"),
    )
    limit_rate: int | None = key(
        None,
        "The `limit` that `send_from_directory` uses, in bytes per second; 0 for no "
        "limit, `None` for nginx's own setting.",
        LIMIT,
    )
    mappings: Mapping[str, str] = key(
        {},
        "More directories, and URLs of object stores that end with a slash, each "
        "with its internal prefix.",
    )
    redirect_path: str | None = key(
        None,
        "The internal URL prefix of `KACCEL_FILES_PATH`, such as `/protected/`.",
        INTERNAL_PREFIX,
    )
    secret: str | None = key(
        None,
        "A secret that the server in front adds to each request. If a request lacks "
        "it, Flask sends the file.",
        matches(r"(?a:[\w-]{16,})", "at least 16 letters, digits, '-' and '_'"),
        secret=True,
    )

    def check(self) -> None:
        """Refuse keys that need others, and sources and prefixes that are none."""
        for source, prefix in self.mappings.items():
            rule = STORE if is_url(source) else DIRECTORY
            for each, value in ((rule, source), (INTERNAL_PREFIX, prefix)):
                try:
                    each.check(value)
                except ValueError:
                    remedy = f"{value!r} in it must be {each.words}"
                    raise self.error("mappings", self._plain(), remedy) from None
        if self.redirect_path and self.files_path is None:
            remedy = "set it to the directory behind KACCEL_REDIRECT_PATH"
            raise self.error("files_path", None, remedy)
        if self.backend in ("x-sendfile", "caddy") and not self.directories:
            remedy = "set KACCEL_FILES_PATH to the directory whose files may be sent"
            raise self.error("backend", self.backend, remedy)

    @property
    def directories(self) -> bool:
        """Whether any directory is configured."""
        return self.files_path is not None or not all(map(is_url, self.mappings))

    def locations(self, root_path: str, static: str | None = None) -> list[Location]:
        """Return the mapping, with relative directories under the app's root.

        :param static: the URL path of the app's public static files.
        :raises ConfigError: two sources that are one, or two prefixes of which no
            server could say which one is meant.
        """
        locations = list(self._locations(root_path))
        for index, location in enumerate(locations):
            for other in locations[:index]:
                if location.source == other.source or _overlap(
                    location.prefix, other.prefix
                ):
                    remedy = (
                        f"{location.source!r} and {other.source!r} share a directory "
                        "or a prefix; give each its own"
                    )
                    raise self.error("mappings", self._plain(), remedy)
            # An app whose static files lie at the root has to give a part of it away.
            if static and _overlap(location.prefix, f"{static}/"):
                name = "redirect_path"
                if location.prefix != self.redirect_path:
                    name = "mappings"
                remedy = (
                    f"the app's static files are public at {location.prefix!r}; use a "
                    "prefix that no URL of the app starts with"
                )
                raise self.error(name, location.prefix, remedy)
        return locations

    def _locations(self, root_path: str) -> Iterator[Location]:
        if self.files_path is not None:
            directory = self._directory("files_path", self.files_path, root_path)
            yield Location(directory, self.redirect_path)
        for source, prefix in self.mappings.items():
            if not is_url(source):
                source = self._directory("mappings", source, root_path)
            yield Location(source, prefix)

    def _directory(self, name: str, path: str, root_path: str) -> str:
        directory = absolute(path, root_path)
        if not directory.strip(os.sep):
            raise self.error(name, directory, f"set {DIRECTORY.words}")
        return directory + os.sep

    def _plain(self) -> dict[str, str]:
        return dict(self.mappings)

    @property
    def sender(self) -> Backend:
        """The server that sends the files."""
        if self.backend is not None:
            return self.backend
        return "nginx" if self.redirect_path or self.mappings else "flask"


def _overlap(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return False
    return one.startswith(other) or other.startswith(one)
