"""Recording what an app reads of a request, through Werkzeug's public parts alone.

A request that the store does not answer gets an environment, headers and cookies that
note each name that is looked up. Hits are not recorded, and cost nothing.
:mod:`flask_webcache._rules.reads` says what the reads mean.

Not seen: reads before the request has started (converters of URLs), what a view
remembers from another request, and what a WSGI middleware left in a context variable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING
from typing import Any

from flask import session
from werkzeug.http import parse_cookie

from ._recorded import Cookies
from ._recorded import Environ
from ._recorded import Headers
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
        self.environ: Environ = Environ(environ, self)
        self.reads: Reads = Reads()
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
