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
from flask import request
from flask import session
from flask import url_for
from flask.sessions import SessionMixin

from flask_firehose import tracker
from flask_firehose.cli import commands
from flask_firehose.config import Config
from flask_firehose.early import ATTRIBUTE
from flask_firehose.early import Learned
from flask_firehose.early import declared
from flask_firehose.early import is_personal
from flask_firehose.early import is_shared
from flask_firehose.early import may_send
from flask_firehose.exceptions import SetupError
from flask_firehose.header import Selection
from flask_firehose.header import hinted
from flask_firehose.header import serialize
from flask_firehose.link import Link


P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[str | Link, tuple[str, ...], str | None, str | bool | None, dict[str, Any]]

NAME = "firehose"
#: Where a request keeps its page. Flask's ``g`` is one for all requests that are
#: made under one app context, and an environment may be copied for a further one.
KEY = "_flask_firehose"

logger = logging.getLogger("flask_firehose")
# What stands behind a proxy, without the cost of going through it.
_make = functools.lru_cache(maxsize=1024)(Link.make)
_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]
_app: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined]
_session: Callable[[], SessionMixin] = session._get_current_object  # type: ignore[attr-defined]


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
        return set().union(*self._sent(int(time.time())).values())

    def set_pushed(self, inset: set[str]) -> None:
        """Remember the URLs that the client was sent, the latest that fit.

        :param inset: all of them, those of earlier requests too.
        """
        now = int(time.time())
        record = tracker.pack(tracker.replaced(self._sent(now), inset, now))
        if record == _session().get(self.variable, ""):
            return
        try:
            _session()[self.variable] = record
        except RuntimeError:
            # Without a secret key Flask's session can be read but not written.
            if not self._told:
                self._told = True
                logger.warning(
                    "pushed links are not tracked because the app has no secret key: "
                    "set SECRET_KEY, or turn tracking off with connector=None"
                )

    def _sent(self, now: int) -> tracker.Sent:
        return tracker.unpack(_session().get(self.variable), now - self.lifetime)


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
class _Pushed:
    """What the calls of :func:`push` for one page come to."""

    calls: list[Call]
    links: Collection[Link]
    selection: Selection


@dataclass(frozen=True, slots=True)
class _State:
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

    def pushed(self, page: _Page) -> _Pushed:
        """Return what a page pushes: mostly the same as for its last visitor."""
        endpoint = _request().endpoint
        last = self.last.get(endpoint)
        if last is None or not _equal(last.calls, page):
            links = _links(page)
            last = self.last[endpoint] = _Pushed(page[:], links, self.select(links))
        return last

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
            logger.exception("%s: the server sent no early hints", request.path)
            return False
        return True

    def learn(self, page: _Page, response: Response) -> None:
        """Learn from a page, unless a cache kept it and its view did not run."""
        if self.config.learn and "Age" not in response.headers:
            self.learned.learn(
                page.lesson,
                self.pushed(page).links,
                _static_prefixes(),
                personal=is_personal(
                    request.environ, response.headers.getlist("Cache-Control")
                ),
            )

    def attach(self, page: _Page, response: Response) -> None:
        """Add to a response the links that it and its client do not have."""
        headers = response.headers
        names = {name.lower() for name, _ in headers}
        present = headers.getlist("Link") if "link" in names else []
        connector = self.connector
        # What caches may keep for everyone is the same for everyone.
        if "cache-control" in names and is_shared(headers.getlist("Cache-Control")):
            connector = None
        known = _known(connector) if connector else set()
        selection = self.pushed(page).selection
        if known or present:
            has = known | hinted(present)
            selection = self.select(
                [link for link in self.pushed(page).links if link.url not in has],
                taken=sum(map(len, present)),
            )
        if selection.left_out:
            left_out = serialize(selection.left_out)
            logger.debug("%s: no room for %s", request.path, left_out)
        if selection.links:
            headers.add("Link", selection.value)
        if connector and selection.urls and _request().method == "GET":
            _remember(connector, known | selection.urls)


def _equal(calls: list[Call], others: list[Call]) -> bool:
    try:
        return calls == others
    except Exception:  # noqa: BLE001 - some objects do not like to be compared
        return False


def _links(calls: Iterable[Call]) -> Collection[Link]:
    """Return the links, each once; log what is none."""
    links: dict[str, Link] = {}
    for url, flags, rel, as_, attributes in calls:
        try:
            link = (
                url
                if isinstance(url, Link)
                else _make(url, *flags, rel=rel, as_=as_, **attributes)
            )
        except Exception as error:  # noqa: BLE001 - no input is worth the page
            logger.warning("%s: pushing %.99r failed: %s", request.path, url, error)
        else:
            links.setdefault(link.key, link)
    return links.values()


def _known(connector: PushTracker) -> set[str]:
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


class _Page(list[Call]):
    """The calls of :func:`push` for the page that a request makes.

    They are made into links when it is done: mostly there is nothing new to make.
    """

    state: _State
    #: Under which name the links are learned, if they are.
    lesson: tuple[str, str | None] | None = None


def _page() -> _Page:
    """Return the page that the current request makes.

    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        current = _request()
    except RuntimeError:
        raise SetupError(
            "links are pushed by requests: call this in a view or in a template "
            "that a view renders, of an app set up with Firehose().init_app(app)"
        ) from None
    page: _Page | None = getattr(current, KEY, None)
    if page is None:
        app = _app()
        if NAME not in app.extensions:
            raise SetupError(
                f"the app {app.name!r} has no Firehose: set it up with "
                "Firehose().init_app(app)"
            )
        page = _Page()
        page.state = app.extensions[NAME]
        setattr(current, KEY, page)
        # These functions run before an app's after_request functions, so that a
        # cache among those keeps the links whatever the order of set-up.
        after_this_request(_finish)
    return page


def _finish(response: Response) -> Response:
    """Let a response take the links along if it is a page that arrived."""
    current = _request()
    page: _Page = getattr(current, KEY)
    delattr(current, KEY)
    if (
        200 <= response.status_code < 300
        and current.method in {"GET", "HEAD"}
        and response.mimetype in page.state.config.mimetypes
    ):
        if page.lesson is not None:
            page.state.learn(page, response)
        if page:
            page.state.attach(page, response)
    return response


def _warn_of_late(exception: BaseException | None) -> None:
    """Tell of links that were pushed when the head of the page was gone."""
    page: _Page | None = getattr(_request(), KEY, None)
    if page and exception is None:
        logger.warning(
            "%s: pushed too late, the response had begun: %s",
            request.path,
            ", ".join(str(url) for url, *_ in page),
        )


def push(
    url: str,
    *args: str,
    rel: str | None = None,
    as_: str | bool | None = None,
    **kwargs: Any,
) -> str:
    """Push a URL with the page being made, and return it as it came.

    A URL or attribute that no header should carry is logged and left out: no
    input is worth the page.

    :param args: attributes without a value, such as ``"nopush"``.
    :param rel: ``preload`` unless given.
    :param as_: what the URL is, where its extension does not tell; ``as`` in Jinja.
    :param kwargs: the other attributes of :meth:`Link.make`.
    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        page = getattr(_request(), KEY, None)
    except RuntimeError:
        page = None
    if page is None:
        page = _page()
    page.append((url, args, rel, as_, kwargs))
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
    made = [link if isinstance(link, Link) else Link.make(link) for link in links]
    calls: list[Call] = [(link, (), None, None, {}) for link in made]

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def hinting(*args: P.args, **kwargs: P.kwargs) -> R:
            _page().extend(calls)
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
    return page.state.send_early(page.state.pushed(page).links)
