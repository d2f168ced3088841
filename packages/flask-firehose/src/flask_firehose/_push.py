"""Push links with the page that the current request makes."""

from __future__ import annotations

from typing import Unpack

from flask import after_this_request
from flask import request
from flask import url_for
from werkzeug.routing import BuildError

from ._finish import finish
from ._link import AnyLink
from ._link import Attributes
from ._link import Flag
from ._link import Link
from ._page import HEAD
from ._page import KEY
from ._page import Head
from ._page import Page
from ._page import current_request
from ._state import get_state
from ._state import logger
from .exceptions import LinkError
from .exceptions import SetupError


#: Enough for the URLs of an app, and for the ways in which it pushes each; made-up
#: ones must not fill the memory.
MAX_MADE, MAX_WAYS = 1024, 7
_made: dict[tuple[object, ...], list[tuple[AnyLink, Link]]] = {}


def current_page() -> Page:
    """Return the page that the current request makes.

    :raises SetupError: there is no request, or no extension in its app.
    """
    try:
        current = current_request()
    except RuntimeError:
        get_state()  # says what else is missing
        raise SetupError(
            "Firehose needs a request; push in a view, or in a template that a view "
            "renders."
        ) from None
    page: Page | None = getattr(current, KEY, None)
    if page is None:
        head: Head | None = current.environ.get(HEAD)
        if head is None:
            page = Page(get_state())
        else:
            page = head.page = Page(head.state, done=head.begun)
        setattr(current, KEY, page)
        after_this_request(finish)
    return page


def push(url: str, *flags: Flag, **attributes: Unpack[AnyLink]) -> str:
    """Push a URL with the page being made, and return it unchanged.

    A URL or attribute that no header should carry is logged and left out: no
    input is worth the page.

    :param flags: attributes without a value.
    :param attributes: ``rel`` and the other attributes of :meth:`Link.make`; ``as_``
        is ``as`` in Jinja.
    :raises SetupError: there is no request, or no extension in its app.
    """
    # Few calls, and no key of all attributes: a page may push many.
    try:
        page: Page = current_request().flask_firehose_page
    except (AttributeError, RuntimeError):
        page = current_page()
    if page.done:
        logger.warning(
            "%r: pushed too late, the response had already started: %.999r",
            request.path,
            url,
        )
        return url
    try:
        for given, made in _made.get((url, flags), ()):
            if given == attributes:
                link = made
                break
        else:
            link = _make(url, flags, attributes)
    except Exception as error:  # noqa: BLE001 - no input is worth the page
        reason = _reason(error, url, flags, attributes)
        logger.warning("%r: pushing %.99r failed: %s", request.path, url, reason)
        return url
    page.links[link.value] = link
    return url


def _make(url: str, flags: tuple[Flag, ...], attributes: AnyLink) -> Link:
    """Make a link, and keep it for the next time."""
    link = Link.make(url, *flags, **attributes)
    if not link.personal:
        if len(_made) >= MAX_MADE:
            _made.clear()
        others = _made.get((url, flags), [])[-MAX_WAYS:]
        _made[url, flags] = [*others, (attributes, link)]
    return link


def _reason(
    error: Exception, url: str, flags: tuple[Flag, ...], attributes: AnyLink
) -> Exception:
    """Return the error to log: what cannot be compared is not explained yet."""
    if not isinstance(error, LinkError):
        try:
            Link.make(url, *flags, **attributes)
        except Exception as better:  # noqa: BLE001 - likewise
            return better
    return error


def push_static(
    filename: str,
    *flags: Flag,
    endpoint: str = "static",
    **attributes: Unpack[AnyLink],
) -> str:
    """Push a static file, and return its URL.

    :param endpoint: whose file it is: ``"blog.static"`` for the blueprint ``blog``,
        ``".static"`` for the current one.
    :raises SetupError: there is no such static folder.
    """
    return push(static_url(filename, endpoint), *flags, **attributes)


def static_url(filename: str, endpoint: str) -> str:
    """Return the URL of a static file."""
    try:
        return url_for(endpoint, filename=filename)
    except BuildError:
        raise SetupError(
            f"{filename!r} has no URL: {endpoint!r} has no static folder; give the "
            "app or blueprint one, or push a URL"
        ) from None


def preload(url: str, *flags: Flag, **attributes: Unpack[Attributes]) -> str:
    """Have the browser fetch what this page needs."""
    return push(url, *flags, rel="preload", **attributes)


def modulepreload(url: str, *flags: Flag, **attributes: Unpack[Attributes]) -> str:
    """Have the browser fetch and compile a JavaScript module."""
    return push(url, *flags, rel="modulepreload", **attributes)


def preconnect(url: str, *flags: Flag, **attributes: Unpack[Attributes]) -> str:
    """Have the browser connect to another origin."""
    return push(url, *flags, rel="preconnect", **attributes)


def dns_prefetch(url: str, *flags: Flag, **attributes: Unpack[Attributes]) -> str:
    """Have the browser look up the address of another origin."""
    return push(url, *flags, rel="dns-prefetch", **attributes)


def prefetch(url: str, *flags: Flag, **attributes: Unpack[Attributes]) -> str:
    """Have the browser fetch what the next page will need, when it is idle."""
    return push(url, *flags, rel="prefetch", **attributes)


PUSHES = (push, push_static, preload, modulepreload, preconnect, dns_prefetch, prefetch)


def send_early_hints(*urls: str) -> bool:
    """Send now, in a 103, what the page being made has pushed so far.

    :param urls: what to push before.
    :return: whether a 103 went out: one does for a request at most, when
        ``FIREHOSE_EARLY_HINTS`` is set and the server and the client can.
    """
    for url in urls:
        push(url)
    return get_state().send_early(current_page().links.values())
