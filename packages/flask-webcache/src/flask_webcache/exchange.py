"""One request on its way through the cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from .resources import NOTHING
from .resources import Found
from .resources import Resources
from .rules.control import NO_WISHES
from .rules.control import Wishes
from .rules.control import wishes
from .rules.entry import Entry
from .rules.entry import variant_key
from .rules.variants import selection


#: Where a WSGI environment holds the exchange.
EXCHANGE = "flask_webcache.exchange"
#: In its place where the answer came from the store, and nothing is left to do.
ANSWERED = object()
#: A request with one of these needs a closer look than a plain GET.
SPECIAL = frozenset(
    {
        "HTTP_CACHE_CONTROL",
        "HTTP_PRAGMA",
        "HTTP_RANGE",
        "HTTP_IF_MATCH",
        "HTTP_IF_UNMODIFIED_SINCE",
        "flask_webcache.recache",
    }
)
CONDITIONS = (
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE",
)


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of one request between its two handlers."""

    resources: Resources
    environ: dict[str, Any]
    key: str
    started: float
    wishes: Wishes
    found: Found = NOTHING
    #: What Cache-Status says first.
    outcome: str = "fwd=uri-miss"
    collapsed: bool = False
    #: The stored response whose validators the view was asked about.
    validating: Entry | None = None
    #: Whether the response was stored.
    stored: bool = False
    #: Whether the stale one is served in place of an error.
    stands_in: bool = False
    #: The request's own conditions while the stored validators are in their place.
    own_conditions: dict[str, str] | None = None
    method: str = field(init=False)
    #: Whether this is a GET or a HEAD.
    safe: bool = field(init=False)
    #: Whether nothing of its path is stored.
    exempt: bool = field(init=False)
    #: Whether the request has content, which a view may read and no key holds.
    content: bool = field(init=False)
    _lead: str | None = None
    _ahead: bool = False

    def __post_init__(self) -> None:
        self.method = self.environ["REQUEST_METHOD"]
        self.safe = self.method in ("GET", "HEAD")
        self.exempt = self.resources.exempt(self.environ)
        self.content = (
            self.environ.get("CONTENT_LENGTH", "") not in ("", "0")
            or "HTTP_TRANSFER_ENCODING" in self.environ
        )

    @classmethod
    def start(cls, resources: Resources, environ: dict[str, Any]) -> Exchange:
        """Begin with a request."""
        key, now = resources.key(environ), time.time()
        controls = resources.config.request_controls_cache
        asked = wishes(environ) if controls else NO_WISHES
        return cls(resources, environ, key, now, asked)

    @classmethod
    def after(
        cls,
        found: Found,
        resources: Resources,
        environ: dict[str, Any],
        key: str,
        now: float,
    ) -> Exchange:
        """Begin with a plain request, for which the first look was in vain."""
        return cls(resources, environ, key, now, NO_WISHES, found, _ahead=True)

    def look(self) -> Entry | None:
        """Look for a stored response, unless that was just done ahead."""
        if not self._ahead:
            self.found = self.resources.find(self.key, self.environ)
        self._ahead = False
        return self.found.entry

    @property
    def renewal(self) -> str:
        """What marks a renewal under way."""
        return f"renew {self._flight()}"

    def validate(self, entry: Entry) -> None:
        """Ask the view whether a stored response is current, if it can tell.

        Its validators take the place of the request's own conditions for the while.
        """
        environ = self.environ
        self.validating = entry
        if not entry.validator:
            return
        self.own_conditions = {
            name: environ.pop(name) for name in CONDITIONS if name in environ
        }
        if entry.own_etag and entry.etag:
            environ["HTTP_IF_NONE_MATCH"] = entry.etag
        if entry.last_modified:
            environ["HTTP_IF_MODIFIED_SINCE"] = entry.last_modified

    def restore_conditions(self) -> None:
        """Put the request's own conditions back."""
        if self.own_conditions is not None:
            for name in CONDITIONS:
                self.environ.pop(name, None)
            self.environ.update(self.own_conditions)
            self.own_conditions = None

    def wait(self, deadline: float) -> bool:
        """Take the lead, or wait for who has it.

        :param deadline: by when to go on alone, in terms of :func:`time.monotonic`.
        :return: whether to look into the store again.
        """
        flights = self.resources.flights
        lead = self._flight()
        if flights.passes(self.key, time.monotonic()):
            return False
        landing = flights.join(lead)
        if landing is not None:
            return landing.wait(max(0.0, deadline - time.monotonic()))
        self._lead = lead
        if self.resources.backend.local or self._lock(lead):
            return False
        self._await_lock(lead, deadline)
        self._lead = None
        flights.land(lead)
        return True

    def leads_late(self) -> bool:
        """Tell whether there may be a stored response now that this one leads."""
        backend = self.resources.backend
        return self._lead is not None and not (
            backend.local and backend.peek(self.key) is None
        )

    def release(self) -> None:
        """Give the lead back, and let the next ones pass if nothing was stored."""
        flights = self.resources.flights
        if self.stored:
            flights.hold(self.key)
        if self._lead is None:
            return
        if not self.stored:
            flights.let_pass(self.key, time.monotonic())
        lead, self._lead = self._lead, None
        if not self.resources.backend.local:
            self.resources.backend.delete(_lock_name(lead))
        flights.land(lead)

    def _flight(self) -> str:
        """Return what requests wait for each other by: resource and selection."""
        metadata = self.found.metadata
        if metadata is None or not metadata.vary:
            return self.key
        return variant_key(self.key, selection(metadata.vary, self.environ))

    def _lock(self, lead: str) -> bool:
        """Take the lead among processes; a backend that fails cannot deny it."""
        backend = self.resources.backend
        seconds = self.resources.config.lock_seconds
        return backend.add(_lock_name(lead), "", seconds) is not False

    def _await_lock(self, lead: str, deadline: float) -> None:
        backend = self.resources.backend
        pause = 0.005
        name = _lock_name(lead)
        while time.monotonic() < deadline and backend.get(name) is not None:
            _PAUSE.wait(pause)
            pause = min(0.05, pause * 1.5)


_PAUSE = threading.Event()


def _lock_name(lead: str) -> str:
    return f"lock {lead}"


def plain(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request is a GET or HEAD that asks nothing of caches."""
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.keys().isdisjoint(
        SPECIAL
    )
