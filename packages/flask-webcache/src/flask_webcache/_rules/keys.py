"""The key of a resource: its target URI, without room for ambiguity."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote
from urllib.parse import unquote
from urllib.parse import unquote_to_bytes
from urllib.parse import urlsplit


_ESCAPE = re.compile("%[0-9a-fA-F]{2}")
#: What a query may hold as it is, escapes included.
_ASCII = "".join(map(chr, range(33, 127)))
_PORTS = {"http": ":80", "https": ":443"}

#: Between a URL and what the app adds to the key of its responses.
EXTRA = "\x1f"


def of_request(
    environ: Mapping[str, Any], ignored: Sequence[str] = (), ordered: bool = False
) -> str:
    """Return the key of the resource that a request is for.

    :param ignored: patterns of query parameters that make no difference.
    :param ordered: whether the order of query parameters makes no difference.
    """
    query = environ.get("QUERY_STRING", "")
    if query:
        query = normal_query(query, ignored, ordered)
    scheme = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or _server(environ)
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    if "%2" in raw:
        return join(scheme, host, path, query, encoded_slashes(raw))
    return join(scheme, host, path, query)


def reader(
    front: str,
    ignored: Sequence[str],
    ordered: bool,
    extra: Callable[[Mapping[str, Any]], str] | None,
) -> Callable[[Mapping[str, Any]], str]:
    """Return a function from a WSGI environment to the key of its resource.

    :param front: the start of every key.
    :param extra: what an app adds to the key.
    """

    def read(environ: Mapping[str, Any]) -> str:
        key = front + of_request(environ, ignored, ordered)
        return key if extra is None else f"{key}{EXTRA}{extra(environ)}"

    return read


def below(prefixes: tuple[str, ...]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function from a WSGI environment to whether its path has a prefix."""

    def under(environ: Mapping[str, Any]) -> bool:
        path: str = environ.get("PATH_INFO", "")
        return path.startswith(prefixes)

    return under


def of_url(url: str, ignored: Sequence[str] = (), ordered: bool = False) -> str:
    """Return the key of an absolute URL, as a request for it would have it."""
    parts = urlsplit(url)
    host = _ascii_host(parts.netloc.rpartition("@")[2])
    # PATH_INFO is the decoded path with each byte as a character (PEP 3333).
    path = unquote_to_bytes(parts.path or "/").decode("latin-1")
    query = normal_query(quote(parts.query, safe=_ASCII), ignored, ordered)
    return join(parts.scheme, host, path, query, encoded_slashes(parts.path))


def join(scheme: str, host: str, path: str, query: str, raw: str = "") -> str:
    """Join the parts of a target, each with its length, so that none runs on."""
    host = host.lower()
    if host.endswith(_PORTS.get(scheme, ":")):
        host = host.rpartition(":")[0]
    return f"{scheme} {len(host)} {host} {len(path)} {path} {len(query)} {query} {raw}"


def encoded_slashes(uri: str) -> str:
    """Return a path decoded but for its encoded slashes; nothing without any.

    An encoded slash is no slash (RFC 3986, section 2.2), yet decoded paths lose it.
    """
    path = uri.partition("?")[0]
    if "%2f" not in path.lower():
        return ""
    path = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*", "", path)
    parts = re.split("%2f", path, flags=re.IGNORECASE)
    return "%2F".join(unquote(part) for part in parts)


def normal_query(query: str, ignored: Sequence[str], ordered: bool) -> str:
    """Return a query without the parameters that make no difference."""
    if "%" in query:
        # The case of an escape makes no difference (RFC 3986, section 6.2.2.1).
        query = _ESCAPE.sub(lambda match: match[0].upper(), query)
    if not (ignored or ordered):
        return query
    pairs = query.split("&")
    if ignored:
        pairs = [
            pair
            for pair in pairs
            if not any(
                fnmatchcase(unquote(pair.partition("=")[0]), pattern)
                for pattern in ignored
            )
        ]
    if ordered:
        # By name alone: the order of one parameter's values may have a meaning.
        pairs.sort(key=lambda pair: pair.partition("=")[0])
    return "&".join(pairs)


def _ascii_host(host: str) -> str:
    """Return a host as clients send it, with an international name encoded."""
    if host.isascii():
        return host
    name, colon, port = host.partition(":")
    try:
        return name.encode("idna").decode() + colon + port
    except UnicodeError:
        return host


def _server(environ: Mapping[str, Any]) -> str:
    return f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
