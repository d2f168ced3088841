"""The extension: what ties links to Flask's requests and responses."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from functools import partial
from typing import cast

from flask import Flask

from ._assets import bundle
from ._assets import vite
from ._cli import cli
from ._connector import PushTracker
from ._edge import Edge
from ._hints import before_request
from ._hints import check_views
from ._learn import Learned
from ._manifest import Manifest
from ._push import PUSHES
from ._setup import refuse_twice
from ._speculation import set_up
from ._state import NAME
from ._state import State
from ._state import logger
from ._static import StaticFiles
from .config import Config


class Firehose:
    """Push links with the pages of an app.

    :param app: the app to set up now.
    :param connector: tracks pushed links, as a class or an instance; None tracks
        nothing.
    :param ignore_keys: keys under ``FIREHOSE_`` that belong to somebody else.
    """

    def __init__(
        self,
        app: Flask | None = None,
        connector: PushTracker | Callable[[], PushTracker] | None = None,
        *,
        ignore_keys: Collection[str] = (),
    ) -> None:
        self.connector = connector
        self.ignore_keys = ignore_keys
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app.

        :raises SetupError: the app is set up already.
        :raises ConfigError: a ``FIREHOSE_`` value cannot be used.
        :raises TypeError: the connector has no ``get_pushed`` or ``set_pushed``.
        """
        refuse_twice(app, NAME, type(self).__name__)
        config = Config.from_mapping(app.config, ignore_keys=self.ignore_keys)
        state = State(
            config,
            _connector(self.connector),
            Learned(),
            StaticFiles(app),
            Manifest.of(config, app.root_path, app.static_folder),
        )
        app.extensions[NAME] = state
        if config.early_hints:
            app.before_request(before_request)
            if not config.static_fresh and (warning := state.static.warning()):
                logger.warning(warning)
        if config.speculation:
            set_up(app, config)
        edge = Edge(app.wsgi_app, state, partial(check_views, app))
        app.wsgi_app = edge  # type: ignore[method-assign]
        for function in (*PUSHES, vite):
            app.add_template_global(function)
        app.add_template_global(bundle, "bundle")
        app.cli.add_command(cli)


def _connector(
    connector: PushTracker | Callable[[], PushTracker] | None,
) -> PushTracker | None:
    """Return an instance, made from the class where that is given."""
    made = connector() if isinstance(connector, type) else connector
    for name in ("get_pushed", "set_pushed"):
        if made is not None and not callable(getattr(made, name, None)):
            raise TypeError(f"connector is {connector!r}: give it a method {name}()")
    return cast("PushTracker | None", made)
