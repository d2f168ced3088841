"""The extension: what ties links to Flask's requests and responses."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import cast

from flask import Flask
from flask import Request
from flask import Response
from flask import current_app
from flask import request

from ._cli import commands
from ._connector import Connector
from ._connector import PushTracker
from ._connector import known
from ._connector import remember
from ._early import Learned
from ._early import declared
from ._early import is_personal
from ._early import is_shared
from ._early import may_send
from ._header import Selection
from ._header import hinted
from ._header import serialize
from ._link import Link
from ._page import NAME
from ._page import PUSHES
from ._page import Call
from ._page import Page
from ._page import current_page
from ._page import warn_of_late
from .config import Config
from .exceptions import SetupError


logger = logging.getLogger("flask_firehose")
_make = functools.lru_cache(maxsize=1024)(Link.make)


class Firehose:
    """Tell the browser early what the pages of an app will need.

    :param app: the app to set up now.
    :param connector: what tracks pushed links, as a class or an instance; None
        turns tracking off.
    """

    def __init__(
        self,
        app: Flask | None = None,
        connector: PushTracker | Callable[[], PushTracker] | None = Connector,
    ) -> None:
        self.connector = connector
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app.

        :raises SetupError: the app is set up already.
        :raises ConfigError: a ``FIREHOSE_`` value cannot be used.
        :raises TypeError: the connector has no ``get_pushed`` or ``set_pushed``.
        """
        if NAME in app.extensions:
            raise SetupError(f"the app {app.name!r} has a Firehose already")
        config = Config.from_mapping(app.config)
        state = State(
            config, _connector(self.connector), Learned(config.learn_prefixes)
        )
        app.extensions[NAME] = state
        if config.early_hints:
            app.before_request(state.hint)
        app.teardown_request(warn_of_late)
        for function in PUSHES:
            app.add_template_global(function)
        app.cli.add_command(commands)


def _connector(
    connector: PushTracker | Callable[[], PushTracker] | None,
) -> PushTracker | None:
    """Return an instance, made from the class where that is given."""
    made = connector() if isinstance(connector, type) else connector
    for name in ("get_pushed", "set_pushed"):
        if made is not None and not callable(getattr(made, name, None)):
            raise TypeError(f"connector is {connector!r}: give it a method {name}()")
    return cast("PushTracker | None", made)


@dataclass(frozen=True, slots=True)
class _Pushed:
    """What the calls of :func:`push` for one page come to."""

    calls: list[Call]
    links: Collection[Link]
    urls: frozenset[str]
    selection: Selection


@dataclass(frozen=True, slots=True)
class State:
    """What one app's requests look up.

    :param last: what each endpoint's last page pushed.
    """

    config: Config
    connector: PushTracker | None
    learned: Learned
    last: dict[str | None, _Pushed] = field(default_factory=dict)

    def select(self, links: Iterable[Link], taken: int = 0) -> Selection:
        """Choose the links that fit.

        :param taken: the bytes of the budget that other links have taken.
        """
        return Selection.of(
            links,
            max_bytes=self.config.max_bytes - taken,
            max_links=self.config.max_links,
        )

    def pushed(self, page: Page, endpoint: str | None) -> _Pushed:
        """Return what a page pushes: mostly the same as for its last visitor."""
        last = self.last.get(endpoint)
        if last is None or not _equal(last.calls, page):
            links = _links(page)
            urls = frozenset(link.url for link in links)
            last = _Pushed(page[:], links, urls, self.select(links))
            self.last[endpoint] = last
        return last

    def hint(self) -> None:
        """Send ahead what the view declares and what its last page pushed."""
        endpoint = request.endpoint
        if endpoint is None or not may_send(request.environ):
            return
        page = current_page()
        page.lesson = (endpoint, request.environ.get("HTTP_HOST"))
        view = current_app.view_functions.get(endpoint)
        links = (*declared(view), *self.learned.get(page.lesson))
        self.send_early({link.key: link for link in links}.values())

    def send_early(self, links: Iterable[Link]) -> bool:
        """Send one 103 if the configuration, the server and the client want it."""
        environ = request.environ
        if not (self.config.early_hints and may_send(environ)):
            return False
        early = self.select(link for link in links if link.early)
        if not early.links:
            return False
        # Taken away, so that no request sends two: proxies fail at many, and
        # browsers use the first.
        send = environ.pop("wsgi.early_hints")
        try:
            send([("Link", early.value)])
        except Exception:
            # A hint is never worth the page.
            logger.exception("%r: the server sent no early hints", request.path)
            return False
        return True

    def finish(self, page: Page, request: Request, response: Response) -> None:
        """Learn from a page that arrived, and let it take its links along."""
        # Each look-up in headers goes through all of them: once is mostly enough.
        headers = {name.lower(): value for name, value in response.headers}
        mimetype = headers.get("content-type", "").partition(";")[0].strip()
        if mimetype not in self.config.mimetypes:
            return
        cache_control = (
            response.headers.getlist("Cache-Control")
            if "cache-control" in headers
            else []
        )
        pushed = self.pushed(page, request.endpoint)
        # A page that a cache kept teaches nothing: its view did not run.
        if page.lesson is not None and self.config.learn and "age" not in headers:
            self.learned.learn(
                page.lesson,
                pushed.links,
                _static_prefixes(),
                personal=is_personal(request.environ, cache_control),
            )
        if not page:
            return
        connector = self.connector
        # What caches may keep for everyone is the same for everyone.
        if cache_control and is_shared(cache_control):
            connector = None
        sent = set() if connector is None else known(connector)
        present = response.headers.getlist("Link") if "link" in headers else []
        has = sent | hinted(present) if present else sent
        if pushed.urls <= has:
            return
        selection = pushed.selection
        if has or present:
            links = [link for link in pushed.links if link.url not in has]
            selection = self.select(links, taken=sum(map(len, present)))
        if selection.left_out:
            left_out = serialize(selection.left_out)
            logger.debug("%r: no room for %s", request.path, left_out)
        if selection.links:
            response.headers.add("Link", selection.value)
        if connector is not None and selection.urls and request.method == "GET":
            remember(connector, sent | selection.urls)


def _equal(calls: list[Call], others: list[Call]) -> bool:
    try:
        return calls == others
    except Exception:  # noqa: BLE001 - some objects do not like to be compared
        return False


def _links(calls: Iterable[Call]) -> Collection[Link]:
    """Return the links, each once; log what is none."""
    links: dict[str, Link] = {}
    for url, flags, as_, attributes in calls:
        try:
            link = (
                url
                if isinstance(url, Link)
                else _make(url, *flags, as_=as_, **attributes)
            )
        except Exception as error:  # noqa: BLE001 - no input is worth the page
            logger.warning("%r: pushing %.99r failed: %s", request.path, url, error)
        else:
            links.setdefault(link.key, link)
    return links.values()


def _static_prefixes() -> tuple[str, ...]:
    """Return where the URLs of the app's static files start, as this client sees it."""
    app = current_app
    root = request.environ.get("SCRIPT_NAME", "")
    return tuple(
        root + prefix
        for endpoint in ("static", *(f"{name}.static" for name in app.blueprints))
        if endpoint in app.view_functions
        for rule in app.url_map.iter_rules(endpoint)
        # Files at the root of the site cannot be told from its pages.
        if (prefix := rule.rule.partition("<")[0]) != "/"
    )
