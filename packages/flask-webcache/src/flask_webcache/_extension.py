"""The extension: both handlers in one, and the cache around the app."""

from __future__ import annotations

import secrets
from dataclasses import replace

from cachelib.base import BaseCache
from flask import Flask

from ._fast import FastPath
from ._setup import refuse_twice
from ._state import DEBUG_SALT
from ._state import NAME
from ._state import get_state
from ._state import state_in
from .config import Config
from .handlers import RequestHandler
from .handlers import ResponseHandler


class WebCache:
    """An HTTP cache inside the app.

    :param app: the app, or None to call :meth:`init_app` later.
    :param cache: a cachelib cache; the one that ``WEBCACHE_URL`` names if it is None.
    :param config: the configuration; the app's own ``WEBCACHE_*`` if it is None.
    :param fast: answer from the store around Flask, where no hook of the app runs.
    :param ignore_keys: keys under ``WEBCACHE_`` that belong to somebody else.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        cache: BaseCache | None = None,
        config: Config | None = None,
        fast: bool = False,
        ignore_keys: tuple[str, ...] = (),
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise TypeError(
                f"config is {config!r}: pass a flask_webcache.Config, or set "
                "WEBCACHE_ keys in app.config"
            )
        if cache is not None and not isinstance(cache, BaseCache):
            raise TypeError(
                f"cache is of type {type(cache).__name__!r}: pass a cachelib cache, or "
                "set WEBCACHE_URL to a URL"
            )
        self.cache = cache
        self.config = config
        self.fast = fast
        self.ignore_keys = ignore_keys
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the app up.

        :raises SetupError: if it is set up already.
        :raises ConfigError: for a value that cannot work.
        """
        refuse_twice(app, NAME, "WebCache")
        config = self.config or Config.from_mapping(
            app.config, ignore_keys=self.ignore_keys
        )
        config = adapted(app, config)
        RequestHandler(self.cache, app, config)
        ResponseHandler(self.cache, app, config)
        if self.fast:
            FastPath.install(app, state_in(app).cache)

    def purge(self, url: str, *, soft: bool = False) -> bool:
        """Purge one URL with all of its variants.

        :param url: an absolute one, or a path of the host that the request in hand is
            for; outside of a request, of ``SERVER_NAME``.
        :param soft: only mark the responses stale: those with
            ``stale-while-revalidate`` answer once more, and are renewed.
        :return: whether it is done. If not, this process tries again until it is, and
            uses nothing that is to be purged.
        """
        return get_state().purge(url, soft=soft)

    def purge_tag(self, tag: str, *, soft: bool = False) -> bool:
        """Purge every response with a tag in Cache-Tag or Cache-Groups.

        :param soft: as for :meth:`purge`.
        :return: as for :meth:`purge`.
        """
        return get_state().purge_tag(tag, soft=soft)

    def purge_all(self) -> bool:
        """Purge everything.

        :return: as for :meth:`purge`.
        """
        return get_state().cache.purge_all()

    def stats(self) -> dict[str, int]:
        """Return the counters, of every process where the backend is shared."""
        return get_state().cache.stats()


def easy_setup(
    app: Flask, cache: BaseCache | None = None, config: Config | None = None
) -> WebCache:
    """Install both handlers at once."""
    return WebCache(app, cache=cache, config=config)


def adapted(app: Flask, config: Config) -> Config:
    """Return a configuration with static files exempt, and a new salt in debug."""
    if app.has_static_folder and app.static_url_path:
        static = f"{app.static_url_path.rstrip('/')}/"
        exempt = (*config.resource_exemptions, static)
        config = replace(config, resource_exemptions=exempt)
    if app.debug and not config.master_salt:
        # A change of code empties the cache.
        config = replace(config, master_salt=f"{DEBUG_SALT}{secrets.token_hex(8)}")
    return config
