"""Answering from the store, and putting responses there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask import Response

from ._answers import merged
from ._answers import restored
from ._exchange import Exchange
from ._exchange import State
from ._invalidation import Invalidation
from ._rules import policy as rules
from ._rules.entry import Entry
from ._rules.entry import Metadata
from ._rules.fields import combine
from ._rules.policy import Policy
from ._rules.policy import Refusal
from ._rules.policy import Use
from ._rules.reads import judge
from ._rules.reads import said_vary
from ._rules.variants import selection
from .config import Config
from .validation import CONDITIONAL
from .validation import Validation


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


__all__ = ["Config", "Metadata", "Retrieval", "Store"]


class Retrieval(Validation):
    """Answers requests from the store. Override a method to change one decision."""

    def may_answer(self, environ: dict[str, Any]) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether a request may be answered from the store at all."""
        return True

    def answer(self, exchange: Exchange) -> Response | None:
        """Return the stored response to a request, or prepare it for the view."""
        response = None
        if exchange.exempt:
            exchange.outcome.forward = "bypass"
            exchange.state = State.FORWARD
            return None
        if exchange.safe:
            response = self.find(exchange)
        if response is None:
            exchange.forward()
        else:
            exchange.state = State.ANSWERED
        return response

    def find(self, exchange: Exchange) -> Response | None:
        """Return the stored response to a GET or HEAD, or None to make it."""
        # Nobody waits for more than two views that hang.
        deadline = time.monotonic() + 2 * exchange.cache.config.wait_seconds
        outcome, alone = exchange.outcome, False
        while True:
            entry = exchange.look()
            if entry is not None and (response := self.reuse(exchange, entry)):
                return response
            if exchange.wishes.only_if_cached:
                return self.refused(exchange, 504, "only-if-cached")
            if exchange.leads or alone or not self.should_wait(exchange):
                break
            # Whoever led before may have stored the page since the last look.
            answer = exchange.wait(deadline)
            alone = answer == "alone"
            if answer != "lead":
                outcome.collapsed = True
                exchange.cache.events.note("wait")
        outcome.collapsed = False
        if entry is None:
            outcome.forward = exchange.found.reason
        else:
            exchange.validate(entry)
        return None

    def reuse(self, exchange: Exchange, entry: Entry) -> Response | None:
        """Return a stored response if it may be used as it is."""
        now = time.time()
        outcome = exchange.outcome
        use = (
            Use.VALIDATE if exchange.renewal else rules.use(entry, now, exchange.wishes)
        )
        left = entry.fresh_until - now
        if use is Use.VALIDATE:
            fresh = left > 0 and not entry.no_cache
            outcome.forward = "request" if fresh else "stale"
            return None
        early = exchange.cache.config.preemptive_recache_seconds
        if use is Use.REFRESH or 0 < left < early:
            self.refresh(exchange, entry)
        if outcome.collapsed:
            outcome.forward = outcome.forward or exchange.found.reason
        else:
            outcome.forward = ""
            outcome.ttl = int(left)
        response = restored(exchange.cache, entry, now)
        exchange.cache.events.tell(exchange, response, "hit" if left > 0 else "stale")
        return self.conditional(exchange.environ, exchange.method, response)

    def should_wait(self, exchange: Exchange) -> bool:
        """Return whether a request waits for another one that asks for the same."""
        wishes, environ = exchange.wishes, exchange.environ
        return not (
            not exchange.patient
            or exchange.cache.config.lock_seconds == 0
            or wishes.no_cache
            or wishes.no_store
            or exchange.method != "GET"
            or exchange.content
            or "HTTP_AUTHORIZATION" in environ
            or "HTTP_UPGRADE" in environ
            or "text/event-stream" in environ.get("HTTP_ACCEPT", "")
            or exchange.renewal
            or exchange.cache.leads.passes(exchange.key)
        )

    def refresh(self, exchange: Exchange, entry: Entry) -> None:
        """Have a stored response renewed in the background, once at a time."""
        exchange.cache.renewals.ask(exchange, entry)

    def refused(self, exchange: Exchange, status: int, why: str) -> Response:
        """Return an answer of the cache's own, without the view."""
        response: Response = exchange.cache.app.response_class(status=status)
        exchange.outcome.forward = ""
        exchange.outcome.refusal = why
        return exchange.cache.events.tell(exchange, response, "miss")


