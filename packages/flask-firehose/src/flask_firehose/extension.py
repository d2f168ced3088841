"""The extension: what ties links to Flask's requests and responses."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar
from typing import cast

from flask import Flask
from flask import Request
from flask import Response
from flask import after_this_request
from flask import current_app
from flask import g
from flask import request
from flask import session
from flask import url_for

from flask_firehose import tracker
from flask_firehose.cli import commands
from flask_firehose.config import Config
from flask_firehose.early import ATTRIBUTE
from flask_firehose.early import Learned
from flask_firehose.early import declared
from flask_firehose.early import is_personal
from flask_firehose.early import is_shared
from flask_firehose.early import may_send
from flask_firehose.exceptions import LinkError
from flask_firehose.exceptions import SetupError
from flask_firehose.header import choose
from flask_firehose.header import hinted
from flask_firehose.header import serialize
from flask_firehose.link import Link


P = ParamSpec("P")
R = TypeVar("R")

NAME = "firehose"
#: Where ``g`` keeps the pages that are being made.
KEY = "_flask_firehose"

logger = logging.getLogger("flask_firehose")
_make = functools.lru_cache(maxsize=1024)(Link.make)


class PushTracker(Protocol):
    """What knows which URLs a client was sent."""

    def get_pushed(self) -> Collection[str] | None:
        """Return the URLs that the client was sent."""

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, those of before too."""


class Connector:
    """Track pushed links in the session variable ``h2-pushed``.

    :param lifetime: the seconds for which a link is not pushed again.
    """

    variable = "h2-pushed"

    def __init__(self, *, lifetime: int = 86_400) -> None:
        self.lifetime = lifetime
        self._told = False

    def get_pushed(self) -> set[str]:
        """Return the URLs that the client was sent and that have not expired."""
        return set(self._sent(int(time.time())))

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, the latest that fit.

        :param inset: all of them, those of earlier requests too.
        """
        now = int(time.time())
        sent = {url: at for url, at in self._sent(now).items() if url in inset}
        sent |= dict.fromkeys(sorted(inset - sent.keys()), now)
        record = tracker.pack(sent)
        if record == session.get(self.variable):
            return
        try:
            session[self.variable] = record
        except RuntimeError:
            # Without a secret key Flask's session can be read but not written.
            if not self._told:
                self._told = True
                logger.warning(
                    "pushed links are not tracked because the app has no secret key: "
                    "set SECRET_KEY, or turn tracking off with connector=None"
                )

    def _sent(self, now: int) -> dict[str, int]:
        return tracker.unpack(session.get(self.variable), now - self.lifetime)


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
        state = _State(
            config, _connector(self.connector), Learned(config.learn_prefixes)
        )
        app.extensions[NAME] = state
        if config.early_hints:
            app.before_request(state.hint)
        app.teardown_request(_warn_of_late)
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
class _State:
    """What one app's requests look up."""

    config: Config
    connector: PushTracker | None
    learned: Learned

    def choose(self, links: Iterable[Link], taken: int = 0) -> list[Link]:
        """Return the links that fit, the most important first.

        :param taken: the bytes of the budget that other links have taken.
        """
        chosen, left_out = choose(
            links,
            max_bytes=self.config.max_bytes - taken,
            max_links=self.config.max_links,
        )
        if left_out:
            logger.debug("%s: no room for %s", request.path, serialize(left_out))
        return chosen

    def hint(self) -> None:
        """Send ahead what the view declares and what its last page pushed."""
        endpoint = request.endpoint
        if endpoint is None or not may_send(request.environ):
            return
        page = _page()
        page.lesson = (endpoint, request.environ.get("HTTP_HOST"))
        view = current_app.view_functions[endpoint]
        links = (*declared(view), *self.learned.get(page.lesson))
        self.send_early({link.key: link for link in links}.values())

    def send_early(self, links: Iterable[Link]) -> bool:
        """Send one 103 if the configuration, the server and the client want it."""
        if not (self.config.early_hints and may_send(request.environ)):
            return False
        early = self.choose(link for link in links if link.early)
        if not early:
            return False
        # Taken away, so that no request sends two: proxies fail at many, and
        # browsers use the first.
        send = request.environ.pop("wsgi.early_hints")
        try:
            send([("Link", serialize(early))])
        except Exception:
            # A hint is never worth the page.
            logger.exception("%s: the server sent no early hints", request.path)
            return False
        return True

    def learn(self, page: _Page, response: Response) -> None:
        """Learn from a page, unless a cache kept it and its view did not run."""
        if page.lesson is None or not self.config.learn or "Age" in response.headers:
            return
        self.learned.learn(
            page.lesson,
            page.links.values(),
            _static_prefixes(),
            personal=is_personal(request.environ, _cache_control(response)),
        )

    def attach(self, links: Iterable[Link], response: Response) -> None:
        """Add to a response the links that it and its client do not have."""
        present = response.headers.getlist("Link")
        # What caches may keep for everyone is the same for everyone.
        shared = is_shared(_cache_control(response))
        connector = None if shared else self.connector
        pushed = _pushed(connector)
        known = pushed | hinted(present)
        chosen = self.choose(
            [link for link in links if link.url not in known],
            taken=sum(map(len, present)),
        )
        if not chosen:
            return
        response.headers.add("Link", serialize(chosen))
        sent = {link.url for link in chosen if link.fetches}
        if connector is not None and sent and request.method == "GET":
            _remember(connector, pushed | sent)


