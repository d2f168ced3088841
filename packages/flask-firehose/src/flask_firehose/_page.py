"""The page that a request makes, and what pushes links with it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING
from typing import Any
from typing import ParamSpec
from typing import TypeVar

from flask import Response
from flask import after_this_request
from flask import current_app
from flask import globals as flask_globals
from flask import request
from flask import url_for

from ._early import ATTRIBUTE
from ._early import declared
from ._link import Link
from .exceptions import SetupError


if TYPE_CHECKING:
    from ._extension import State

P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[str | Link, tuple[str, ...], str | bool | None, dict[str, Any]]

#: The extension's name in ``app.extensions``.
NAME = "firehose"
#: Where a request keeps its page. Flask's ``g`` is one for all requests that are
#: made under one app context, and an environment may be copied for a further one.
KEY = "_flask_firehose"

logger = logging.getLogger("flask_firehose")
# What stands behind the proxies, as going through one takes longer than the rest of
# a push. Flask's next release has one context for the app and the request.
_context: ContextVar[Any] = getattr(flask_globals, "_cv_request", flask_globals._cv_app)


class Page(list[Call]):
    """The calls of :func:`push` for the page that a request makes.

    They are made into links when it is done: mostly there is nothing new to make.
    """

    state: State
    #: Under which name the links are learned, if they are.
    lesson: tuple[str, str | None] | None = None


def current_page() -> Page:
    """Return the page that the current request makes.

    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        context = _context.get()
        current = context.request
    except (LookupError, RuntimeError):
        raise SetupError(
            "links are pushed by requests: call this in a view or in a template "
            "that a view renders, of an app set up with Firehose().init_app(app)"
        ) from None
    page: Page | None = getattr(current, KEY, None)
    if page is None:
        app = context.app
        if NAME not in app.extensions:
            raise SetupError(
                f"the app {app.name!r} has no Firehose: set it up with "
                "Firehose().init_app(app)"
            )
        page = Page()
        page.state = app.extensions[NAME]
        setattr(current, KEY, page)
        # These functions run before an app's after_request functions, so that a
        # cache among those keeps the links whatever the order of set-up.
        after_this_request(_finish)
    return page


def _finish(response: Response) -> Response:
    """Let a response take the links along if it is a page that arrived."""
    current = _context.get().request
    page: Page = vars(current).pop(KEY)
    if current.method in {"GET", "HEAD"} and 200 <= response.status_code < 300:
        page.state.finish(page, current, response)
    return response


def warn_of_late(exception: BaseException | None) -> None:
    """Tell of links that were pushed when the head of the page was gone."""
    page: Page | None = getattr(_context.get().request, KEY, None)
    if page and exception is None:
        logger.warning(
            "%r: pushed too late, the response had begun: %.999r",
            request.path,
            [url for url, *_ in page],
        )


def push(url: str, *args: str, as_: str | bool | None = None, **kwargs: Any) -> str:
    """Push a URL with the page being made, and return it as it came.

    A URL or attribute that no header should carry is logged and left out: no
    input is worth the page.

    :param args: attributes without a value, such as ``"nopush"``.
    :param as_: what the URL is, where its extension does not tell; ``as`` in Jinja.
    :param kwargs: ``rel`` and the other attributes of :meth:`Link.make`.
    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        page = getattr(_context.get().request, KEY, None)
    except (LookupError, RuntimeError):
        page = None
    if page is None:
        page = current_page()
    page.append((url, args, as_, kwargs))
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
    calls: list[Call] = [(link, (), None, {}) for link in made]

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def hinting(*args: P.args, **kwargs: P.kwargs) -> R:
            current_page().extend(calls)
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
    page = current_page()
    return page.state.send_early(page.state.pushed(page, request.endpoint).links)
