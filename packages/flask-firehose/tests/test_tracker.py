"""The record of what a client was sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_firehose.tracker import MAX_BYTES
from flask_firehose.tracker import pack
from flask_firehose.tracker import unpack


NOW = 1_800_000_000


def test_round_trip() -> None:
    """What was sent comes back, with commas and times."""
    sent = {"/a,b.css": NOW - 9, "/é": NOW - 9, "/c": NOW}
    assert pack(sent) == [[NOW - 9, "/a,b.css", "/é"], [NOW, "/c"]]
    assert unpack(pack(sent), 0) == sent


def test_expiry() -> None:
    """What is too old is forgotten."""
    assert unpack([[NOW - 9, "/a"], [NOW, "/b"]], NOW - 5) == {"/b": NOW}


@pytest.mark.parametrize(
    "record",
    [None, "/a,/b", 5, {}, [5], [[]], [["/a"]], [[NOW, 5]], [["x", "/a"]]],
    ids=repr,
)
def test_foreign(record: object) -> None:
    """What is no record is taken for nothing."""
    assert unpack(record, 0) == {}


def test_oldest_go() -> None:
    """The latest that fit stay; one that can never fit does not cost the others."""
    sent = {f"/{number:04}.css": NOW + number for number in range(100)}
    sent["/" + "a" * 1000] = NOW + 100
    kept = unpack(pack(sent), 0)
    assert list(kept) == list(sent)[100 - len(kept) : 100]
    assert len(kept) > 20


@given(st.dictionaries(st.text(), st.integers(NOW, NOW + 9)))
def test_bounded(sent: dict[str, int]) -> None:
    """Whatever was sent, the record stays short."""
    assert len(json.dumps(pack(sent), separators=(",", ":"))) <= MAX_BYTES + 2
