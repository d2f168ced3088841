"""Decorators for views that say how their responses may be cached."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from flask import Response
from flask import after_this_request
from flask import current_app


View = Callable[..., Any]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LIST = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]+")
#: Directives whose argument is a list of fields, which has to be quoted.
_QUOTED = frozenset({"private", "no-cache"})


def cache_for(**duration: float) -> Callable[[View], View]:
    """Make the responses of a view fresh for a time.

    :param duration: as for :class:`datetime.timedelta`, such as ``minutes=5``.
    :raises ValueError: for a duration that is negative.
    """
    seconds = int(timedelta(**duration).total_seconds())
    if seconds < 0:
        raise ValueError(f"duration is {duration!r}: it has to be 0 or more")

    def modify(response: Response) -> None:
        response.cache_control.max_age = seconds
        response.expires = datetime.now(UTC) + timedelta(seconds=seconds)

    return _modifier(modify)


def cache_control(**directives: bool | int | str | None) -> Callable[[View], View]:
    """Add directives to the Cache-Control of a view's responses.

    :param directives: by name, with ``_`` for ``-``: True for one without an argument,
        False or None to remove one, a number or a string for its argument.
    :raises ValueError: for a name or an argument that cannot be sent.
    """
    known = {name.replace("_", "-"): value for name, value in directives.items()}
    for name, value in known.items():
        _check(name, value)

    def modify(response: Response) -> None:
        control = response.cache_control
        for name, value in known.items():
            if value is None or value is False:
                control.pop(name, None)
            else:
                control[name] = None if value is True else str(value)

    return _modifier(modify)


def _modifier(modify: Callable[[Response], None]) -> Callable[[View], View]:
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

    def decorate(view: View) -> View:
        @wraps(view)
        def modified(*args: Any, **kwargs: Any) -> Any:
            take = prepare()
            return take(current_app.ensure_sync(view)(*args, **kwargs))

        @wraps(view)
        async def modified_async(*args: Any, **kwargs: Any) -> Any:
            take = prepare()
            return take(await view(*args, **kwargs))

        return modified_async if iscoroutinefunction(view) else modified

    return decorate


def _check(name: str, value: object) -> None:
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise ValueError(f"{name!r} is no directive: use a-z, 0-9 and _")
    allowed = _LIST if name in _QUOTED else _TOKEN
    if isinstance(value, str) and not allowed.fullmatch(value):
        raise ValueError(f"{name} is {value!r}: its argument has to be a token")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{name} is {value!r}: its argument has to be 0 or more")
