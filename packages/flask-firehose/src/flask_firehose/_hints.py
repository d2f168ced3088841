"""Declare what a view's page needs, before the page knows it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar
from typing import Unpack
from typing import cast
from typing import runtime_checkable

from flask import Flask
from flask import current_app
from flask import request

from ._early import may_send
from ._link import AnyLink
from ._link import Link
from ._push import current_page
from ._push import static_url
from ._state import State
from ._state import get_state
from ._state import logger
from .exceptions import LinkError


P = ParamSpec("P")
R = TypeVar("R")
#: Where a view keeps its declarations.
ATTRIBUTE = "_flask_firehose"
#: Marks a view that has a wrapper of ours; a wrapper has both.
HINTED = "_flask_firehose_hinted"
#: Marks a decorator, which is no view.
UNCALLED = "_flask_firehose_uncalled"


@runtime_checkable
class Linking(Protocol):
    """Something that knows its links once there is a request."""

    def links(self) -> Iterable[Link]:
        """Return the links for the current request."""
        ...


Source = str | Link | Linking | Callable[[], "str | Link | Iterable[str | Link] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """The arguments of one ``@hints``."""

    sources: tuple[Any, ...]
    learn: bool
    public: bool


class static:  # noqa: N801 - reads as a function where it is used
    """A static file, for :func:`hints`: its URL is made for each request.

    :param filename: relative to the static folder.
    :param endpoint: ``"blog.static"`` for the static folder of a blueprint.
    :param attributes: those of :meth:`Link.make`.
    :raises LinkError: an attribute cannot be sent.
    """

    def __init__(
        self,
        filename: str,
        *,
        endpoint: str = "static",
        **attributes: Unpack[AnyLink],
    ) -> None:
        if not isinstance(filename, str):
            raise LinkError("filename", filename, "use a path below the static folder")
        # The file is not known before a request; what is wrong is, now.
        Link.make("/", **attributes)
        self.filename = filename
        self.endpoint = endpoint
        self.attributes = attributes

    def links(self) -> Iterator[Link]:
        """Return the link for the current request."""
        yield Link.make(static_url(self.filename, self.endpoint), **self.attributes)


def hints(
    *sources: Source, learn: bool = True, public: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare what a view's page needs: sent in a 103 before the view runs.

    :param sources: URLs as the browser sees them, :meth:`Link.make`,
        :class:`static`, :func:`vite`, and functions without arguments that return
        URLs or links for the current request.
    :param learn: False keeps the view's pages from teaching further hints.
    :param public: send before the app's ``before_request`` functions and outer
        decorators run, and therefore to visitors whom these turn away.
    :raises LinkError: a link cannot be sent safely.
    """
    for name, flag in (("learn", learn), ("public", public)):
        if not isinstance(flag, bool):
            raise LinkError(name, flag, "use True or False")
    made = tuple(map(_source, sources))
    own = Declaration(made, learn, public)

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        if isinstance(view, type):
            raise LinkError("view", view, "put @hints on the method get() of the class")
        with contextlib.suppress(AttributeError):  # of an object with slots
            setattr(view, HINTED, True)
        declarations = (own, *declared(view))
        call: Callable[..., Any] = view

        def hinting(*args: Any, **kwargs: Any) -> Any:
            declare(declarations)
            return call(*args, **kwargs)

        async def hinting_async(*args: Any, **kwargs: Any) -> Any:
            declare(declarations)
            return await call(*args, **kwargs)

        is_async = inspect.iscoroutinefunction(view)
        wrapper = functools.wraps(view)(hinting_async if is_async else hinting)
        setattr(wrapper, ATTRIBUTE, declarations)
        return cast("Callable[P, R]", wrapper)

    setattr(decorate, UNCALLED, True)
    return decorate


def misplaced(app: Flask) -> Iterator[str]:
    """Yield a sentence for each view whose ``@hints`` has no effect."""
    for endpoint, view in app.view_functions.items():
        if hasattr(view, UNCALLED):
            yield f"the view {endpoint!r} is @hints itself: write @hints(...)"
        elif hasattr(view, HINTED) and not hasattr(view, ATTRIBUTE):
            yield (
                f"@hints is above the route of {endpoint!r}, so the app registered "
                "the view without it: put @hints below @app.route"
            )


def check_views(app: Flask) -> None:
    """Log misplaced hints; with the first request all views are there."""
    for sentence in misplaced(app):
        logger.warning(sentence)


def _source(source: Source) -> Any:
    if isinstance(source, str):
        return Link.make(source)
    if isinstance(source, (Link, Linking)) or callable(source):
        return source
    raise LinkError("hint", source, "use a URL, a Link, static(), vite() or a function")


def declared(view: object) -> tuple[Declaration, ...]:
    """Return the declarations of a view, or of a class-based view for GET."""
    method = getattr(getattr(view, "view_class", None), "get", None)
    both = (*getattr(view, ATTRIBUTE, ()), *getattr(method, ATTRIBUTE, ()))
    return cast("tuple[Declaration, ...]", both)


def resolve(sources: Iterable[Any]) -> Iterator[Link]:
    """Yield the links of sources for the current request; failures are logged."""
    for source in sources:
        try:
            yield from _links(source)
        except Exception as error:  # noqa: BLE001 - a hint is never worth the page
            logger.warning("%r: the hint %.99r failed: %s", request.path, source, error)


def _links(source: Any) -> list[Link]:
    if isinstance(source, Link):
        return [source]
    if isinstance(source, str):
        return [Link.make(source)]
    if isinstance(source, Linking):
        return list(source.links())
    found: Any = source() if callable(source) else source
    return (
        []
        if found is None
        else [
            link
            for one in ([found] if isinstance(found, (str, Link, Linking)) else found)
            for link in _links(one)
        ]
    )


def declare(declarations: Iterable[Declaration]) -> None:
    """Add the links of declarations to the page, and send them ahead."""
    page, state = current_page(), get_state()
    new = [one for one in declarations if one not in page.declarations]
    page.declarations += new
    links = [link for one in new for link in resolve(one.sources)]
    for link in links:
        page.links[link.value] = link
        page.declared.add(link.key)
    early = {link.key: link for link in links}
    if page.lesson:
        early |= {**state.learned.get(page.lesson), **early}
        if not all(one.learn for one in new):
            page.lesson = None
    if new:
        state.send_early(early.values())


def before_request() -> None:
    """Send learned and public hints ahead of everything that the app does."""
    endpoint, environ = request.endpoint, request.environ
    if endpoint is None or not may_send(environ):
        return
    state: State = get_state()
    page = current_page()
    if state.config.learn:
        host = environ.get("HTTP_HOST", "")
        page.lesson = (endpoint, environ.get("SCRIPT_NAME", ""), host)
        page.arguments = _arguments()
    declarations = declared(current_app.view_functions.get(endpoint))
    public = [one for one in declarations if one.public]
    if public:
        declare(public)
    elif not declarations and environ.get("HTTP_SAVE_DATA", "").lower() != "on":
        # The view's own declarations take the learned ones along.
        state.send_early(state.learned.get(page.lesson).values())


def _arguments() -> Mapping[str, Any]:
    """Return the arguments of the endpoint, as the URL has them."""
    values: Mapping[str, Any] = request.view_args or {}
    rule = request.url_rule
    if rule is not None and not rule.arguments <= values.keys():
        # A url_value_preprocessor took some away, and they select the page.
        adapter = current_app.create_url_adapter(request)
        values = values if adapter is None else adapter.match()[1]
    return values
