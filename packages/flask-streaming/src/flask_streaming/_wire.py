"""The connection below a response: has the client left, and how to say "broken".

Both are asked of the C library, on Linux: Python's own sockets carry a timeout, and
gevent replaces them, and ``select.poll``, by some that would wait.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    import ctypes

#: The C structure ``pollfd``, and the event that the peer has closed its sending half.
POLLFD = struct.Struct("ihh")
POLLRDHUP = 0x2000
#: An address of the family ``AF_UNSPEC``.
UNSPECIFIED = bytes(16)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the C library of Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    return ctypes.CDLL(None)


def descriptor(environ: Mapping[str, Any]) -> int:
    """Return the descriptor of the client's connection, or -1 where it is unknown."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if connection is None:
        # waitress shows a method of its channel, which has the socket.
        probe = environ.get("waitress.client_disconnected")
        connection = getattr(getattr(probe, "__self__", None), "socket", None)
    if connection is not None:
        return int(connection.fileno())
    if "uwsgi.version" in environ:
        try:
            return int(sys.modules["uwsgi"].connection_fd())
        except SystemError:
            # It answers in its own threads alone, not in one that reads events.
            return -1
    return -1


def disconnected(environ: Mapping[str, Any]) -> bool | None:
    """Tell whether the client left; None where it cannot be known.

    A client that has closed only its sending half counts as gone, as it does for
    nginx.
    """
    number = descriptor(environ)
    libc = library()
    if number < 0 or libc is None:
        return None
    import ctypes

    # Not by recv: what waits to be read, such as the farewell of TLS, would hide that
    # nothing follows.
    asked = ctypes.create_string_buffer(POLLFD.pack(number, POLLRDHUP, 0))
    return bool(libc.poll(asked, 1, 0) > 0)


def ends_by_close(environ: Mapping[str, Any]) -> bool:
    """Tell whether the client takes an orderly close for the end of the body.

    HTTP/1.0 has no chunks, and uWSGI does not send any. Werkzeug's server sends none
    either where it has one thread, and its debugger ends a failed body in good order.
    """
    return (
        environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        or "uwsgi.version" in environ
        or "werkzeug.socket" in environ
    )


def reset(environ: Mapping[str, Any]) -> bool:
    """Drop the connection with a TCP reset, whatever the server does afterwards.

    Linux does so at a ``connect()`` to an address without a family.

    :return: whether it was done.
    """
    number = descriptor(environ)
    libc = library()
    if number < 0 or libc is None:
        return False
    return bool(libc.connect(number, UNSPECIFIED, len(UNSPECIFIED)) == 0)
