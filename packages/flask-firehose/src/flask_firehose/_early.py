"""When a 103 Early Hints may be sent, and what may be learned from (RFC 8297)."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any


#: What the fields of a personal page contain.
PERSONAL = {
    "set-cookie": ("=",),
    "vary": ("cookie", "authorization", "*"),
    "cache-control": ("private", "no-store"),
}


def may_send(environ: Mapping[str, Any]) -> bool:
    """Return whether the client waits for a page and can be sent a 103.

    RFC 9110, section 15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0
    client". Browsers send ``Sec-Fetch-Mode`` with every navigation; many other
    clients take a 103 for the answer, and then the answer for the next one. A page
    that is fetched ahead has time.
    """
    return (
        environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and "wsgi.early_hints" in environ
        and environ["REQUEST_METHOD"] == "GET"
        and environ.get("SERVER_PROTOCOL", "HTTP/1.0") not in {"HTTP/0.9", "HTTP/1.0"}
        and "HTTP_SEC_PURPOSE" not in environ
    )


def is_shared(cache_control: Iterable[str]) -> bool:
    """Return whether caches may keep a response for everyone (RFC 9111, section 3)."""
    directives = ",".join(cache_control).lower()
    if not directives or "private" in directives or "no-store" in directives:
        return False
    return any(name in directives for name in ("public", "s-maxage", "max-age"))


def is_personal(environ: Mapping[str, Any], headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a page may have been made for one user.

    Flask adds ``Vary: Cookie`` to each page that used its session.

    :param headers: of the complete response.
    """
    if "HTTP_AUTHORIZATION" in environ or "REMOTE_USER" in environ:
        return True
    return any(
        word in value.lower()
        for name, value in headers
        for word in PERSONAL.get(name.lower(), ())
    )
