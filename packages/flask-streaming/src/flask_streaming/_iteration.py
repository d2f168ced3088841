"""Iterables of every kind as what a WSGI server can iterate.

An async iterable is driven by an event loop of its own, in the thread that sends the
response: one run of the loop per item. The loop starts with the first item, after the
view, and ends with the stream, so an object that belongs to another loop, such as a
client that the view has used already, cannot be awaited in it. Tasks that the iterable
starts only make progress while an item is awaited.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from typing import TypeVar

from .exceptions import StreamingError


T = TypeVar("T")


def iterated(name: str, items: Iterable[T] | AsyncIterable[T]) -> Iterable[T]:
    """Return an iterable as it is, and an async one as an iterator.

    :param name: the argument, for the error.
    :raises TypeError: for what is neither, and for text and bytes, which would be
        taken apart.
    :raises StreamingError: for an async iterable where gevent has patched the process.
    """
    if isinstance(items, AsyncIterable):
        if _is_patched():
            raise StreamingError(
                f"{name} is an async iterable, and gevent cannot run an event loop: "
                "pass an iterable, or use gunicorn's gthread worker"
            )
        return AsyncItems(items)
    if isinstance(items, (str, bytes, bytearray, memoryview)) or not isinstance(
        items, Iterable
    ):
        raise TypeError(f"{name} is {repr(items)[:40]}: pass an iterable of its items")
    return items


def can_start(*sources: object) -> bool:
    """Return whether items can be taken now.

    An async view runs in an event loop, and a thread can run no second one.
    """
    if not any(isinstance(source, AsyncItems) for source in sources):
        return True
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return False
    return True


def _is_patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


class AsyncItems(Iterator[Any]):
    """An async iterable, item by item."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._items = items
        self._iterator: Any = None
        self._runner: asyncio.Runner | None = None

    def __next__(self) -> Any:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._iterator = aiter(self._items)
        try:
            return self._runner.run(self._anext())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _anext(self) -> Any:
        return await anext(self._iterator)

    def close(self) -> None:
        """Close the iterable, and the loop with what still runs in it."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        with runner:
            aclose = getattr(self._iterator, "aclose", None)
            if aclose is not None:
                runner.run(_awaited(aclose))


async def _awaited(function: Any) -> None:
    await function()