def _pushed(connector: PushTracker | None) -> set[str]:
    if connector is None:
        return set()
    try:
        return set(connector.get_pushed() or ())
    except Exception:
        logger.exception("the connector does not tell what was pushed")
        return set()


def _remember(connector: PushTracker, urls: set[str]) -> None:
    try:
        connector.set_pushed(urls)
    except Exception:
        logger.exception("the connector does not remember what was pushed")


def _cache_control(response: Response) -> str:
    return response.headers.get("Cache-Control", "")


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


@dataclass(slots=True, eq=False)
class _Page:
    """What one request pushes.

    :param lesson: under which name the links are learned, if they are.
    """

    state: _State
    links: dict[str, Link] = field(default_factory=dict)
    lesson: tuple[str, str | None] | None = None

    def finish(self, response: Response) -> Response:
        """Let a response take the links along if it is a page that arrived."""
        _pages().pop(_request(), None)
        if (
            200 <= response.status_code < 300
            and request.method in {"GET", "HEAD"}
            and response.mimetype in self.state.config.mimetypes
        ):
            self.state.learn(self, response)
            if self.links:
                self.state.attach(self.links.values(), response)
        return response


def _request() -> Request:
    # The proxy, being one object for all requests, is no key.
    current: Request = request._get_current_object()  # type: ignore[attr-defined]
    return current


def _pages() -> dict[Request, _Page]:
    """Return the pages being made: requests may nest, or follow, under one ``g``."""
    pages: dict[Request, _Page] = g.setdefault(KEY, {})
    return pages


def _page() -> _Page:
    """Return what the current request pushes.

    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        pages, current = _pages(), _request()
    except RuntimeError:
        raise SetupError(
            "links are pushed by requests: call this in a view or in a template "
            "that a view renders, of an app set up with Firehose().init_app(app)"
        ) from None
    page = pages.get(current)
    if page is None:
        state = current_app.extensions.get(NAME)
        if state is None:
            raise SetupError(
                f"the app {current_app.name!r} has no Firehose: set it up with "
                "Firehose().init_app(app)"
            )
        page = pages[current] = _Page(state)
        # These functions run before an app's after_request functions, so that a
        # cache among those keeps the links whatever the order of set-up.
        after_this_request(page.finish)
    return page


def _warn_of_late(exception: BaseException | None) -> None:
    """Tell of links that were pushed when the head of the page was gone."""
    page = g.get(KEY) and _pages().pop(_request(), None)
    if page and page.links and exception is None:
        logger.warning(
            "%s: pushed too late, the response had begun: %s",
            request.path,
            serialize(page.links.values()),
        )


def push(url: str, *args: str, **kwargs: Any) -> str:
    """Push a URL with the page being made, and return it as it came.

    A URL or attribute that no header should carry is logged and left out: no
    input is worth the page.

    :param args: attributes without a value, such as ``"nopush"``.
    :param kwargs: ``rel``, ``as`` or ``as_``, and the others of :meth:`Link.make`.
    :raises SetupError: there is no request, or no extension in its app.
    """
    page = _page()
    try:
        link = _make(url, *args, **kwargs)
    except (LinkError, TypeError) as error:
        logger.warning("%s: a link is left out: %s", request.path, error)
    else:
        page.links.setdefault(link.key, link)
    return url


def push_static(filename: str, *args: str, **kwargs: Any) -> str:
    """Push a file of the app's static folder, and return its URL."""
    return push(url_for("static", filename=filename), *args, **kwargs)


def preload(url: str, *args: str, **kwargs: Any) -> str:
    """Have the browser fetch what this page needs."""
    return push(url, *args, rel="preload", **kwargs)


def modulepreload(url: str, *args: str, **kwargs: Any) -> str:
    """Have the browser fetch and compile a JavaScript module."""
    return push(url, *args, rel="modulepreload", **kwargs)


def preconnect(url: str, *args: str, **kwargs: Any) -> str:
    """Have the browser connect to another origin."""
    return push(url, *args, rel="preconnect", **kwargs)


def dns_prefetch(url: str, *args: str, **kwargs: Any) -> str:
    """Have the browser look up the address of another origin."""
    return push(url, *args, rel="dns-prefetch", **kwargs)


def prefetch(url: str, *args: str, **kwargs: Any) -> str:
    """Have the browser fetch what the next page will need, when it is idle."""
    return push(url, *args, rel="prefetch", **kwargs)


PUSHES = (push, push_static, preload, modulepreload, preconnect, dns_prefetch, prefetch)


def hints(*links: str | Link) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare what a view's page needs: sent in a 103 before the view runs.

    :param links: URLs as the browser sees them, or :meth:`Link.make` with more.
    :raises LinkError: a link cannot be sent safely.
    """
    made = tuple(link if isinstance(link, Link) else Link.make(link) for link in links)

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def hinting(*args: P.args, **kwargs: P.kwargs) -> R:
            page = _page()
            for link in made:
                page.links.setdefault(link.key, link)
            return current_app.ensure_sync(view)(*args, **kwargs)  # type: ignore[no-any-return]

        setattr(hinting, ATTRIBUTE, (*made, *declared(view)))
        return hinting

    return decorate


def send_early_hints(*urls: str) -> bool:
    """Send now, in a 103, what the page being made has pushed so far.

    :param urls: what to push before.
    :return: whether a 103 went out: one does for a request at most, when
        ``FIREHOSE_EARLY_HINTS`` is set and the server and the client can.
    """
    for url in urls:
        push(url)
    page = _page()
    return page.state.send_early(page.links.values())
