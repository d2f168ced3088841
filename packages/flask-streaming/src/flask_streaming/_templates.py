"""Templates, item by item under the one chunk policy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from jinja2.environment import TemplateStream as Items

from ._chunks import buffered
from ._chunks import close


class TemplateStream:
    """A template's output: groups of items, joined to chunks.

    :param generator: what the template generates.
    :param prime: make the first chunk now, so that an early error is raised here.
    """

    def __init__(self, generator: Iterator[str], *, prime: bool) -> None:
        self._generator = generator
        self._items = Items(generator)
        self._first: list[str] = []
        self.enable_buffering()
        if prime:
            self._first.extend(islice(self._chunks, 1))

    def enable_buffering(self, size: int = 5) -> None:
        """Join items to groups, and groups to chunks.

        :param size: items of a group, at least 2. A group is what the policy of the
            chunks looks at: it leaves in one piece.
        """
        self._items.enable_buffering(size)
        self._chunks: Iterator[str] = buffered(self._items)

    def disable_buffering(self) -> None:
        """Send each item of the template at once, as a chunk of its own."""
        self._items.disable_buffering()
        self._chunks = self._items

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._first.pop() if self._first else next(self._chunks)

    def close(self) -> None:
        """Stop generating."""
        close(self._chunks, self._generator)
