"""nginx's access log, read as it is written."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


LONGEST = 65536


def listen(path: Path, said: Callable[[dict[str, Any]], None]) -> None:
    """Read nginx's access log from a Unix socket, in a thread.

    :param said: is given each line, an object with the request's ``id``.
    """
    # A worker that was restarted takes the place of the one before.
    path.unlink(missing_ok=True)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(str(path))
    path.chmod(0o666)

    def read() -> None:
        while True:
            # A line of syslog: what comes before the object is its header.
            _, _, line = log.recv(LONGEST).decode(errors="replace").partition("{")
            said(json.loads("{" + line))

    threading.Thread(target=read, daemon=True).start()
