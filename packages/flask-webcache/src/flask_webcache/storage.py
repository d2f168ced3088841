"""Storage: answering from the store, and putting responses there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin
from urllib.parse import urlsplit

from flask import Response
from flask import current_app
from flask.globals import request_ctx
from werkzeug.datastructures import Headers
from werkzeug.http import http_date
from werkzeug.wsgi import get_current_url

from . import recache
from .config import Config
from .exchange import Exchange
from .rules import policy as rules
from .rules.conditions import precondition
from .rules.control import NO_WISHES
from .rules.control import terms
from .rules.entry import Entry
from .rules.entry import Metadata
from .rules.fields import combine
from .rules.fields import structured_strings
from .rules.policy import Refusal
from .rules.policy import Use
from .rules.variants import selection
from .validation import Validation


__all__ = ["Config", "Metadata", "Retrieval", "Store"]

logger = logging.getLogger("flask_webcache")

#: How long a renewal is not asked for again, in seconds.
REFRESH_SECONDS = 30


class Retrieval(Validation):
    """Answers requests from the store. Override a method to change one decision."""

    def may_answer(self, environ: dict[str, Any]) -> bool:  # noqa: ARG002 - for subclasses
        """Tell whether a request may be answered from the store at all."""
        return True

    def answer(self, exchange: Exchange) -> Response | None:
        """Return the stored response to a GET or HEAD, or prepare it for the view."""
        deadline = time.monotonic() + exchange.resources.config.lock_seconds
        while True:
            entry = exchange.look()
            if entry is not None and (response := self.reuse(exchange, entry)):
                return response
            if exchange.wishes.only_if_cached:
                return self.refused(exchange, 504, "detail=only-if-cached")
            if exchange.collapsed or not self.should_wait(exchange):
                break
            exchange.collapsed = exchange.wait(deadline)
            if exchange.collapsed:
                continue
            # Who led before may have stored it since the last look.
            if exchange.leads_late():
                entry = exchange.look()
                if entry is not None and (response := self.reuse(exchange, entry)):
                    exchange.stored = True
                    exchange.release()
                    return response
            break
        exchange.collapsed = False
        if entry is None:
            exchange.outcome = f"fwd={exchange.found.reason}"
        else:
            exchange.validate(entry)
        return None

    def reuse(self, exchange: Exchange, entry: Entry) -> Response | None:
        """Return a stored response if it may be used as it is."""
        now = time.time()
        renewal = recache.RECACHE in exchange.environ
        use = Use.VALIDATE if renewal else rules.use(entry, now, exchange.wishes)
        left = entry.fresh_until - now
        if use is Use.VALIDATE:
            fresh = left > 0 and not entry.no_cache
            exchange.outcome = "fwd=request" if fresh else "fwd=stale"
            return None
        early = exchange.resources.config.preemptive_recache_seconds
        if use is Use.REFRESH or 0 < left < early:
            self.refresh(exchange, entry)
        if not exchange.collapsed:
            exchange.outcome = f"hit; ttl={int(left)}"
        response = restored(entry, now)
        mark(exchange, response, "hit" if left > 0 else "stale")
        return self.conditional(exchange.environ, exchange.method, response)

    def should_wait(self, exchange: Exchange) -> bool:
        """Tell whether a request waits for another one that asks for the same."""
        wishes = exchange.wishes
        return not (
            exchange.resources.config.lock_seconds == 0
            or wishes.no_cache
            or wishes.no_store
            or exchange.method != "GET"
            or exchange.content
            or "HTTP_AUTHORIZATION" in exchange.environ
            or recache.RECACHE in exchange.environ
        )

    def refresh(self, exchange: Exchange, entry: Entry) -> None:
        """Have a stored response renewed in the background, once at a time."""
        resources = exchange.resources
        if not resources.backend.add(exchange.renewal, "", REFRESH_SECONDS):
            return
        task = recache.of_request(
            exchange.environ, tuple(name for name, _ in entry.vary)
        )
        dispatch = resources.config.preemptive_recache_callback
        try:
            (dispatch or recache.make_thread_dispatcher())(task)
        except Exception:
            logger.exception("The renewal of %s could not be dispatched.", task.path)

    def precheck(self, exchange: Exchange) -> Response | None:
        """Return 412 to an unsafe request whose condition is known to fail.

        That is before the view does the work, where the store holds what is current.
        """
        environ = exchange.environ
        if environ.keys().isdisjoint(("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")):
            return None
        entry = exchange.look()
        if entry is None or not 200 <= entry.code < 300:
            return None
        if rules.use(entry, time.time(), NO_WISHES) is not Use.FRESH:
            return None
        etag, modified = entry.etag, entry.last_modified
        if precondition(environ, exchange.method, etag, modified) is None:
            return None
        return self.refused(exchange, 412, "detail=precondition")

    def refused(self, exchange: Exchange, status: int, why: str) -> Response:
        """Return an answer of the cache's own, without the view."""
        response = current_app.response_class(status=status)
        exchange.outcome = why
        return mark(exchange, response, "miss")


