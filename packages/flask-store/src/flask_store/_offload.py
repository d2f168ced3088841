"""Keep what blocks on a disk away from gevent's hub.

A server that gevent has patched runs all its requests on one thread. Waiting for a disk
blocks that thread, so such calls go to the hub's native threads. Under any other server
they are plain calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from typing import ParamSpec
from typing import TypeVar


P = ParamSpec("P")
R = TypeVar("R")


def patched() -> bool:
    """Return whether gevent has patched this process."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def off_the_hub(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call, without keeping gevent's hub from its other greenlets.

    :param call: uses no socket, as those belong to the hub's thread.
    """
    if not patched():
        return call(*args, **kwargs)
    from gevent import get_hub

    def caught() -> tuple[Any, BaseException | None]:
        # gevent prints what its threads raise.
        try:
            return call(*args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - it is raised below
            return None, error

    result, error = get_hub().threadpool.apply(caught)
    if error is not None:
        raise error
    made: R = result
    return made
