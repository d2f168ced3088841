"""Keep what blocks away from gevent's hub.

A server that gevent has patched runs all its requests on one thread. Waiting for a disk
blocks that thread, so such calls go to the hub's native threads. A loop over data that
is there already keeps the thread, too: gevent looks for other requests only where one
waits. Each such call is a turn for them. Under any other server all of this is plain
calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from typing import ParamSpec
from typing import TypeVar


P = ParamSpec("P")
R = TypeVar("R")

#: Whether this is one of the hub's native threads, which may block.
_is_native: ContextVar[bool] = ContextVar("flask_store_is_native", default=False)


def patched() -> bool:
    """Return whether gevent has patched this process."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def off_the_hub(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call, without keeping gevent's hub from its other greenlets.

    :param call: uses no socket, as those belong to the hub's thread.
    """
    if not patched() or _is_native.get():
        return call(*args, **kwargs)
    from gevent import get_hub

    def caught() -> tuple[Any, BaseException | None]:
        token = _is_native.set(True)
        # gevent prints what its threads raise.
        try:
            return call(*args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - it is raised below
            return None, error
        finally:
            _is_native.reset(token)

    result, error = get_hub().threadpool.apply(caught)
    if error is not None:
        raise error
    made: R = result
    return made


def take_turns() -> None:
    """Let other requests be answered before a loop goes on."""
    off_the_hub(int)
