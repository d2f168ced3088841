"""Whether a response may be stored for others, by what the app read of its request.

The rule: **everything that was read selects the response by its value, absence
included.** This alone is always right. The rest keeps it useful: a value that tells one
visitor from all others would fill the store with pages for one, so that those are not
stored; and what makes no difference to a page is left out.

Variables of the environment in particular:

===========================  =========================================================
``HTTP_*``                   selects; forbids if it tells visitors apart
other names without a dot    are of CGI or the server (``REMOTE_USER``,
                             ``SSL_CLIENT_*``) and forbid, beside those that are known
``wsgi.*`` and servers' own  make no difference
what the app put there       makes no difference: what it was made of is recorded; where
                             the app looked first, that there was none selects
what a middleware put there  forbids, as it may be a login (``beaker.session``)
===========================  =========================================================

Whatever a library of :data:`OBSERVERS` reads makes no difference: the page that it
measures does not depend on it.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from typing import Any

from .policy import Refusal
from .variants import COOKIE
from .variants import ENVIRON
from .variants import cookie


#: Stands for all of the environment, and for all cookies.
EVERYTHING = "*"
#: A cookie whose value is longer than this is taken for an identity.
LONGEST_CHOICE = 24

_FIELD = "HTTP_"
_AUTHORIZATION = frozenset({"HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"})
#: Variables that differ from visitor to visitor.
VISITOR = frozenset(
    {
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "HTTP_USER_AGENT",
        "HTTP_REFERER",
        "HTTP_FORWARDED",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_REAL_IP",
        "HTTP_COOKIE",
    }
)
#: Variables that say who the visitor is, beside all that are not known.
_PLAIN = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "DOCUMENT_ROOT",
        "GATEWAY_INTERFACE",
        "HTTPS",
        "PATH_INFO",
        "PATH_TRANSLATED",
        "QUERY_STRING",
        "RAW_URI",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "REQUEST_URI",
        "SCRIPT_FILENAME",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        # Parts of the key, or of the answer's transport.
        "HTTP_ACCEPT_RANGES",
        "HTTP_CACHE_CONTROL",
        "HTTP_CONNECTION",
        "HTTP_CONTENT_LENGTH",
        "HTTP_CONTENT_TYPE",
        "HTTP_EXPECT",
        "HTTP_HOST",
        "HTTP_IF_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_RANGE",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_KEEP_ALIVE",
        "HTTP_PRAGMA",
        "HTTP_RANGE",
        "HTTP_TE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        # Names of a request, which a page does not depend on.
        "HTTP_B3",
        "HTTP_BAGGAGE",
        "HTTP_REQUEST_ID",
        "HTTP_SENTRY_TRACE",
        "HTTP_TRACEPARENT",
        "HTTP_TRACESTATE",
        "HTTP_X_AMZN_TRACE_ID",
        "HTTP_X_B3_TRACEID",
        "HTTP_X_CORRELATION_ID",
        "HTTP_X_REQUEST_ID",
        "HTTP_X_REQUEST_START",
    }
)
_SERVERS = (
    "wsgi.",
    "werkzeug.",
    "flask.",
    "flask_webcache.",
    "flask_firehose.",
    "gunicorn.",
    "waitress.",
    "uwsgi.",
    "mod_wsgi.",
    "eventlet.",
    "gevent.",
    # What these note for themselves.
    "flask_firehose.",
    "flask_kaccel.",
    "flask_store.",
    "flask_streaming.",
)
#: Packages that log and measure, whose reads make no difference to a page.
OBSERVERS = frozenset(
    {
        "ddtrace",
        "elasticapm",
        "flask_debugtoolbar",
        "logging",
        "newrelic",
        "opentelemetry",
        "sentry_sdk",
    }
)
#: The variables that a library asks for on every request, without the page depending
#: on it.
READERS: Mapping[str, frozenset[str]] = {
    # Whether a 103 goes ahead of the page.
    "flask_firehose": frozenset({"HTTP_SEC_FETCH_MODE"}),
    # Whether the development server answers by itself.
    "flask_kaccel": frozenset({"HTTP_X_FORWARDED_FOR"}),
    "flask_login": frozenset(
        {"REMOTE_ADDR", "HTTP_USER_AGENT", "HTTP_X_FORWARDED_FOR"}
    ),
    "flask_limiter": frozenset(
        {"REMOTE_ADDR", "HTTP_USER_AGENT", "HTTP_X_FORWARDED_FOR"}
    ),
}
#: The variables of CGI for which it matters who reads them.
NOISY = VISITOR.union({EVERYTHING}, *READERS.values())


class SessionUse(Enum):
    """The use that a request made of its session."""

    NONE = "none"
    #: It was looked at, and it is empty, unchanged and without a cookie.
    EMPTY = "empty"
    USED = "used"


@dataclass(slots=True)
class Reads:
    """The parts of one request that the app read."""

    #: Variables of the WSGI environment.
    variables: set[str] = field(default_factory=set)
    cookies: set[str] = field(default_factory=set)
    #: Variables that the app added, of what it had read.
    made: set[str] = field(default_factory=set)
    session: SessionUse = SessionUse.NONE
    #: The name of the session's cookie.
    session_cookie: str = ""

    @property
    def none(self) -> bool:
        """True if nothing was read."""
        return not (self.variables or self.cookies) and (
            self.session is SessionUse.NONE
        )

    def asked(self, environ: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an environment without what the app added."""
        if self.made.isdisjoint(self.variables):
            return environ
        return {name: environ[name] for name in environ if name not in self.made}

    def words(self) -> list[str]:
        """Return the names of what was read, as selectors are written."""
        names = {_selector(one) for one in self.variables if not _plain(one)}
        names |= {f"{COOKIE}{name}" for name in self.cookies}
        if self.session is not SessionUse.NONE:
            names.add("session")
        return sorted(names)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of reads for the storage of a response."""

    refusal: Refusal | None = None
    #: The read that forbids to store the response.
    cause: str = ""
    #: Further selectors of the response.
    selectors: frozenset[str] = frozenset()


def judge(
    reads: Reads, environ: Mapping[str, Any], vary: Collection[str], *, shared: bool
) -> Verdict:
    """Return what the reads of a request mean for the storage of its response.

    :param vary: the fields that the response names in Vary itself.
    :param shared: whether the response says that it is for everybody.
    """
    if reads.session is SessionUse.USED:
        return Verdict(Refusal.SESSION, "session")
    selectors = set()
    if reads.session is SessionUse.EMPTY:
        selectors.add(COOKIE + reads.session_cookie)
    if shared:
        # Its author decided; only the session is never shared by mistake.
        return Verdict(selectors=frozenset(selectors))
    for name in sorted(reads.variables):
        if _plain(name) or (selector := _selector(name)) in vary:
            continue
        if refusal := _refused(name, environ):
            return Verdict(refusal, selector)
        selectors.add(selector)
    if "cookie" not in vary:
        for name in sorted(reads.cookies):
            if _identifies(environ, name):
                every = name == EVERYTHING
                refusal = Refusal.READ if every else Refusal.IDENTITY
                return Verdict(refusal, "cookie" if every else COOKIE + name)
            selectors.add("cookie" if name == EVERYTHING else COOKIE + name)
    return Verdict(selectors=frozenset(selectors))


def _identifies(environ: Mapping[str, Any], name: str) -> bool:
    """Return whether the value of a cookie, or of all, tells visitors apart."""
    if name == EVERYTHING:
        return "HTTP_COOKIE" in environ
    return len(cookie(environ, name) or "") > LONGEST_CHOICE


def _refused(name: str, environ: Mapping[str, Any]) -> Refusal | None:
    """Return why a variable that was read forbids to store the response."""
    if name == EVERYTHING:
        return Refusal.READ
    if name not in environ:
        return None
    if name in _AUTHORIZATION:
        return Refusal.AUTHORIZATION
    if name in VISITOR or not name.startswith(_FIELD):
        return Refusal.IDENTITY
    return None


def noisy(name: str) -> bool:
    """Return whether it matters who reads a variable."""
    return name in NOISY or ("." in name and not name.startswith(_SERVERS))


def observes(module: str, variable: str, ignored: Sequence[str]) -> bool:
    """Return whether a page does not depend on what a module reads.

    :param ignored: further modules that log and measure.
    """
    package = module.partition(".")[0]
    if package in OBSERVERS or variable in READERS.get(package, ()):
        return True
    return any(module == one or module.startswith(f"{one}.") for one in ignored)


def _plain(name: str) -> bool:
    return name in _PLAIN or name.startswith(_SERVERS)


def _selector(name: str) -> str:
    """Return the selector that a variable is, the name of its field if it has one."""
    if name == EVERYTHING:
        return name
    if name.startswith(_FIELD):
        return name.removeprefix(_FIELD).lower().replace("_", "-")
    return ENVIRON + name


def said_vary(selectors: Collection[str]) -> list[str]:
    """Return the fields by which other caches have to select, too."""
    names = {
        "Cookie" if name.startswith(COOKIE) else name.title()
        for name in selectors
        if not name.startswith(ENVIRON)
    }
    return sorted(names)
