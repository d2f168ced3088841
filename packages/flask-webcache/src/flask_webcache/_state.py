"""The state of an app, and what operators do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Literal
from urllib.parse import urljoin
from urllib.parse import urlsplit

from cachelib.base import BaseCache
from flask import Flask
from flask import Response
from flask import current_app
from flask import has_request_context
from flask import request

from ._cache import Cache
from ._setup import state_of
from .config import Config
from .exceptions import SetupError


#: The key in ``app.extensions``.
NAME = "webcache"
#: The start of the salt that each start of an app in debug mode makes.
DEBUG_SALT = "debug "
Role = Literal["requests", "responses"]


@dataclass(frozen=True, slots=True)
class State:
    """The cache of an app, and which of the two handlers are installed."""

    cache: Cache
    roles: set[Role] = field(default_factory=set)
    #: The hook that stores responses, if it is installed.
    hooks: list[Callable[[Response], Response]] = field(default_factory=list)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.cache.config

    def absolute(self, url: str) -> str:
        """Return an absolute URL, for a path too."""
        if urlsplit(url).scheme in ("http", "https"):
            return url
        if has_request_context():
            return urljoin(request.url_root, url)
        server = current_app.config["SERVER_NAME"]
        if server is None:
            raise ValueError(
                f"url is {url!r}: give an absolute URL, or set SERVER_NAME, or call "
                "this in a request"
            )
        scheme = current_app.config["PREFERRED_URL_SCHEME"]
        return urljoin(f"{scheme}://{server}/", url)

    def key(self, url: str) -> str:
        """Return the key of a URL, which may be a path as for :meth:`purge`."""
        return self.cache.url_key(self.absolute(url))

    def purge(self, url: str, *, soft: bool = False) -> bool:
        """Purge one URL with all of its variants."""
        return self.cache.purge_key(self.key(url), soft=soft)

    def purge_tag(self, tag: str, *, soft: bool = False) -> bool:
        """Purge every response with a tag in Cache-Tag or Cache-Groups."""
        if not tag:
            raise ValueError("tag is '': give the tag to purge, or call purge_all()")
        return self.cache.purge_tag(tag, soft=soft)


def get_state() -> State:
    """Return the current app's state."""
    return state_of(NAME, "WebCache", State)


def state_in(app: Flask) -> State:
    """Return the state of an app that is being set up, or was."""
    state: State = app.extensions[NAME]
    return state


def given_role(
    app: Flask, role: Role, config: Config | None, cache: BaseCache | None
) -> bool:
    """Give an app a role, and its state, unless it has one; return whether it is new.

    :raises SetupError: if it has the role.
    """
    new = NAME not in app.extensions
    if new:
        config = config or Config.from_mapping(app.config)
        app.extensions[NAME] = State(Cache(app, config, cache))
    roles = state_in(app).roles
    if role in roles:
        raise SetupError(f"The handler of {role} is already set up on this app.")
    roles.add(role)
    return new
