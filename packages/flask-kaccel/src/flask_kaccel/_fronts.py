"""The configuration that each front needs for an app's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from ._caddy import caddy_blocks
from ._fields import SECRET_HEADER
from ._headers import require
from ._nginx import UPSTREAM
from ._nginx import app_location
from ._nginx import check_keep
from ._nginx import files_location
from ._nginx import quoted
from ._state import State
from ._store import StoreOptions
from ._store import store_locations
from .exceptions import InvalidValueError


FrontName = Literal["nginx", "apache", "lighttpd", "caddy"]
#: The value of ``KACCEL_BACKEND`` that each front needs.
BACKENDS: dict[str, str] = {
    "nginx": "nginx",
    "apache": "x-sendfile",
    "lighttpd": "x-sendfile",
    "caddy": "caddy",
}
DEFAULTS = StoreOptions()


def configuration(
    state: State,
    front: FrontName,
    upstream: str | None = None,
    keep: Sequence[str] = (),
    options: StoreOptions = DEFAULTS,
) -> str:
    """Return what the server in front has to be told.

    :param upstream: the URL at which the app listens, for the part that passes every
        other request to it.
    :param keep: fields of the app's own that nginx is to give back.
    :return: an empty text if Flask sends everything.
    :raises InvalidValueError: the front could not be told so.
    """
    if upstream is not None:
        require(UPSTREAM, "upstream", upstream)
    check_keep(keep)
    if front == "nginx":
        return _nginx(state, upstream, keep, options)
    sender = state.config.sender
    if sender != BACKENDS[front]:
        remedy = f"set it to {BACKENDS[front]!r} for {front}"
        raise InvalidValueError("KACCEL_BACKEND", sender, remedy)
    if upstream is None or not upstream.startswith("http://"):
        remedy = "give the URL at which the app listens, which starts with http://"
        raise InvalidValueError("upstream", upstream, remedy)
    return {"apache": _apache, "lighttpd": _lighttpd, "caddy": caddy_blocks}[front](
        state, upstream
    )


def _nginx(
    state: State, upstream: str | None, keep: Sequence[str], options: StoreOptions
) -> str:
    locations = [it for it in state.locations.all if it.prefix]
    stores = [it for it in locations if it.is_store]
    parts = [files_location(it, keep) for it in locations if not it.is_store]
    parts.append(store_locations(stores, keep, options))
    if upstream is not None:
        parts.append(app_location(upstream, state.config.secret))
    return "\n".join(filter(None, parts))


def _apache(state: State, upstream: str) -> str:
    socket = upstream.removeprefix("http://unix:")
    target = f"unix:{socket}|http://localhost" if socket != upstream else upstream
    return "\n".join(
        [
            "XSendFile on",
            *(
                f"XSendFilePath {quoted(it.source)}"
                for it in state.locations.directories
            ),
            "ProxyPreserveHost on",
            'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"',
            f'RequestHeader set {SECRET_HEADER} "{state.config.secret}"'
            if state.config.secret
            else f"RequestHeader unset {SECRET_HEADER}",
            f'ProxyPass "/" "{target}/"',
            "",
        ]
    )


def _lighttpd(state: State, upstream: str) -> str:
    url = urlsplit(upstream)
    if url.netloc == "unix:":
        address = f'"socket" => "{url.path}"'
    else:
        address = f'"host" => "{url.hostname}", "port" => "{url.port or 80}"'
    roots = ", ".join(quoted(it.source) for it in state.locations.directories)
    secret = state.config.secret or ""
    return f"""\
server.modules += ( "mod_proxy", "mod_setenv" )
server.stream-response-body = 1
setenv.set-request-header = ( "{SECRET_HEADER}" => "{secret}" )
proxy.server = ( "/" => (( {address},
    "x-sendfile" => "enable",
    "x-sendfile-docroot" => ( {roots} )
)) )
"""
