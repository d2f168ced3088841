"""The server around the application: is it about to stop?

No server tells its application. But most close the sockets at which they listen first,
and then wait for the streams that are open; this is what is looked at everywhere.

gunicorn's gthread worker keeps its sockets open while it waits, and is told to stop in
ways that an application cannot see: a signal that only the main thread may handle, or
``--max-requests``, which sends none. Its worker knows, by its attribute ``alive``.
gunicorn gives it to the hook ``post_worker_init``, from which :func:`watch_worker`
takes it. Where the operator has not set the hook, it is looked for among all objects of
the process, once. Where neither finds it, or ``alive`` is not there any more, the
sockets are all that is looked at.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
from typing import Any

from . import _wire as wire


class Server:
    """The server that accepts the connections of streams, seen from its application."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[tuple[int, int]]] = {}
        self._worker: Any = None
        self._asked = False

    def find(self, connection: int) -> None:
        """Look for the socket that accepted a connection."""
        address = _address(connection) if connection >= 0 else b""
        if not address or self._known.get(address):
            return
        self._known[address] = [
            (number, os.fstat(number).st_ino)
            for number in map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208
            if _listens(number) and _address(number) == address
        ]

    def stopping(self) -> bool:
        """Return whether the server accepts nothing more."""
        if not self._asked:
            self._asked = True
            self._worker = _given.get(os.getpid()) or _find_worker()
        if getattr(self._worker, "alive", True) is False:
            return True
        known = [each for listeners in self._known.values() for each in listeners]
        return bool(known) and not any(_is_open(*each) for each in known)


#: The worker that the hook gave, by process.
_given: dict[int, Any] = {}


def watch_worker(worker: Any) -> None:
    """End live streams when a worker of gunicorn stops.

    Call it in gunicorn's hook ``post_worker_init``. Without it the worker is looked for
    among all objects of the process, at its first live stream.

    :param worker: what the hook is given.
    """
    _given[os.getpid()] = worker


def _find_worker() -> Any:
    """Return gunicorn's worker, if this process is one."""
    base = sys.modules.get("gunicorn.workers.base")
    kind = getattr(base, "Worker", None)
    if kind is None:
        return None
    workers = [it for it in gc.get_objects() if isinstance(it, kind)]
    # The others are left over from the fork.
    return next((it for it in workers if getattr(it, "booted", False)), None)


def _is_open(number: int, inode: int) -> bool:
    try:
        return os.fstat(number).st_ino == inode
    except OSError:
        return False


def _listens(number: int) -> bool:
    libc = wire.library()
    if libc is None:
        return False
    import ctypes

    answer, size = ctypes.c_int(0), ctypes.c_uint(4)
    pointers = ctypes.byref(answer), ctypes.byref(size)
    failed = libc.getsockopt(number, wire.SOL_SOCKET, wire.SO_ACCEPTCONN, *pointers)
    return failed == 0 and answer.value == 1


def _address(number: int) -> bytes:
    """Return what a connection and the socket that accepted it have in common."""
    found = wire.address(number)
    if not found:
        return b""
    (family,) = struct.unpack_from("H", found)
    # The family and the port: the listening socket may have no address of its own.
    # Of a Unix socket, all of the path.
    return found if family == wire.AF_UNIX else found[:4]
