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
- An exchange belongs to one WSGI environment and one request object. A request that is
  dispatched from within another one, even with the same environment, has an exchange
  of its own, and waits for nobody.

Two adapters carry exchanges: the hooks of :mod:`flask_webcache.handlers`, where the
cache takes its place among the app's hooks, and :mod:`flask_webcache._fast`, where it
stands around the app. Both use the same :class:`~flask_webcache.storage.Retrieval` and
:class:`~flask_webcache.storage.Store`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING
from typing import Any

from ._outcome import Outcome
from ._rules.control import NO_WISHES
from ._rules.control import Wishes
from ._rules.control import wishes
from ._rules.entry import Entry
from ._stock import Look
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


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, the stored response that fits it, and what became of both."""

    cache: Cache
    environ: dict[str, Any]
    key: str
    started: float
    wishes: Wishes = NO_WISHES
    state: State = State.LOOKED
    found: Look = field(default_factory=lambda: Look(""))
    outcome: Outcome = field(default_factory=Outcome)
    #: Whether this request may wait for another one.
    patient: bool = True
    #: What the app reads; None where nothing is recorded.
    recorder: Recorder | None = None
    #: Whether its generations were claimed.
    claimed: bool = False
    #: The stored response whose validators the view is asked about.
    validating: Entry | None = None
    #: What the app said of its response, for the adapter around the app.
    streamed: bool = True
    #: The fields of its 304, some of which do not leave the app.
    lines: list[tuple[str, str]] = field(default_factory=list)
    method: str = field(init=False)
    #: Whether this is a GET or a HEAD.
    safe: bool = field(init=False)
    #: Whether nothing of its path is stored.
    exempt: bool = field(init=False)
    #: Whether the request has content, which a view may read and no key holds.
    content: bool = field(init=False)
    #: The request's own conditions while the stored validators are in their place.
    _conditions: dict[str, str] | None = None
    _lead: Lead | None = None
    _ahead: bool = False

    def __post_init__(self) -> None:
        self.method = self.environ["REQUEST_METHOD"]
        self.safe = self.method in ("GET", "HEAD")
        self.exempt = self.cache.exempt(self.environ)
        self.content = (
            self.environ.get("CONTENT_LENGTH", "") not in ("", "0")
            or "HTTP_TRANSFER_ENCODING" in self.environ
        )

    @classmethod
    def begin(
        cls, cache: Cache, environ: dict[str, Any], found: Look | None = None
    ) -> Exchange:
        """Begin with a request.

        :param found: the look that was in vain, if the request is a plain one.
        """
        now = time.time()
        if cache.stock.local and environ.get("wsgi.multiprocess"):
            cache.events.say_once(
                "This server has several processes, and simple:// is a cache in each: "
                "a purge reaches one of them. Set WEBCACHE_URL to a shared backend."
            )
        # Whoever dispatches within a request would wait for itself.
        patient = EXCHANGE not in environ
        if found is not None:
            exchange = cls(cache, environ, found.key, now, found=found, patient=patient)
            exchange._ahead = True
        else:
            controls = cache.config.request_controls_cache
            asked = wishes(environ) if controls else NO_WISHES
            key = cache.key(environ)
            exchange = cls(cache, environ, key, now, asked, patient=patient)
        environ[EXCHANGE] = exchange
        return exchange

    @property
    def page(self) -> str:
        """The name by which requests wait for each other: resource and selection."""
        metadata = self.found.metadata
        if metadata is None or not metadata.vary:
            return self.key
        return self.cache.stock.places(self.key, metadata, self.environ)[0]

    @property
    def renewal(self) -> bool:
        """Whether the cache itself asks for the page."""
        return RECACHE in self.environ

    def look(self) -> Entry | None:
        """Look for a stored response, unless that was just done ahead."""
        if not self._ahead:
            self.found = self.cache.stock.look(self.key, self.environ)
        self._ahead = False
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
        environ = self._seen
        self.validating = entry
        if not entry.validator:
            return
        self._conditions = {
            name: environ.pop(name) for name in CONDITIONS if name in environ
        }
        if entry.own_etag and entry.etag:
            environ["HTTP_IF_NONE_MATCH"] = entry.etag
        if entry.last_modified:
            environ["HTTP_IF_MODIFIED_SINCE"] = entry.last_modified

    @property
    def _seen(self) -> dict[str, Any]:
        """The environment that the app sees, which writes to the server's own."""
        return self.environ if self.recorder is None else self.recorder.environ

    def restore_conditions(self) -> None:
        """Put the request's own conditions back."""
        if self._conditions is not None:
            environ = self._seen
            for name in CONDITIONS:
                environ.pop(name, None)
            environ.update(self._conditions)
            self._conditions = None

    def release(self) -> None:
        """Give the lead back, and let the next ones pass if nothing was stored."""
        cache, lead = self.cache, self._lead
        if self.outcome.stored:
            cache.leads.hold(self.key)
        if lead is not None:
            self._lead = None
            if not self.outcome.stored and self.outcome.kind == "miss":
                cache.leads.let_pass(self.key)
            cache.leads.end(lead)
        if self.renewal and self.state is not State.LOOKED:
            page, owner = self.environ.pop(RECACHE)
            if owner:
                cache.renewals.done(page, owner)


def exchange_of(
    owner: Mapping[str, Any], environ: Mapping[str, Any]
) -> Exchange | None:
    """Return the exchange that a mapping holds, if it is that of an environment."""
    found = owner.get(EXCHANGE)
    return found if isinstance(found, Exchange) and found.environ is environ else None


def plain(environ: Mapping[str, Any]) -> bool:
    """Return whether a request is a GET or HEAD that asks nothing of caches."""
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.keys().isdisjoint(
        SPECIAL
    )
