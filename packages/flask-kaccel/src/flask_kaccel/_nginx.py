"""The nginx configuration that belongs to an app's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from ._files import Location
from ._headers import Rule
from .exceptions import InvalidValueError


SECRET_HEADER = "X-Kaccel-Secret"  # noqa: S105 - the name of a header
#: A socket's path may be part of it, but nginx would put any other before each path.
UPSTREAM_URL = re.compile(r"https?://([\w.:\[\]-]+|unix:/[\w./-]+)", re.ASCII)
UPSTREAM = Rule(
    lambda value: UPSTREAM_URL.fullmatch(value) is not None,
    "give the URL at which the app listens, such as 'http://127.0.0.1:8000' or "
    "'http://unix:/run/app.sock', without a path and without a slash at the end",
)
#: What nginx drops from the app's response when it sends the file.
DROPPED = (
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Content-Language",
    "Content-Security-Policy",
    "Content-Security-Policy-Report-Only",
    "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Link",
    "Permissions-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "Timing-Allow-Origin",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Robots-Tag",
)
#: What an object store says that is not for the client.
STORE_HEADERS = (
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amz-server-side-encryption",
    "x-amz-version-id",
    "x-amzn-requestid",
)


def files_location(location: Location) -> str:
    """Return the block that sends the files of a directory."""
    return _block(
        location.prefix,
        "internal",
        f"alias {quoted(location.source)}",
        # A directory that has taken a file's place would be redirected to, by its
        # internal name.
        "try_files $uri =404",
        *(_add(name, "upstream_http") for name in DROPPED),
    )


def store_location(location: Location) -> str:
    """Return the block that fetches objects by URLs that the app has signed."""
    url = urlsplit(location.source)
    # A store has its own rules on who may read it from another origin.
    kept = [name for name in DROPPED if not name.startswith("Access-Control-")]
    tls = ("proxy_ssl_server_name on", f"proxy_ssl_name {url.hostname}")
    return _block(
        location.prefix,
        "internal",
        # The variables soon mean what the store has sent.
        *(
            f"set {_variable(name, 'app')} {_variable(name, 'upstream_http')}"
            for name in kept
        ),
        f"proxy_pass {quoted(location.source)}",
        # The signature covers the host and the method.
        f"proxy_set_header Host {url.netloc}",
        "proxy_method GET",
        "proxy_pass_request_body off",
        'proxy_set_header Content-Length ""',
        'proxy_set_header Authorization ""',
        'proxy_set_header Cookie ""',
        f'proxy_set_header {SECRET_HEADER} ""',
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        *(tls if url.scheme == "https" else ()),
        # A large object would be written to nginx's disk first.
        "proxy_max_temp_file_size 0",
        *(f"proxy_hide_header {name}" for name in STORE_HEADERS),
        *(_add(name, "app") for name in kept),
    )


def app_location(upstream: str, secret: str | None) -> str:
    """Return the block that passes everything else to the app.

    :param upstream: the URL at which the app listens.
    """
    UPSTREAM.check("upstream", upstream)
    return _block(
        "/",
        f"proxy_pass {quoted(upstream)}",
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        "proxy_set_header Host $http_host",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for",
        "proxy_set_header X-Forwarded-Proto $scheme",
        # Without a secret too, so that nothing that a client sends goes through.
        f'proxy_set_header {SECRET_HEADER} "{secret or ""}"',
    )


def locations_text(locations: Iterable[Location]) -> str:
    """Return the blocks of all locations that have a prefix."""
    return "\n".join(
        store_location(it) if it.is_store else files_location(it)
        for it in locations
        if it.prefix
    )


def quoted(value: str) -> str:
    """Return a value as nginx reads it back.

    :raises InvalidValueError: nginx has no way to write it.
    """
    if "$" in value or not value.isprintable():
        raise InvalidValueError(
            "path", value, "rename it: nginx cannot have '$' or control characters"
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _variable(header: str, kind: str) -> str:
    return f"${kind}_{header.lower().replace('-', '_')}"


def _add(header: str, kind: str) -> str:
    return f"add_header {header} {_variable(header, kind)} always"


def _block(prefix: str | None, *directives: str) -> str:
    # "^~": no regular expression, such as one for PHP, gets the files in its hands.
    modifier = "" if prefix == "/" else "^~ "
    lines = "".join(f"    {it};\n" for it in directives)
    return f"location {modifier}{prefix} {{\n{lines}}}\n"
