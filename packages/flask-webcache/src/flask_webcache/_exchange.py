"""One request on its way through the cache.

**Theory of operation.** A request that asks for something the cache may know gets an
exchange, which moves through these states. Whoever moves it on is named; nothing else
writes ``state``.

=========  ===============================  ===========================================
state      meaning                          moved on by
=========  ===============================  ===========================================
LOOKED     the store was looked into, as    ``Retrieval.answer``: to ANSWERED or FORWARD
           it was before any of the app ran
ANSWERED   a stored response, or one of     the end of the request
           the cache's own, is the answer
FORWARD    the view runs. The generations   ``Store.complete``: to DONE
           are claimed, reads are recorded,
           and the lead is held if there
           is one
DONE       the response is stored or        the end of the request
           refused
=========  ===============================  ===========================================

The promises:

- The generations of what may be stored are claimed **before** FORWARD, so that a purge
  while the view runs makes the response invalid.
- A lead is given back as soon as the exchange is DONE, and at the latest when the
  request's context ends, whatever was raised.
- While the view runs, stored validators may stand in place of the request's own
  conditions; these are back before anything evaluates them.
- An exchange belongs to one request object. A request that is dispatched from within
  another one, even with the same environment, has an exchange of its own, and waits for
  nobody. Of a request that a middleware makes twice, nothing is stored.

Two adapters carry exchanges: the hooks of :mod:`flask_webcache.handlers`, where the
cache takes its place among the app's hooks, and :mod:`flask_webcache._fast`, where it
stands around the app. Both use the same :class:`~flask_webcache.storage.Retrieval` and
:class:`~flask_webcache.storage.Store`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING
from typing import Any

from ._rules.control import NO_WISHES
from ._rules.control import Wishes
from ._rules.control import wishes
from ._rules.entry import Entry
from ._rules.outcome import Outcome
from ._rules.things import Look
from .recache import RECACHE


if TYPE_CHECKING:
    from ._cache import Cache
    from ._reads import Recorder
    from ._waiting import Answer
    from ._waiting import Lead


#: The key of a WSGI environment that holds the exchange, and that of a request object.
EXCHANGE = "flask_webcache.exchange"
#: A request with one of these needs a closer look than a plain GET.
SPECIAL = frozenset(
    {
        "HTTP_CACHE_CONTROL",
        "HTTP_PRAGMA",
        "HTTP_RANGE",
        "HTTP_IF_MATCH",
        "HTTP_IF_UNMODIFIED_SINCE",
        RECACHE,
    }
)
CONDITIONS = (
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE",
)


class State(Enum):
    """The state of an exchange."""

    LOOKED = "looked"
    ANSWERED = "answered"
    FORWARD = "forward"
    DONE = "done"


class Exchange:
    """One request, the stored response that fits it, and what became of both.

    :param key: the key of its resource.
    :param found: the look that was in vain, where one was made already.
    """

    wishes: Wishes = NO_WISHES
    state: State = State.LOOKED
    #: Whether this request may wait for another one.
    patient: bool = True
    #: Whether a request object has it, and whether the app has answered that.
    joined: bool = False
    left: bool = False
    #: The environment by which the response is stored: as the cache around the app
    #: found it, and then without what the app added.
    asked: Mapping[str, Any] | None = None
    #: What the app reads; None where nothing is recorded.
    recorder: Recorder | None = None
    #: Whether its generations were claimed.
    claimed: bool = False
    #: The stored response whose validators the view is asked about.
    validating: Entry | None = None
    #: What the app said of its response, for the adapter around the app.
    streamed: bool = True
    #: The fields of its 304, some of which do not leave the app.
    lines: Sequence[tuple[str, str]] = ()
    #: How many leads had ended when the store was looked into.
    _looked: int | None = None
    #: The request's own conditions while the stored validators are in their place, and
    #: the environment that they were taken from.
    _conditions: dict[str, str] | None = None
    _conditional: dict[str, Any] | None = None
    #: The environment that the app sees, whose writes reach the server's own.
    seen: dict[str, Any] | None = None
    _lead: Lead | None = None
    _released: bool = False

    def __init__(
        self, cache: Cache, environ: dict[str, Any], key: str, found: Look | None = None
    ) -> None:
        self.cache: Cache = cache
        self.environ: dict[str, Any] = environ
        self.key: str = key
        self.started: float = time.time()
        self.found: Look = found or Look(key)
        self.outcome: Outcome = Outcome()
        method: str = environ["REQUEST_METHOD"]
        self.method: str = method
        #: Whether this is a GET or a HEAD.
        self.safe: bool = method == "GET" or method == "HEAD"
        #: Whether nothing of its path is stored.
        self.exempt: bool = cache.exempt(environ)

    @classmethod
    def begin(
        cls,
        cache: Cache,
        environ: dict[str, Any],
        found: Look | None = None,
        ended: int | None = None,
    ) -> Exchange:
        """Begin with a request.

        :param found: the look that was in vain, if the request is a plain one.
        :param ended: how many leads had ended before it.
        """
        if cache.lonely and environ.get("wsgi.multiprocess"):
            cache.lonely = False
            cache.events.say_once(
                "This server runs several processes, and simple:// is a separate cache "
                "in each of them, so that a purge reaches only one. "
                "Set WEBCACHE_URL to a shared backend."
            )
        if found is not None:
            exchange = cls(cache, environ, found.key, found)
            exchange._looked = ended
        else:
            exchange = cls(cache, environ, cache.key(environ))
            if cache.config.request_controls_cache:
                exchange.wishes = wishes(environ)
        if EXCHANGE in environ:
            # Whoever dispatches within a request would wait for itself.
            exchange.patient = False
        environ[EXCHANGE] = exchange
        return exchange

    @property
    def content(self) -> bool:
        """True if the request has content, which is not part of any key."""
        environ = self.environ
        return (
            environ.get("CONTENT_LENGTH", "") not in ("", "0")
            or "HTTP_TRANSFER_ENCODING" in environ
        )

    @property
    def page(self) -> str:
        """The name by which requests wait for each other: resource and selection."""
        metadata = self.found.metadata
        if metadata is None or not metadata.vary:
            return self.key
        return metadata.places(self.key, self.environ)[0]

    @property
    def renewal(self) -> bool:
        """Whether the cache itself asks for the page."""
        return RECACHE in self.environ

    def look(self) -> Entry | None:
        """Look for a stored response, unless nobody can have stored one since."""
        ended = self.cache.leads.ended
        if self._looked != ended:
            self._looked = ended
            self.found = self.cache.stock.look(self.key, self.environ)
        return self.found.entry

    def wait(self, deadline: float) -> Answer:
        """Take the lead, or wait for whoever has it."""
        answer, lead = self.cache.leads.join(self.page, deadline)
        self._lead = lead
        return answer

    @property
    def leads(self) -> bool:
        """Whether others wait for this request."""
        return self._lead is not None

    def forward(self) -> None:
        """Prepare for the view."""
        self.state = State.FORWARD
        stock = self.cache.stock
        if self.safe:
            # What is known not to be stored need not claim anything; see Store.store.
            self.claimed = stock.local or not self.cache.leads.passes(self.key)
            if self.claimed:
                stock.claim(self.found)
        elif self.method == "POST":
            # Its response may answer GET.
            self.look()
            stock.claim(self.found)

    def bypass(self) -> None:
        """Prepare for the view without an answer from the store."""
        self.look()
        self.outcome.forward = "bypass"
        self.forward()

    def validate(self, entry: Entry) -> None:
        """Ask the view whether a stored response is current, if it can tell.

        Its validators take the place of the request's own conditions for the while.
        """
        self.validating = entry
        if not entry.validator:
            return
        environ = self._conditional = self.seen or self.environ
        self._conditions = {
            name: environ.pop(name) for name in CONDITIONS if name in environ
        }
        if entry.own_etag and entry.etag:
            environ["HTTP_IF_NONE_MATCH"] = entry.etag
        if entry.last_modified:
            environ["HTTP_IF_MODIFIED_SINCE"] = entry.last_modified

    def restore_conditions(self) -> None:
        """Put the request's own conditions back."""
        if self._conditions is not None:
            for environ in (self.seen, self._conditional):
                if environ is not None:
                    for name in CONDITIONS:
                        environ.pop(name, None)
                    environ.update(self._conditions)
            self._conditions = self._conditional = None

    def release(self) -> None:
        """Give the lead back, and let the next ones pass if nothing was stored."""
        if self._released:
            return
        self._released = self.state is State.DONE
        cache, lead = self.cache, self._lead
        if self.outcome.stored:
            cache.leads.hold(self.key)
        if lead is not None:
            self._lead = None
            if not self.outcome.stored and self.outcome.kind == "miss":
                cache.leads.let_pass(self.key)
            cache.leads.end(lead)
        if self.state is not State.LOOKED and RECACHE in self.environ:
            page, owner = self.environ.pop(RECACHE)
            if owner:
                cache.renewals.done(page, owner)
        # No cycle, which would keep all of the request until the garbage is collected.
        self.recorder = self.seen = self.asked = None
        if self.environ.get(EXCHANGE) is self:
            del self.environ[EXCHANGE]


def exchange_in(environ: Mapping[str, Any], cache: Cache) -> Exchange | None:
    """Return the exchange of a cache that an environment holds, or a copy of it."""
    found = environ.get(EXCHANGE)
    return found if isinstance(found, Exchange) and found.cache is cache else None


def plain(environ: Mapping[str, Any]) -> bool:
    """Return whether a request is a GET or HEAD that asks nothing of caches."""
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.keys().isdisjoint(
        SPECIAL
    )
