"""The record of what a client was sent."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_firehose.tracker import MAX_BYTES
from flask_firehose.tracker import MAX_URL
from flask_firehose.tracker import pack
from flask_firehose.tracker import replaced
from flask_firehose.tracker import unpack


NOW = 1_800_000_000


def test_round_trip() -> None:
    """What was sent comes back, with commas and times."""
    sent = {NOW - 9: ["/a,b.css", "/c"], NOW: ["https://cdn.example/d"]}
    record = f"{NOW - 9} /a,b.css /c|{NOW} https://cdn.example/d"
    assert pack(sent) == record
    assert unpack(record, 0) == sent


def test_expiry() -> None:
    """What is too old is forgotten."""
    assert unpack(f"{NOW - 9} /a|{NOW} /b", NOW - 5) == {NOW: ["/b"]}


@pytest.mark.parametrize(
    "record", [None, "", "/a,/b", 5, {}, [[5, "/a"]], "|", "5", "x /a"], ids=repr
)
def test_foreign(record: object) -> None:
    """What is no record is taken for nothing."""
    assert not any(unpack(record, 0).values())


def test_oldest_go() -> None:
    """The latest that fit stay."""
    sent = {NOW + page: [f"/{page:02}{n}.css" for n in range(5)] for page in range(20)}
    kept = [url for urls in unpack(pack(sent), 0).values() for url in urls]
    assert kept == [url for urls in sent.values() for url in urls][-len(kept) :]
    assert len(kept) > 40


def test_replaced() -> None:
    """What is new is added, what is gone is dropped, the rest keeps its time."""
    sent = {NOW - 9: ["/a", "/b"], NOW: ["/c"]}
    assert replaced(sent, {"/b", "/c", "/d"}, NOW) == {
        NOW - 9: ["/b"],
        NOW: ["/c", "/d"],
    }


def test_long() -> None:
    """A URL that would cost many others their place has none."""
    sent = {NOW - 9: ["/a" * 100], NOW: ["/b" * 100, "/c" * 200]}
    assert unpack(pack(sent), 0) == {NOW - 9: ["/a" * 100], NOW: ["/b" * 100]}


URLS = st.lists(st.text(max_size=MAX_URL // 13).map(lambda name: f"/{quote(name)}"))


@given(st.dictionaries(st.integers(NOW, NOW + 99), URLS))
def test_bounded(sent: dict[int, list[str]]) -> None:
    """Whatever was sent, the record is short and holds the latest."""
    record = pack(sent)
    assert len(record) <= MAX_BYTES
    urls = [url for urls in sent.values() for url in urls]
    kept = [url for urls in unpack(record, 0).values() for url in urls]
    assert kept == urls[len(urls) - len(kept) :]
