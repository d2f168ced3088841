"""Decorators for views that say how their responses may be cached."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from difflib import get_close_matches
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any
from typing import Literal
from typing import ParamSpec
from typing import Protocol
from typing import TypedDict
from typing import TypeVar
from typing import Unpack
from typing import cast

from flask import Flask
from flask import Response
from flask import after_this_request
from flask import current_app
from flask import request_started


logger: logging.Logger = logging.getLogger("flask_webcache")

P = ParamSpec("P")
R = TypeVar("R")
#: A directive with an argument in seconds, or one to remove.
Seconds = int | Literal[False] | None
#: True on a view that a modifier wraps, and False on the wrapper.
_BARE = "_flask_webcache_bare"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LIST = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]+")
#: Directives whose argument is a list of fields, which has to be quoted.
_QUOTED = frozenset({"private", "no-cache"})


class Modifier(Protocol):
    """A decorator that keeps the parameters of a view, and its result."""

    def __call__(self, view: Callable[P, R], /) -> Callable[P, R]:
        """Return the view with its responses modified."""
        ...


def cache_for(
    *,
    weeks: float = 0,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
) -> Modifier:
    """Make the responses of a view fresh for a time, the sum of the parts.

    :raises ValueError: for a duration that is negative.
    """
    duration = timedelta(
        seconds=seconds, minutes=minutes, hours=hours, days=days, weeks=weeks
    )
    lifetime = int(duration.total_seconds())
    if lifetime < 0:
        raise ValueError(f"duration is {duration}: it has to be 0 or more")

    def modify(response: Response) -> None:
        response.cache_control.max_age = lifetime
        response.expires = datetime.now(UTC) + timedelta(seconds=lifetime)

    return _modifier(modify)


class Directives(TypedDict, total=False):
    """The directives of RFC 9111, RFC 5861 and RFC 8246, with ``_`` for ``-``."""

    max_age: Seconds
    s_maxage: Seconds
    stale_while_revalidate: Seconds
    stale_if_error: Seconds
    public: bool
    private: bool | str
    no_cache: bool | str
    no_store: bool
    no_transform: bool
    must_revalidate: bool
    proxy_revalidate: bool
    must_understand: bool
    immutable: bool


def cache_control(
    *,
    extensions: Mapping[str, bool | int | str] | None = None,
    **directives: Unpack[Directives],
) -> Modifier:
    """Add directives to the Cache-Control of a view's responses (RFC 9111, 5.2.2).

    True adds one without an argument, and False or None removes one. Lifetimes are in
    seconds. ``private`` and ``no_cache`` may also name the fields that are meant.

    :param extensions: directives of other names, such as ``{"community": "UCI"}``.
    :param directives: the directives, such as ``max_age=60`` or ``public=True``.
    :raises TypeError: for an unknown directive.
    :raises ValueError: for a name or an argument that cannot be sent.
    """
    for name in directives.keys() - Directives.__annotations__.keys():
        nearest = get_close_matches(name, Directives.__annotations__, 1)
        hint = f", did you mean {nearest[0]}?" if nearest else ""
        raise TypeError(f"{name} is no directive{hint or ': pass it in extensions'}")
    known: dict[str, Any] = {
        **{name.replace("_", "-"): value for name, value in directives.items()},
        **(extensions or {}),
    }
    for name, value in known.items():
        _check(name, value)

    def modify(response: Response) -> None:
        control = response.cache_control
        for name, value in known.items():
            if value is False or value is None:
                control.pop(name, None)
            else:
                control[name] = None if value is True else str(value)

    return _modifier(modify)


def _modifier(modify: Callable[[Response], None]) -> Modifier:
    """Return a decorator whose view's value passes through as it is.

    A decorator above it may still serialize the value.
    """

    def prepare() -> Callable[[Any], Any]:
        returned = False

        # Before the view runs, so that what the view registers for its response, such
        # as links, already sees how it may be cached.
        @after_this_request
        def later(response: Response) -> Response:
            if returned:
                modify(response)
            return response

        def take(result: Any) -> Any:
            nonlocal returned
            if isinstance(result, Response):
                # At once, so that the code that called the view sees it.
                modify(result)
            else:
                returned = True
            return result

        return take

    def decorate(view: Callable[..., Any], /) -> Any:
        @wraps(view)
        def modified(*args: Any, **kwargs: Any) -> Any:
            take = prepare()
            return take(current_app.ensure_sync(view)(*args, **kwargs))

        @wraps(view)
        async def modified_async(*args: Any, **kwargs: Any) -> Any:
            take = prepare()
            return take(await view(*args, **kwargs))

        made = modified_async if iscoroutinefunction(view) else modified
        return _marked(view, made)

    return cast("Modifier", decorate)


def _marked(view: Callable[..., Any], made: Callable[..., Any]) -> Any:
    """Return a wrapper, marked as what is to be registered in place of the view."""
    with suppress(AttributeError):
        setattr(view, _BARE, True)
    setattr(made, _BARE, False)
    return made


def check_views(app: Flask, **_: object) -> None:
    """Log once which views were registered without the modifier that they have."""
    request_started.disconnect(check_views, app)
    for view in app.view_functions.values():
        if getattr(view, _BARE, False):
            logger.warning(
                "%r has cache_for or cache_control above the route, where it does not "
                "run: put it below @app.route.",
                view.__name__,
            )


def _check(name: str, value: object) -> None:
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise ValueError(f"{name!r} is no directive: use a-z, 0-9 and -")
    allowed = _LIST if name in _QUOTED else _TOKEN
    if isinstance(value, str) and not allowed.fullmatch(value):
        raise ValueError(f"{name} is {value!r}: its argument has to be a token")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{name} is {value!r}: its argument has to be 0 or more")
