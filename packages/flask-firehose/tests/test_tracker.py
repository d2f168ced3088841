"""The record of what a client was sent."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_firehose._tracker import MAX_BYTES
from flask_firehose._tracker import MAX_URL
from flask_firehose._tracker import Sent
from flask_firehose._tracker import pack
from flask_firehose._tracker import replaced
from flask_firehose._tracker import unpack


NOW = 1_800_000_000


def test_round_trip() -> None:
    """What was sent comes back, with commas and times."""
    sent = {
        NOW - 9: frozenset({"/a,b.css", "/a,c.css", "/d"}),
        NOW: frozenset({"https://cdn.example/d"}),
    }
    record = f"{NOW - 9} 00/a,b.css 34c 10d|{NOW} 00https://cdn.example/d"
    assert pack(sent) == record
    assert unpack(record, 0) == sent


def test_expiry() -> None:
    """What is too old is forgotten."""
    assert unpack(f"{NOW - 9} 00/a|{NOW} 00/b", NOW - 5) == {NOW: {"/b"}}


@pytest.mark.parametrize(
    "record", [None, "", "/a,/b", 5, {}, [[5, "/a"]], "|", "5", "x 00/a"], ids=repr
)
def test_foreign(record: object) -> None:
    """What is no record is taken for nothing."""
    assert not any(unpack(record, 0).values())


@given(st.text("0159aZ/.ä |", max_size=40))
def test_broken(text: str) -> None:
    """A record that nobody wrote gives strings, or nothing, and never an error."""
    urls = [url for urls in unpack(f"{NOW} {text}", 0).values() for url in urls]
    assert all(" " not in url and "|" not in url for url in urls)


def test_oldest_go() -> None:
    """The latest that fit stay."""
    sent = {
        NOW + page: frozenset(f"/{page:02}{n}.css" for n in range(5))
        for page in range(40)
    }
    assert_the_latest(sent, unpack(pack(sent), 0))
    assert len(frozenset().union(*unpack(pack(sent), 0).values())) > 60


def assert_the_latest(sent: Sent, kept: Sent) -> None:
    """Check that all groups are whole but the oldest of those that are left."""
    times = [at for at in sent if sent[at]]
    assert list(kept) == times[len(times) - len(kept) :]
    for at in list(kept)[1:]:
        assert kept[at] == sent[at]
    for at in list(kept)[:1]:
        assert kept[at] <= sent[at]


def test_replaced() -> None:
    """What is new is added, what is gone is dropped, the rest keeps its time."""
    sent = {NOW - 9: frozenset({"/a", "/b"}), NOW: frozenset({"/c"})}
    assert replaced(sent, {"/b", "/c", "/d"}, NOW) == {
        NOW - 9: {"/b"},
        NOW: {"/c"},
        NOW + 1: {"/d"},
    }


def test_long() -> None:
    """A URL that would cost many others their place has none."""
    sent = {
        NOW - 9: frozenset({"/a" * 100}),
        NOW: frozenset({"/b" * 100, "/c" * 200}),
    }
    assert unpack(pack(sent), 0) == {NOW - 9: {"/a" * 100}, NOW: {"/b" * 100}}


def test_far_alike() -> None:
    """URLs that have more in common than one character can tell come back."""
    urls = frozenset(f"/{'long' * 20}/{number}{'-end' * 20}.css" for number in range(3))
    assert unpack(pack({NOW: urls}), 0) == {NOW: urls}


URLS = st.frozensets(
    st.text(max_size=MAX_URL // 13).map(lambda name: f"/{quote(name)}")
)


@given(st.dictionaries(st.integers(NOW, NOW + 99), URLS))
def test_bounded(sent: Sent) -> None:
    """Whatever was sent, the record is short and holds the latest."""
    record = pack(sent)
    assert len(record) <= MAX_BYTES
    assert_the_latest(sent, unpack(record, 0))
