"""The connection below a response: has the client left, and how to say "broken".

Both are asked of the C library, on Linux: Python's own sockets carry a timeout, and
gevent replaces them, and ``select.poll``, by some that would wait.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    import ctypes

#: The C structure ``pollfd``, and the event that the peer has closed its sending half.
POLLFD = struct.Struct("ihh")
POLLRDHUP = 0x2000
#: An address of the family ``AF_UNSPEC``.
UNSPECIFIED = bytes(16)
#: Of Linux, the same everywhere.
SOL_SOCKET, SO_ACCEPTCONN, IPPROTO_TCP, TCP_INFO, AF_UNIX = 1, 30, 6, 11, 1
#: Up to ``tcpi_bytes_retrans``; and more than any address is long.
TCP_INFO_SIZE, ADDRESS_SIZE = 216, 128
#: ``MSG_DONTWAIT`` and ``MSG_NOSIGNAL``.
DONTWAIT = 0x40 | 0x4000


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
    """Return whether the client left; None where it cannot be known.

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
    """Return whether the client takes an orderly close for the end of the body.

    HTTP/1.0 has no chunks, and uWSGI does not send any. Werkzeug's server sends none
    either where it has one thread, and its debugger ends a failed body in good order.
    """
    return (
        environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        or "uwsgi.version" in environ
        or "werkzeug.socket" in environ
    )


def shows_failure(environ: Mapping[str, Any]) -> bool:
    """Return whether a body of unknown length that breaks can be told from a whole one.

    Granian, which writes by itself, ends both in the same way. A connection that is
    not shown, or a Unix socket, cannot be reset.
    """
    if environ.get("SERVER_SOFTWARE") == "Granian":
        return False
    if not ends_by_close(environ):
        return True
    number = descriptor(environ)
    found = address(number) if number >= 0 else b""
    return bool(found) and struct.unpack_from("H", found) != (AF_UNIX,)


def address(number: int) -> bytes:
    """Return the address of a socket as the kernel writes it, or nothing."""
    libc = library()
    if libc is None:
        return b""
    import ctypes

    answer = ctypes.create_string_buffer(ADDRESS_SIZE)
    size = ctypes.c_uint(ADDRESS_SIZE)
    if libc.getsockname(number, answer, ctypes.byref(size)) != 0:
        return b""
    return answer.raw[: size.value]


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


def gone(numbers: Sequence[int]) -> list[int]:
    """Return the indexes of descriptors whose clients left; -1 is none of them."""
    libc = library()
    if libc is None or not numbers:
        return []
    import ctypes

    # A negative descriptor is passed over by poll.
    table = b"".join([POLLFD.pack(number, POLLRDHUP, 0) for number in numbers])
    asked = ctypes.create_string_buffer(table, len(table))
    if libc.poll(asked, len(numbers), 0) <= 0:
        return []
    answers = POLLFD.iter_unpack(asked.raw)
    return [index for index, (_, _, events) in enumerate(answers) if events]


@functools.lru_cache(maxsize=4)
def chunk(block: bytes) -> bytes:
    """Return a block as a chunk (RFC 9112, section 7.1). Many get the same one."""
    return b"%X\r\n%b\r\n" % (len(block), block)


def may_write(environ: Mapping[str, Any]) -> bool:
    """Return whether the server writes each block at once, to a socket that it shows.

    waitress and uWSGI write in other threads, or from buffers.
    """
    shown = "gunicorn.socket" in environ or "werkzeug.socket" in environ
    version = environ.get("SERVER_PROTOCOL")
    return shown and version in {"HTTP/1.0", "HTTP/1.1"} and library() is not None


def sent(number: int) -> int | None:
    """Return how many bytes the kernel has taken for a TCP connection.

    Not counted before Linux 4.19, and not for other sockets: None.
    """
    libc = library()
    if libc is None:
        return None
    import ctypes

    answer = ctypes.create_string_buffer(TCP_INFO_SIZE)
    size = ctypes.c_uint(TCP_INFO_SIZE)
    if libc.getsockopt(number, IPPROTO_TCP, TCP_INFO, answer, ctypes.byref(size)) != 0:
        return None
    if size.value < TCP_INFO_SIZE:
        return None
    (unsent,) = struct.unpack_from("I", answer, 144)
    written, repeated = struct.unpack_from("QQ", answer, 200)
    return int(written - repeated + unsent)


@functools.cache
def _send() -> Any:
    """Return the C function that writes to a socket.

    It does not wait, so it may keep the interpreter's lock.
    """
    import ctypes

    function = ctypes.PyDLL(None).send
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = ctypes.c_ssize_t
    return function


def write(number: int, data: bytes) -> int:
    """Write what a socket takes without waiting and return how much that is."""
    written: int = _send()(number, data, len(data), DONTWAIT)
    return max(0, written)


def write_all(environ: Mapping[str, Any], data: bytes) -> None:
    """Write to the client's connection, waiting as the server's own sockets do."""
    connection = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
    connection.sendall(data)


def end_requests(number: int) -> None:
    """Let the server read an end after the current request, so that it closes.

    A server that stops would wait for the next request of a connection kept alive.
    """
    libc = library()
    if libc is not None and number >= 0:
        libc.shutdown(number, 0)
