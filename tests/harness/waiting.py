"""Wait for what is to come, never for a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


#: Whether LONG_TESTS asks for the long form of tests that repeat things at random.
LONG = bool(os.environ.get("LONG_TESTS"))
#: Seconds: far more than anything takes, on a machine that is busy too.
WAIT = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition.

    :param what: what the failure says, such as ``"it is not sent"``.
    """
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
