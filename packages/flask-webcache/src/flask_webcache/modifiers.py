"""Decorators for views that say how their responses may be cached."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any
from typing import Literal
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar
from typing import cast

from flask import Response
from flask import after_this_request
from flask import current_app


P = ParamSpec("P")
R = TypeVar("R")
#: A directive with an argument in seconds, or one to remove.
Seconds = int | Literal[False] | None
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


def cache_control(
    *,
    max_age: Seconds = None,
    s_maxage: Seconds = None,
    stale_while_revalidate: Seconds = None,
    stale_if_error: Seconds = None,
    public: bool | None = None,
    private: bool | str | None = None,
    no_cache: bool | str | None = None,
    no_store: bool | None = None,
    no_transform: bool | None = None,
    must_revalidate: bool | None = None,
    proxy_revalidate: bool | None = None,
    must_understand: bool | None = None,
    immutable: bool | None = None,
    extensions: Mapping[str, bool | int | str] | None = None,
) -> Modifier:
    """Add directives to the Cache-Control of a view's responses (RFC 9111, 5.2.2).

    True adds one without an argument, False removes one, and None leaves it as it is.
    Lifetimes are in seconds.

    :param private: True, or the fields that are private.
    :param no_cache: True, or the fields that are not to be reused.
    :param extensions: directives of other names, such as ``{"surrogate-max": 60}``.
    :raises ValueError: for a name or an argument that cannot be sent.
    """
    given = {
        "public": public,
        "private": private,
        "no-cache": no_cache,
        "no-store": no_store,
        "no-transform": no_transform,
        "must-revalidate": must_revalidate,
        "proxy-revalidate": proxy_revalidate,
        "must-understand": must_understand,
        "immutable": immutable,
        "max-age": max_age,
        "s-maxage": s_maxage,
        "stale-while-revalidate": stale_while_revalidate,
        "stale-if-error": stale_if_error,
        **(extensions or {}),
    }
    known = {name: value for name, value in given.items() if value is not None}
    for name, value in known.items():
        _check(name, value)

    def modify(response: Response) -> None:
        control = response.cache_control
        for name, value in known.items():
            if value is False:
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

        return modified_async if iscoroutinefunction(view) else modified

    return cast("Modifier", decorate)


def _check(name: str, value: object) -> None:
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise ValueError(f"{name!r} is no directive: use a-z, 0-9 and -")
    allowed = _LIST if name in _QUOTED else _TOKEN
    if isinstance(value, str) and not allowed.fullmatch(value):
        raise ValueError(f"{name} is {value!r}: its argument has to be a token")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{name} is {value!r}: its argument has to be 0 or more")