class Store(Validation, Invalidation):
    """Stores responses. Override a method to change one decision."""

    def complete(self, exchange: Exchange, response: Response) -> Response:
        """Return the response to send in place of a view's, and store it."""
        exchange.state = State.DONE
        if not exchange.safe:
            return self.after_unsafe(exchange, response)
        if exchange.validating is not None:
            stored = self.validated(exchange, exchange.validating, response)
            if stored is not None:
                return self.conditional(exchange.environ, exchange.method, stored)
            if exchange.outcome.forward_status == 304:
                response = merged(exchange.cache, exchange.validating, response)
        outcome = exchange.outcome
        events = exchange.cache.events
        refused = self.store(exchange, response)
        if refused is None:
            outcome.stored = True
            events.note("stored")
        else:
            outcome.refusal = refused
            events.refused(exchange, refused)
        events.tell(exchange, response, "miss")
        if refused is Refusal.STREAMED or CONDITIONAL.isdisjoint(exchange.environ):
            return response
        return self.conditional(exchange.environ, exchange.method, response)

    def should_store(self, exchange: Exchange) -> Refusal | None:
        """Return why a response is not to be stored, beside what its fields say."""
        if exchange.wishes.no_store:
            return Refusal.NO_STORE
        if exchange.safe and exchange.content:
            return Refusal.CONTENT
        return Refusal.EXEMPT if exchange.exempt else None

    def store(self, exchange: Exchange, response: Response) -> Refusal | None:
        """Store a response, or return why not; it gets an entity tag in either case."""
        lines = response.headers.to_wsgi_list()
        fields = combine(lines)
        if "x-cache" in fields:
            # Said by a cache that the view asked.
            response.headers.remove("X-Cache")
        config, now = exchange.cache.config, time.time()
        if self.streamed(response, config.max_body_bytes):
            return Refusal.STREAMED
        found = rules.policy(
            response.status_code,
            fields,
            now,
            now - exchange.started,
            config.targeted_fields,
            config.default_expiration_seconds,
        )
        # Before it gets an entity tag of ours, by which no view can validate it.
        refused = self.refusal(exchange, response.status_code, fields, found, now)
        body = response.get_data()
        if refused is None and rules.holds_nonce(fields, body):
            refused = Refusal.NONCE
        own_etag = "etag" in fields
        if not own_etag and config.etags and self.can_set_etag(response, fields):
            fields["etag"] = self.set_etag(response, body)
            lines.append(("ETag", fields["etag"]))
        if refused := refused or self.should_store(exchange):
            return refused
        if len(body) > config.max_body_bytes:
            return Refusal.SIZE
        selectors = self.select(exchange, response, found, lines)
        if isinstance(selectors, Refusal):
            return selectors
        if "location" in fields or "content-location" in fields:
            # Made fit for the wire, which the fast path relies on.
            lines = response.get_wsgi_headers(exchange.environ).to_wsgi_list()
        elif "content-length" not in fields:
            lines.append(("Content-Length", str(len(body))))
        status = response.status
        entry = rules.make_entry(
            status, lines, body, fields, found, own_etag, selectors
        )
        return self.keep(exchange, entry, now)

    def refusal(
        self,
        exchange: Exchange,
        status: int,
        fields: dict[str, str],
        found: Policy,
        now: float,
    ) -> Refusal | None:
        """Return why the fields of a response forbid to store it."""
        if exchange.method == "HEAD" and exchange.outcome.forward_status != 304:
            return Refusal.METHOD
        return rules.refusal(
            status,
            fields,
            found,
            now,
            authorized="HTTP_AUTHORIZATION" in exchange.environ,
            cookies=exchange.cache.config.store_set_cookie,
        )

    def keep(self, exchange: Exchange, entry: Entry, now: float) -> Refusal | None:
        """Put an entry into the store, or return why it could not be."""
        stock = exchange.cache.stock
        asked = exchange.asked or exchange.environ
        if stock.keep(exchange.found, asked, entry, now):
            return None
        if not exchange.claimed:
            # It was known not to be stored, and now it could be: claim next time.
            exchange.cache.leads.hold(exchange.key)
        return Refusal.NOT_KEPT

    def select(
        self,
        exchange: Exchange,
        response: Response,
        found: Policy,
        lines: list[tuple[str, str]],
    ) -> tuple[str, ...] | Refusal:
        """Return the selectors of a response, or why its reads forbid to store it."""
        vary = found.vary or ()
        if exchange.recorder is None:
            # Nobody saw what made it.
            return Refusal.READ
        reads = exchange.recorder.finish(exchange.environ)
        environ = reads.asked(exchange.environ)
        if reads.none:
            return self.settled(exchange, environ, vary)
        exchange.outcome.reads = reads.words()
        verdict = judge(
            reads,
            environ,
            vary,
            shared=found.terms.public or found.terms.said_s_maxage,
        )
        if verdict.refusal is not None:
            exchange.outcome.cause = verdict.cause
            return verdict.refusal
        more = [
            name for name in said_vary(verdict.selectors) if name.lower() not in vary
        ]
        if more:
            response.vary.update(more)
            lines[:] = response.headers.to_wsgi_list()
        names = tuple(sorted({*vary, *verdict.selectors}))
        return self.settled(exchange, environ, names)

    def settled(
        self, exchange: Exchange, environ: Mapping[str, Any], names: tuple[str, ...]
    ) -> tuple[str, ...] | Refusal:
        """Return selectors, unless a middleware gave them other values."""
        asked = exchange.asked
        if names and asked and selection(names, asked) != selection(names, environ):
            # Who asks next is looked up by what the cache around the app sees.
            exchange.outcome.cause = "what a WSGI middleware set"
            return Refusal.READ
        exchange.asked = environ
        return names

    def validated(
        self, exchange: Exchange, entry: Entry, response: Response
    ) -> Response | None:
        """Return the stale stored response if it stands in for the view's error."""
        exchange.restore_conditions()
        outcome, status = exchange.outcome, response.status_code
        if status == 304 and entry.validator:
            outcome.forward, outcome.forward_status = "stale", 304
            return None
        grace = exchange.cache.config.stale_on_error
        if status not in rules.ERRORS or not rules.stands_in(entry, time.time(), grace):
            return None
        outcome.forward_status, outcome.refusal = status, "error"
        stale = restored(exchange.cache, entry, time.time())
        return exchange.cache.events.tell(exchange, stale, "stale")

    def after_unsafe(self, exchange: Exchange, response: Response) -> Response:
        """Invalidate what an unsafe request changed (RFC 9111, section 4.4)."""
        exchange.outcome.forward = "method"
        response.headers.remove("X-Cache")
        if self.should_invalidate(exchange, response):
            answers = self.answers_get(exchange, response)
            # Another write may have come in between, whose state is newer.
            ours = self.invalidate(exchange, response, renew=answers)
            if answers and ours and self.store(exchange, response) is None:
                exchange.outcome.stored = True
        return exchange.cache.events.tell(exchange, response, "miss")

    def forget(self, exchange: Exchange, response: Response) -> None:
        """Purge what was stored if it has a nonce of a policy that was added later."""
        nonces = rules.nonces(response.headers)
        if not nonces or response.is_streamed:
            return
        body = response.get_data()
        if any(one in body for one in nonces):
            cache = exchange.cache
            cache.stock.purge_key(exchange.key)
            cache.leads.let_pass(exchange.key)
            exchange.outcome.cause = ""
            cache.events.refused(exchange, Refusal.NONCE)
