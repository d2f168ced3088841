"""The one policy for the size of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_streaming import _chunks as chunks
from flask_streaming import buffered
from flask_streaming._chunks import Chunks


class Closing:
    """An iterator that notes that it was closed."""

    def __init__(self, items: Any) -> None:
        self.items = iter(items)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.items)

    def close(self) -> None:
        """Note it."""
        self.closed += 1


def test_chunks_grow() -> None:
    """The first chunk has 1 KiB, each next one twice as much, up to the size."""
    lengths = [len(chunk) for chunk in buffered([b"x" * 100] * 5000, delay=60)]
    assert lengths[:4] == [1100, 2100, 4100, 8200]
    assert max(lengths) == 65600
    assert sum(lengths) == 500_000


@given(
    st.lists(st.text(max_size=3000)),
    st.integers(1, 5000),
    st.sampled_from([0.0, 60.0]),
)
def test_nothing_is_lost(parts: list[str], size: int, delay: float) -> None:
    """The chunks hold the parts, in order, and none is much larger than its goal."""
    result = list(buffered(parts, size, delay))
    assert "".join(result) == "".join(parts)
    if delay:
        assert all(len(chunk) < size + 3000 for chunk in result)


def test_slow_parts_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that comes after the delay takes along what waits."""
    clock = iter([0.0, 0.1, 0.6, 0.6, 0.7])
    monkeypatch.setattr(chunks, "monotonic", lambda: next(clock))
    assert list(buffered(list("abc"), delay=0.5)) == ["ab", "c"]


@pytest.mark.parametrize("wrong", ["abc", b"abc", 3], ids=["text", "bytes", "number"])
def test_iterable_is_checked(wrong: Any) -> None:
    """Text, and objects that are not iterable, are refused at once."""
    with pytest.raises(TypeError, match=f"^iterable is {wrong!r}: pass an iterable"):
        buffered(wrong)


def test_parts_are_checked() -> None:
    """A part that is neither text nor bytes is named."""
    parts: Any = [{"a": 1}]
    with pytest.raises(TypeError, match=r"^A part is {'a': 1}: pass text or bytes"):
        list(buffered(parts))


def test_size_is_checked() -> None:
    """A size below 1 is refused at once."""
    with pytest.raises(ValueError, match="size is 0: set at least 1"):
        buffered([], size=0)


@pytest.mark.parametrize("take", [0, 1, 99], ids=["unstarted", "started", "ended"])
def test_source_is_closed(take: int) -> None:
    """The source is closed, wherever the reader stopped."""
    source = Closing([b"x" * 2000] * 5)
    rows = Closing([])
    stream = Chunks(buffered(source), rows, prime=take > 0)
    assert len(list(islice(stream, take))) == min(take, 3)
    stream.close()
    assert source.closed == rows.closed == 1


def test_early_error_is_raised_early() -> None:
    """An error in the first chunk is raised when the stream is made."""
    source = Closing(1 / number for number in [0])
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        Chunks(buffered(source), prime=True)
    assert source.closed == 1


def test_one_failing_close_does_not_stop_the_others() -> None:
    """All are closed, and the error is not swallowed."""

    class Failing:
        def close(self) -> None:
            raise OSError("no")

    source = Closing([])
    with pytest.raises(OSError, match="no"):
        chunks.close(Failing(), object(), source, source)
    assert source.closed == 1
