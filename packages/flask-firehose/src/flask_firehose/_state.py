"""The state of one app."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from flask import request

from ._connector import PushTracker
from ._early import may_send
from ._header import Selection
from ._header import Selections
from ._learn import Learned
from ._link import Link
from ._manifest import Manifest
from ._setup import state_of
from ._static import StaticFiles
from .config import Config


#: The extension's name in ``app.extensions``.
NAME = "firehose"
logger: logging.Logger = logging.getLogger("flask_firehose")


@dataclass(frozen=True, slots=True)
class State:
    """The state of one app, which requests look up."""

    config: Config
    connector: PushTracker | None
    learned: Learned
    static: StaticFiles
    manifest: Manifest | None
    selections: Selections = field(default_factory=Selections)

    def select(self, links: Mapping[str, Link], room: int) -> Selection:
        """Choose the links that fit.

        :param links: by their text.
        :param room: the bytes that there are, which is at most what is configured.
        """
        return self.selections.of(links, room, self.config.max_links)

    def is_fresh(self, link: Link, mount: str) -> bool:
        """Return whether browsers keep what they fetch early until the page asks."""
        return (
            not link.fetches
            or self.config.static_fresh
            or self.static.max_age(link.url, mount) != 0
        )

    def send_early(self, links: Iterable[Link]) -> bool:
        """Send one 103 if the configuration, the server and the client want it."""
        environ: dict[str, Any] = request.environ
        if not (self.config.early_hints and may_send(environ)):
            return False
        mount = environ.get("SCRIPT_NAME", "")
        early = self.select(
            {
                link.value: link
                for link in links
                if link.early and self.is_fresh(link, mount)
            },
            self.config.max_bytes,
        )
        if not early.links:
            return False
        # Taken away, so that no request sends two: proxies fail at many, and
        # browsers use the first.
        send = environ.pop("wsgi.early_hints")
        try:
            send([("Link", early.value)])
        except Exception:
            # A hint is never worth the page.
            logger.exception("%r: sending early hints failed", request.path)
            return False
        return True


def get_state() -> State:
    """Return the current app's state.

    :raises SetupError: there is no current app, or no Firehose on it.
    """
    return state_of(NAME, "Firehose", State)
