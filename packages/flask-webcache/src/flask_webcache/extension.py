"""The extension: both handlers in one, and the fast path below Flask."""

from __future__ import annotations

import secrets
from dataclasses import replace

from cachelib.base import BaseCache
from flask import Flask

from .config import Config
from .fast import FastPath
from .handlers import NAME
from .handlers import RequestHandler
from .handlers import ResponseHandler
from .handlers import state_of_app


class WebCache:
    """An HTTP cache inside the app.

    :param app: the app, or None to call :meth:`init_app` later.
    :param cache: a cachelib cache; what ``WEBCACHE_URL`` says where it is None.
    :param config: the configuration; the app's own ``WEBCACHE_*`` where it is None.
    :param fast: answer fresh hits below Flask, where no hook of the app runs.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        cache: BaseCache | None = None,
        config: Config | None = None,
        fast: bool = False,
    ) -> None:
        self.cache = cache
        self.config = config
        self.fast = fast
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the app up.

        :raises SetupError: if it is set up already.
        :raises ConfigError: for a value that cannot work.
        """
        config = adapted(app, self.config)
        RequestHandler(self.cache, app, config)
        ResponseHandler(self.cache, app, config)
        if self.fast:
            FastPath.install(app, app.extensions[NAME].resources)

    def purge(self, url: str) -> None:
        """Purge one URL with all of its variants.

        :param url: an absolute one, or a path of the host that the request in hand is
            for; outside of a request, of ``SERVER_NAME``.
        """
        state_of_app().purge(url)

    def purge_tag(self, tag: str) -> None:
        """Purge every response with a tag in Cache-Tag or Cache-Groups."""
        state_of_app().purge_tag(tag)

    def purge_all(self) -> None:
        """Purge everything."""
        state_of_app().purge_all()

    def stats(self) -> dict[str, int]:
        """Return how often the store answered, fresh or stale, and how often not."""
        return state_of_app().stats()


def easy_setup(
    app: Flask, cache: BaseCache | None = None, config: Config | None = None
) -> WebCache:
    """Install both handlers at once."""
    return WebCache(app, cache=cache, config=config)


def adapted(app: Flask, config: Config | None) -> Config:
    """Return a configuration with static files exempt, and a new salt in debug."""
    config = config or Config.from_mapping(app.config)
    if app.has_static_folder and app.static_url_path:
        static = f"{app.static_url_path.rstrip('/')}/"
        exempt = (*config.resource_exemptions, static)
        config = replace(config, resource_exemptions=exempt)
    if app.debug and not config.master_salt:
        # A change of code empties the cache.
        config = replace(config, master_salt=secrets.token_hex(8))
    return config
