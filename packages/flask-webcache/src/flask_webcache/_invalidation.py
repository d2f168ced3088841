"""Purges after an unsafe request: of its target, and of what its response points to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin
from urllib.parse import urlsplit

from werkzeug.wsgi import get_current_url

from ._rules.control import terms
from ._rules.fields import structured_strings


if TYPE_CHECKING:
    from flask import Response

    from ._exchange import Exchange


class Invalidation:
    """Purges after unsafe requests. Override a method to change one decision."""

    def should_invalidate(self, exchange: Exchange, response: Response) -> bool:
        """Return whether a response means that something changed (RFC 9111, 4.4)."""
        unsafe = exchange.method not in ("OPTIONS", "TRACE")
        return unsafe and 200 <= response.status_code < 400

    def invalidate(
        self, exchange: Exchange, response: Response, *, renew: bool = False
    ) -> bool:
        """Purge the target of an unsafe request, and what its response points to.

        :param renew: make another generation of the target at once.
        :return: whether nothing else purged the target since the request began.
        """
        cache = exchange.cache
        base = get_current_url(exchange.environ, strip_querystring=True)
        for name in ("Location", "Content-Location"):
            if value := response.headers.get(name):
                url = urljoin(base, value)
                if urlsplit(url)[:2] == urlsplit(base)[:2]:
                    key = cache.url_key(url)
                    if not renew or key != exchange.key:
                        cache.purge_key(key)
        groups = response.headers.get("Cache-Group-Invalidation", "")
        for group in structured_strings(groups):
            cache.purge_tag(group)
        if renew:
            return cache.stock.renew(exchange.found)
        cache.purge_key(exchange.key)
        return False

    def answers_get(self, exchange: Exchange, response: Response) -> bool:
        """Return whether a POST's response may answer GET (RFC 9110, section 9.3.3)."""
        location = response.headers.get("Content-Location")
        if exchange.method != "POST" or location is None:
            return False
        headers = response.headers
        said = terms(headers.get("Cache-Control", ""))
        explicit = said.lifetime is not None or "Expires" in headers
        url = urljoin(get_current_url(exchange.environ), location)
        return explicit and exchange.cache.url_key(url) == exchange.key
