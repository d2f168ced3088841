"""Recording what an app reads of a request, through Werkzeug's public parts alone.

A request that the store does not answer gets an environment, headers and cookies that
note each name that is looked up. Hits are not recorded, and cost nothing.
:mod:`flask_webcache._rules.reads` says what the reads mean.

Not seen: reads before the request has started (converters of URLs), what a view
remembers from another request, and what a WSGI middleware left in a context variable.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from functools import lru_cache
from functools import wraps
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from flask import session
from werkzeug.datastructures import EnvironHeaders
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.http import parse_cookie

from ._rules.reads import EVERYTHING
from ._rules.reads import Reads
from ._rules.reads import SessionUse
from ._rules.reads import noisy
from ._rules.reads import observes


if TYPE_CHECKING:
    from flask import Flask
    from flask import Request
    from flask.sessions import SessionMixin


C = TypeVar("C", bound=type)

_paused: ContextVar[bool] = ContextVar("flask_webcache_unrecorded", default=False)
#: Modules that read on behalf of others.
_PLUMBING = frozenset(
    {"werkzeug", "flask", "flask_webcache", "_collections_abc", "collections", "copy"}
)
#: Values that a request computed from its headers before they were recorded.
_COMPUTED = frozenset(
    {
        "accept_charsets", "accept_encodings", "accept_languages", "accept_mimetypes",
        "access_route", "authorization", "cookies", "user_agent",
    }
)  # fmt: skip
#: Where a watched request holds its recorder.
_RECORDER = "flask_webcache.recorder"


@contextmanager
def unrecorded() -> Iterator[None]:
    """Read a request without the stored response depending on it.

    For logs and measurements, and for views that hand a request on as it is.
    """
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


class Recorder:
    """Notes what is read of one request.

    :param app: the app that the request is for.
    :param ignored: modules whose reads make no difference to a page.
    """

    __slots__ = ("_app", "_ignored", "reads", "session")

    def __init__(self, app: Flask, ignored: tuple[str, ...]) -> None:
        self.reads: Reads = Reads()
        self.session: SessionMixin | None = None
        self._app = app
        self._ignored = ignored

    def note(self, variable: str) -> None:
        """Note a variable of the environment."""
        known = self.reads.variables
        if (
            variable not in known
            and variable not in self.reads.made
            and not self._unheeded(variable)
        ):
            known.add(variable)

    def note_made(self, variable: str) -> None:
        """Note that the app sets a variable, unless what it read is not recorded."""
        # Names without a dot are CGI's, and mean the visitor whoever sets them.
        if "." in variable and not self._unheeded(variable):
            self.reads.made.add(variable)

    def note_cookie(self, name: str) -> None:
        """Note a cookie."""
        known = self.reads.cookies
        if name not in known and not self._unheeded(EVERYTHING if name == "*" else ""):
            known.add(name)

    def finish(self, environ: dict[str, Any]) -> Reads:
        """Return the reads until now, with the use of the session."""
        used, reads = self.session, self.reads
        if used is not None and not (used.accessed or used.modified):
            return reads
        name = self._app.session_interface.get_cookie_name(self._app)
        reads.session_cookie = name
        if (
            used is None
            or used.modified
            or used
            or f"{name}=" in environ.get("HTTP_COOKIE", "")
        ):
            reads.session = SessionUse.USED
        else:
            reads.session = SessionUse.EMPTY
        return reads

    def _unheeded(self, variable: str) -> bool:
        """Return whether a read makes no difference, by who reads."""
        if _paused.get():
            return True
        if not self._ignored and not noisy(variable):
            return False
        frame: Any = sys._getframe(2)
        while frame is not None:
            module: str = frame.f_globals.get("__name__", "")
            if module == "flask.app" and frame.f_code.co_name == "wsgi_app":
                # Flask itself, whoever has called it.
                return False
            if module.partition(".")[0] not in _PLUMBING:
                return observes(module, variable, self._ignored)
            frame = frame.f_back
        return False


def _noting(one: tuple[str, ...], every: tuple[str, ...]) -> Callable[[C], C]:
    """Return a decorator of a class, some of whose inherited methods note reads.

    :param one: those that read what their first argument names.
    :param every: those that read all there is.
    """

    def of_one(inherited: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inherited)
        def method(self: Any, key: Any, *arguments: Any, **options: Any) -> Any:
            self.note(str(key))
            return inherited(self, key, *arguments, **options)

        return method

    def of_every(inherited: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inherited)
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            self.note(EVERYTHING)
            return inherited(self, *arguments, **options)

        return method

    def decorate(made: C) -> C:
        for names, noting in ((one, of_one), (every, of_every)):
            for name in names:
                setattr(made, name, noting(getattr(made, name)))
        return made

    return decorate


@_noting(
    (),
    ("__iter__", "__reversed__", "keys", "values", "items", "__or__", "__ror__",
     "__eq__", "__ne__", "__repr__"),
)  # fmt: skip
class Environ(dict[str, Any]):
    """A WSGI environment that notes reads and hands writes on to the server's own."""

    __slots__ = ("_own", "_recorder")

    def __init__(self, own: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(own)
        self._own = own
        self._recorder = recorder

    def note(self, key: str) -> None:
        """Note the read of one variable, or of everything."""
        self._recorder.note(key)

    def __getitem__(self, key: str) -> Any:
        self._recorder.note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._recorder.note(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._recorder.note(str(key))
        return super().__contains__(key)

    def copy(self) -> Environ:
        """Return a copy that is recorded likewise, and writes to itself alone."""
        return Environ(dict(dict.items(self)), self._recorder)

    __copy__ = copy
    __hash__ = None

    def __reduce__(self) -> Any:
        self.note(EVERYTHING)
        return dict, (dict(dict.items(self)),)

    def __setitem__(self, key: str, value: Any) -> None:
        if not super().__contains__(key):
            self._recorder.note_made(key)
        super().__setitem__(key, value)
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._own.pop(key, None)

    def pop(self, key: str, *default: Any) -> Any:
        self._recorder.note(key)
        self._own.pop(key, None)
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self.note(EVERYTHING)
        key, value = super().popitem()
        self._own.pop(key, None)
        return key, value

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **values: Any) -> None:
        for key, value in dict(*others, **values).items():
            self[key] = value

    def __ior__(self, other: Any) -> Environ:  # type: ignore[override,misc]
        self.update(other)
        return self

    def clear(self) -> None:
        super().clear()
        self._own.clear()


class Headers(EnvironHeaders):
    """Headers that look a field up by its name where the inherited ones go over all."""

    def getlist(
        self,
        key: str,
        type: Any = None,  # noqa: A002 - its name
        as_bytes: bool = False,  # noqa: ARG002 - likewise
    ) -> list[Any]:
        found = self.get(key)
        if found is None:
            return []
        if type is None:
            return [found]
        try:
            return [type(found)]
        except ValueError:
            return []


@_noting(
    ("__getitem__", "get", "getlist", "__contains__"),
    ("__iter__", "__len__", "keys", "values", "items", "lists", "listvalues",
     "to_dict", "copy", "__eq__", "__repr__"),
)  # fmt: skip
class Cookies(ImmutableMultiDict[str, str]):
    """Cookies that note which of them are read."""

    #: Notes the read of one cookie, or of everything.
    note: Callable[[str], None]
    __hash__ = ImmutableMultiDict.__hash__  # type: ignore[assignment]


@lru_cache(maxsize=64)
def _watched(kind: type[Request]) -> type[Request]:
    """Return a request class whose remote_addr and cookies are recorded."""

    class Watched(kind):  # type: ignore[valid-type,misc]
        @property
        def remote_addr(self) -> str | None:
            self.__dict__[_RECORDER].note("REMOTE_ADDR")
            found: str | None = self.__dict__.get("remote_addr")
            return found

        @remote_addr.setter
        def remote_addr(self, value: str | None) -> None:
            self.__dict__["remote_addr"] = value

        @cached_property
        def cookies(self) -> Cookies:  # pyright: ignore - cached as in its base
            recorder: Recorder = self.__dict__[_RECORDER]
            with unrecorded():
                parsed: Any = parse_cookie(self.environ)
            made = Cookies(list(parsed.items(multi=True)))
            made.note = recorder.note_cookie
            return made

    Watched.__name__ = kind.__name__
    Watched.__qualname__ = kind.__qualname__
    Watched.__module__ = kind.__module__
    return Watched


def watch(
    app: Flask, request: Request, ignored: tuple[str, ...], *, untouched: bool
) -> Recorder:
    """Record what is read of a request from now on.

    :param request: the request itself, of the context in hand.
    :param untouched: whether nothing of the app has seen the request before.
    """
    recorder = Recorder(app, ignored)
    # The proxy counts as an access itself, which is undone.
    used: Any = session._get_current_object()  # type: ignore[attr-defined]
    if untouched:
        used.accessed = False
    recorder.session = used
    own = request.__dict__
    for computed in _COMPUTED & own.keys():
        del own[computed]
    request.environ = Environ(request.environ, recorder)
    request.headers = Headers(request.environ)
    own[_RECORDER] = recorder
    kind: Any = type(request)
    request.__class__ = _watched(kind)
    return recorder
