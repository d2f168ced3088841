"""The events of the cache: counted, and sent to whoever listens.

Each event is a name, such as ``hit``, with a reason where there are several, such as
``refused`` and ``session``. Its counter is called ``refused.session``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blinker import NamedSignal
from blinker import Namespace

from ._rules.policy import Refusal


if TYPE_CHECKING:
    from flask import Flask
    from flask import Response

    from ._exchange import Exchange
    from ._rules.outcome import Kind
    from ._vault import Vault


logger = logging.getLogger("flask_webcache")

#: Sent by the app for each event, with ``event`` and ``reason``.
cache_event: NamedSignal = Namespace().signal("webcache-event")

#: How often counters are brought together in a shared backend, in seconds.
FLUSH_SECONDS = 10.0
NONCE = (
    "Responses with a Content-Security-Policy nonce are not stored, for example that "
    "of %s."
)
#: How many causes are remembered as logged.
_LOGGED = 1000

_REASONS: Mapping[str, tuple[str, ...]] = {
    "hit": (),
    "stale": (),
    "miss": ("uri-miss", "vary-miss", "stale", "request", "bypass", "method"),
    "stored": (),
    "refused": tuple(refusal.value for refusal in Refusal),
    "purged": (),
    "purge-failed": (),
    "backend-error": (),
    "wait": (),
    "renewal": (),
}


def names() -> Iterator[str]:
    """Yield the name of every counter."""
    for event, reasons in _REASONS.items():
        yield event
        for reason in reasons:
            yield f"{event}.{reason}"


class Events:
    """The events of one app.

    :param app: the sender of the signal.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self._logged: set[str] = set()
        self._flush_at = time.monotonic() + FLUSH_SECONDS

    def note(self, event: str, reason: str = "") -> None:
        """Count an event, and tell those who listen."""
        with self._lock:
            self.counts[event] += 1
            if reason:
                self.counts[f"{event}.{reason}"] += 1
        if cache_event.receivers:
            cache_event.send(self._app, event=event, reason=reason)

    def hit(self) -> None:
        """Note a fresh hit, the event that has to be quick."""
        self.counts["hit"] += 1
        if cache_event.receivers:
            cache_event.send(self._app, event="hit", reason="")

    def tell(self, exchange: Exchange, response: Response, kind: Kind) -> Response:
        """Say in a response what the cache did (RFC 9211), and note it."""
        cache, outcome = exchange.cache, exchange.outcome
        outcome.kind = kind
        self.note(kind, outcome.forward if kind == "miss" else "")
        vault = cache.stock.vault
        if vault is not None:
            self.flush(vault)
        headers = response.headers
        headers.add("Cache-Status", outcome.cache_status(cache.config.cache_name))
        headers.add("X-Cache", "miss" if kind == "miss" else "hit")
        return response

    def refused(self, exchange: Exchange, why: Refusal) -> None:
        """Note that a response is not stored, and say once which read forbids it."""
        self.note("refused", why.value)
        path = exchange.environ.get("PATH_INFO", "")
        cause = exchange.outcome.cause
        if cause and why is not Refusal.SESSION:
            self.say_once(
                "Responses that depend on %s are not stored, for example that of %s.",
                cause, path,
            )  # fmt: skip
        elif why is Refusal.NONCE:
            self.say_once(NONCE, path)

    def say_once(self, message: str, *values: object) -> None:
        """Log a message unless the same one was logged before."""
        text = message % values
        if text not in self._logged and len(self._logged) < _LOGGED:
            self._logged.add(text)
            logger.warning("%s", text)

    def flush(self, vault: Vault | None, *, now: bool = False) -> None:
        """Bring this process's counters to those of the others, from time to time."""
        if vault is None or not (now or time.monotonic() > self._flush_at):
            return
        self._flush_at = time.monotonic() + FLUSH_SECONDS
        with self._lock:
            counts, self.counts = self.counts, Counter()
        for name, number in counts.items():
            if not vault.count(name, number):
                with self._lock:
                    self.counts[name] += number

    def stats(self, vault: Vault | None) -> dict[str, int]:
        """Return the counters, of every process where the backend is shared.

        Those with a reason are left out while they are 0.
        """
        self.flush(vault, now=True)
        found = Counter(self.counts)
        if vault is not None:
            found.update(vault.counted(names()))
        return {name: found[name] for name in names() if found[name] or "." not in name}
