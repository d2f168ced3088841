"""The Caddy configuration that belongs to an app's own."""

from __future__ import annotations

from ._fields import CARRIED
from ._fields import SECRET_HEADER
from ._nginx import quoted
from ._state import State


def caddy_blocks(state: State, upstream: str) -> str:
    """Return the directives of a site that sends the app's files.

    :param upstream: the URL at which the app listens.
    """
    address = upstream.removeprefix("http://").replace("unix:/", "unix//")
    locations = [it for it in state.locations.directories if it.prefix]
    blocks = "".join(
        f"""\
    @kaccel{number} header X-Accel-Redirect {it.prefix}*
    handle_response @kaccel{number} {{
        root * {quoted(it.source)}
        rewrite * {{rp.header.X-Accel-Redirect}}
        uri strip_prefix {it.prefix.rstrip("/") if it.prefix else ""}
        method GET
        copy_response_headers {{
            exclude X-Accel-Redirect Content-Length ETag Last-Modified Date Server
        }}
        file_server
    }}
"""
        for number, it in enumerate(locations)
    )
    errors = "".join(f"    header -{field.name}\n" for field in CARRIED)
    return f"""\
reverse_proxy {address} {{
    header_up {SECRET_HEADER} "{state.config.secret or ""}"
{blocks}}}
handle_errors {{
{errors}    respond {{err.status_code}}
}}
"""
