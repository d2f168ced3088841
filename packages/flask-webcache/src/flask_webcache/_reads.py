"""Recording what an app reads of a request, through Werkzeug's public parts alone.

A request that the store does not answer gets an environment, headers and cookies that
note each name that is looked up. Hits are not recorded, and cost nothing.
:mod:`flask_webcache._rules.reads` says what the reads mean.

Not seen: reads before the request has started (converters of URLs), what a view
remembers from another request, and what a WSGI middleware left in a context variable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING
from typing import Any

from flask import session
from werkzeug.datastructures import EnvironHeaders
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.http import parse_cookie

from ._rules.reads import EVERYTHING
from ._rules.reads import OBSERVERS
from ._rules.reads import READERS
from ._rules.reads import Reads
from ._rules.reads import SessionUse
from ._rules.reads import noisy


if TYPE_CHECKING:
    from flask import Flask
    from flask import Request
    from flask.sessions import SessionMixin


_paused: ContextVar[bool] = ContextVar("flask_webcache_unrecorded", default=False)
#: Modules that read on behalf of others.
_PLUMBING = frozenset(
    {"werkzeug", "flask", "flask_webcache", "_collections_abc", "collections", "copy"}
)
#: Values that a request computed from its headers before they were recorded.
_COMPUTED = (
    "accept_charsets",
    "accept_encodings",
    "accept_languages",
    "accept_mimetypes",
    "access_route",
    "authorization",
    "cookies",
    "user_agent",
)


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

    :param ignored: modules whose reads make no difference to a page.
    """

    __slots__ = ("_ignored", "_made", "environ", "reads", "session")

    def __init__(self, environ: dict[str, Any], ignored: tuple[str, ...]) -> None:
        #: The environment that the app sees.
        self.environ = Environ(environ, self)
        self.reads = Reads()
        self.session: SessionMixin | None = None
        self._ignored = ignored
        #: The variables that the app added, of what it had read.
        self._made: set[str] = set()

    def note(self, variable: str) -> None:
        """Note a variable of the environment."""
        known = self.reads.variables
        if (
            variable not in known
            and variable not in self._made
            and not self._unheeded(variable)
        ):
            known.add(variable)

    def note_made(self, variable: str) -> None:
        """Note that the app sets a variable, unless what it read is not recorded."""
        # Names without a dot are CGI's, and mean the visitor whoever sets them.
        if (
            "." in variable
            and not dict.__contains__(self.environ, variable)
            and not self._unheeded(variable)
        ):
            self._made.add(variable)

    def note_cookie(self, name: str) -> None:
        """Note a cookie."""
        known = self.reads.cookies
        if name not in known and not self._unheeded(EVERYTHING if name == "*" else ""):
            known.add(name)

    def finish(self, environ: dict[str, Any]) -> Reads:
        """Return the reads until now, with the use of the session."""
        used, reads = self.session, self.reads
        if used is None:
            reads.session = SessionUse.USED
        elif not (used.accessed or used.modified):
            reads.session = SessionUse.NONE
        elif (
            used.modified
            or used
            or f"{reads.session_cookie}=" in environ.get("HTTP_COOKIE", "")
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
            package = module.partition(".")[0]
            if package not in _PLUMBING:
                if package in OBSERVERS or variable in READERS.get(package, ()):
                    return True
                return any(
                    module == one or module.startswith(f"{one}.")
                    for one in self._ignored
                )
            frame = frame.f_back
        return False


class Environ(dict[str, Any]):
    """A WSGI environment that notes reads and hands writes on to the server's own."""

    __slots__ = ("_own", "_recorder")

    def __init__(self, own: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(own)
        self._own = own
        self._recorder = recorder

    def __getitem__(self, key: str) -> Any:
        self._recorder.note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._recorder.note(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._recorder.note(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._recorder.note(EVERYTHING)
        return super().__iter__()

    def keys(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().keys()

    def values(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().values()

    def items(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().items()

    def copy(self) -> Environ:
        """Return a copy that is recorded likewise, and writes to itself alone."""
        return Environ(dict(super().items()), self._recorder)

    __copy__ = copy

    def __or__(self, other: Any) -> Any:
        self._recorder.note(EVERYTHING)
        return super().__or__(other)

    def __eq__(self, other: object) -> bool:
        self._recorder.note(EVERYTHING)
        return super().__eq__(other)

    __hash__ = None

    def __reduce__(self) -> Any:
        self._recorder.note(EVERYTHING)
        return dict, (dict(super().items()),)

    def __setitem__(self, key: str, value: Any) -> None:
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
        self._recorder.note(EVERYTHING)
        key, value = super().popitem()
        self._own.pop(key, None)
        return key, value

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._recorder.note(key)
        self._own.setdefault(key, default)
        return super().setdefault(key, default)

    def update(self, *others: Any, **values: Any) -> None:
        for key, value in dict(*others, **values).items():
            self[key] = value

    def __ior__(self, other: Any) -> Environ:  # type: ignore[override]
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


class Cookies(ImmutableMultiDict[str, str]):
    """Cookies that note which of them are read."""

    def __init__(self, cookies: Iterable[tuple[str, str]], recorder: Recorder) -> None:
        super().__init__(cookies)
        self._recorder = recorder

    def __getitem__(self, key: str) -> str:
        self._recorder.note_cookie(key)
        return super().__getitem__(key)

    def get(  # type: ignore[override]
        self,
        key: str,
        default: Any = None,
        type: Any = None,  # noqa: A002 - its name
    ) -> Any:
        self._recorder.note_cookie(key)
        return super().get(key, default, type)

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002 - its name
        self._recorder.note_cookie(key)
        return super().getlist(key, type)

    def __contains__(self, key: object) -> bool:
        self._recorder.note_cookie(str(key))
        return super().__contains__(key)

    def _all(self) -> None:
        self._recorder.note_cookie(EVERYTHING)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def __len__(self) -> int:
        self._all()
        return super().__len__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self, multi: bool = False) -> Any:
        self._all()
        return super().items(multi)

    def lists(self) -> Any:
        self._all()
        return super().lists()

    def listvalues(self) -> Any:
        self._all()
        return super().listvalues()

    def to_dict(self, flat: Any = True) -> Any:
        self._all()
        return super().to_dict(flat)

    def copy(self) -> Any:
        self._all()
        return super().copy()

    def __eq__(self, other: object) -> bool:
        self._all()
        return super().__eq__(other)

    __hash__ = ImmutableMultiDict.__hash__  # type: ignore[assignment]


@lru_cache(maxsize=64)
def _watched(kind: type[Request]) -> type[Request]:
    """Return a request class whose remote_addr is recorded."""

    class Watched(kind):  # type: ignore[valid-type,misc]
        @property
        def remote_addr(self) -> str | None:
            recorder: Recorder = self.__dict__["flask_webcache.recorder"]
            recorder.note("REMOTE_ADDR")
            found: str | None = self.__dict__.get("remote_addr")
            return found

        @remote_addr.setter
        def remote_addr(self, value: str | None) -> None:
            self.__dict__["remote_addr"] = value

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
    own: dict[str, Any] = request.environ
    recorder = Recorder(own, ignored)
    interface = app.session_interface
    recorder.reads.session_cookie = interface.get_cookie_name(app)
    # The proxy counts as an access itself, which is undone.
    used: Any = session._get_current_object()  # type: ignore[attr-defined]
    if untouched:
        used.accessed = False
    recorder.session = used
    parsed: Any = parse_cookie(own)
    for computed in _COMPUTED:
        request.__dict__.pop(computed, None)
    request.environ = recorder.environ
    request.headers = Headers(recorder.environ)
    request.__dict__["cookies"] = Cookies(parsed.items(multi=True), recorder)
    request.__dict__["flask_webcache.recorder"] = recorder
    kind: Any = type(request)
    request.__class__ = _watched(kind)
    return recorder