class Store(Validation):
    """Stores responses. Override a method to change one decision."""

    def complete(self, exchange: Exchange, response: Response) -> Response:
        """Return what to send in place of a view's response, and store it."""
        if not exchange.safe:
            return self.after_unsafe(exchange, response)
        if exchange.validating is not None:
            response = self.validated(exchange, exchange.validating, response)
        if exchange.stands_in:
            mark(exchange, response, "stale")
            return self.conditional(exchange.environ, exchange.method, response)
        refused = self.store(exchange, response)
        exchange.stored = refused is None
        exchange.outcome += "; stored" if refused is None else f"; detail={refused}"
        mark(exchange, response, "miss")
        if refused is Refusal.STREAMED:
            return response
        return self.conditional(exchange.environ, exchange.method, response)

    def should_store(self, exchange: Exchange) -> Refusal | None:
        """Tell why a response is not to be stored, beside what its fields say."""
        if exchange.wishes.no_store:
            return Refusal.NO_STORE
        if exchange.safe and exchange.content:
            return Refusal.CONTENT
        if exchange.exempt:
            return Refusal.EXEMPT
        # Flask saves the session after this, so that no field tells of it yet.
        return Refusal.SESSION if session_used() else None

    def store(self, exchange: Exchange, response: Response) -> Refusal | None:
        """Store a response, or tell why not; give it an entity tag in either case."""
        lines = response.headers.to_wsgi_list()
        fields = combine(lines)
        if "x-cache" in fields:
            # Said by a cache that the view asked.
            response.headers.remove("X-Cache")
        if response.direct_passthrough or response.is_streamed:
            return Refusal.STREAMED
        config, environ, now = exchange.resources.config, exchange.environ, time.time()
        status = response.status_code
        found = rules.policy(
            status,
            fields,
            now,
            delay=now - exchange.started,
            targets=config.targeted_fields,
            default=config.default_expiration_seconds,
        )
        refused = rules.refusal(
            status,
            fields,
            found,
            now,
            authorized="HTTP_AUTHORIZATION" in environ,
            cookies=config.store_set_cookie,
        )
        body = response.get_data()
        own_etag = "etag" in fields
        if config.etags and self.can_set_etag(response, fields):
            fields["etag"] = self.set_etag(response, body)
            lines.append(("ETag", fields["etag"]))
        if exchange.method == "HEAD" and exchange.outcome != FRESHENED:
            refused = Refusal.METHOD
        if refused := refused or self.should_store(exchange):
            return refused
        if len(body) > config.max_body_bytes:
            return Refusal.SIZE
        if "location" in fields or "content-location" in fields:
            # Made fit for the wire, which the fast path relies on.
            lines = response.get_wsgi_headers(environ).to_wsgi_list()
        elif "content-length" not in fields:
            lines.append(("Content-Length", str(len(body))))
        entry = rules.make_entry(
            response.status,
            lines,
            body,
            fields,
            found,
            started=exchange.started,
            own_etag=own_etag,
            vary=selection(found.vary or (), environ),
        )
        kept = exchange.resources.keep(exchange.key, entry, now)
        return None if kept else Refusal.NOT_KEPT

    def validated(
        self, exchange: Exchange, entry: Entry, response: Response
    ) -> Response:
        """Return what the view's answer and the stale stored response amount to."""
        exchange.restore_conditions()
        if response.status_code == 304 and entry.validator:
            exchange.outcome = FRESHENED
            return merged(entry, response)
        grace = exchange.resources.config.stale_on_error
        failed = response.status_code in rules.ERRORS
        if failed and rules.stands_in(entry, time.time(), grace):
            exchange.outcome += f"; fwd-status={response.status_code}; detail=error"
            exchange.stands_in = True
            return restored(entry, time.time())
        return response

    def after_unsafe(self, exchange: Exchange, response: Response) -> Response:
        """Invalidate what an unsafe request changed (RFC 9111, section 4.4)."""
        exchange.outcome = "fwd=method"
        response.headers.remove("X-Cache")
        if exchange.method in ("OPTIONS", "TRACE"):
            return mark(exchange, response, "miss")
        if 200 <= response.status_code < 400:
            self.invalidate(exchange, response)
            if self.answers_get(exchange, response):
                # Made after the purge, and about the resource that GET asks for.
                exchange.started = time.time() + 1e-6
                if self.store(exchange, response) is None:
                    exchange.outcome += "; stored"
        return mark(exchange, response, "miss")

    def invalidate(self, exchange: Exchange, response: Response) -> None:
        """Purge the target of an unsafe request, and what its response points to."""
        resources = exchange.resources
        resources.purge(exchange.key)
        base = get_current_url(exchange.environ, strip_querystring=True)
        for name in ("Location", "Content-Location"):
            if value := response.headers.get(name):
                url = urljoin(base, value)
                if urlsplit(url)[:2] == urlsplit(base)[:2]:
                    resources.purge(resources.url_key(url))
        groups = response.headers.get("Cache-Group-Invalidation", "")
        for group in structured_strings(groups):
            resources.purge_tag(group)

    def answers_get(self, exchange: Exchange, response: Response) -> bool:
        """Tell whether a response to POST may answer GET (RFC 9110, section 9.3.3)."""
        location = response.headers.get("Content-Location")
        if exchange.method != "POST" or location is None:
            return False
        headers = response.headers
        said = terms(headers.get("Cache-Control", ""))
        explicit = said.lifetime is not None or "Expires" in headers
        url = urljoin(get_current_url(exchange.environ), location)
        return explicit and exchange.resources.url_key(url) == exchange.key


#: What Cache-Status says after a 304 of the view.
FRESHENED = "fwd=stale; fwd-status=304"


def restored(entry: Entry, now: float) -> Response:
    """Return a stored response with its age."""
    lines = [*entry.headers, ("Age", str(max(0, int(now - entry.born))))]
    return ready(entry.status, lines, entry.body)


def ready(status: str, lines: list[tuple[str, str]], body: bytes) -> Response:
    """Return a response whose fields were checked when they were stored."""
    headers = Headers()
    headers._list = lines
    return current_app.response_class([body] if body else None, status, headers)


def merged(entry: Entry, response: Response) -> Response:
    """Return a stored response freshened by a 304 (RFC 9111, section 4.3.4)."""
    lines = rules.freshened(entry, _dated(response.headers))
    if not entry.own_etag:
        lines = [line for line in lines if line[0].lower() != "etag"]
    return current_app.response_class(entry.body, entry.status, Headers(lines))


def mark(exchange: Exchange, response: Response, counted: str) -> Response:
    """Say in a response what the cache did (RFC 9211)."""
    resources = exchange.resources
    resources.count(counted)
    collapsed = "; collapsed" if exchange.collapsed else ""
    said = f"{resources.config.cache_name}; {exchange.outcome}{collapsed}"
    lines = response.headers._list
    lines.append(("Cache-Status", said))
    lines.append(("X-Cache", "miss" if counted == "miss" else "hit"))
    return response


def session_used() -> bool:
    """Tell whether the view read or changed the session."""
    # The session proxy would count as an access itself. Where there is no session to
    # be found, it may have been used.
    context = request_ctx._get_current_object()  # type: ignore[attr-defined]
    session = getattr(context, "_session", None)
    return session is None or session.accessed or session.modified


def _dated(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the lines of a 304, with a Date if need be: the stored one is of old."""
    dated = list(lines)
    if not any(name.lower() == "date" for name, _ in dated):
        dated.append(("Date", http_date()))
    return dated
