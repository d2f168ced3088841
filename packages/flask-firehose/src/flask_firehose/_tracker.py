"""Remember, in little space, what a client was sent.

The record is one string, since a session is written item by item: groups joined by
``|``, the oldest first, each the seconds of the time and the URLs, joined by spaces.
Neither character is in a percent-encoded URL. A URL is written as two characters for
how long it begins and ends like the one before, and what is in between: every
character of a cookie is signed and sent.
"""

from __future__ import annotations

import string
from functools import lru_cache
from functools import reduce
from operator import sub
from os.path import commonprefix


#: The longest record. In base 64, with its key and the signature of a session that
#: held nothing else, it lengthens a cookie by less than 1 KiB.
MAX_BYTES = 700
#: A longer URL would cost too many others their place.
MAX_URL = 300

_LENGTHS = string.digits + string.ascii_letters

#: The URLs that were sent at a time, in seconds; the oldest first.
Sent = dict[int, frozenset[str]]


def unpack(record: object, oldest: int) -> Sent:
    """Return what a record holds.

    What is not a record, as an earlier version or a foreign app may have left it,
    is taken for nothing.

    :param oldest: the time in seconds before which an entry has expired.
    """
    sent: Sent = {}
    if record and isinstance(record, str):
        for group in record.split("|"):
            seconds, _, urls = group.partition(" ")
            if seconds.isdecimal() and (at := int(seconds)) >= oldest:
                sent[at] = _unfolded(urls)
    return sent


def pack(sent: Sent) -> str:
    """Return the record of what was sent, without the oldest that do not fit."""
    record = _joined(sent)
    if len(record) > MAX_BYTES:
        short = (frozenset(filter(_is_short, urls)) for urls in sent.values())
        record = _joined(dict(zip(sent, short, strict=True)))
    while (over := len(record) - MAX_BYTES) > 0:
        oldest, bar, rest = record.partition("|")
        # Each URL of a group needs those before it, so the last ones go.
        kept = oldest[:-over].rpartition(" ")[0]
        record = kept + bar + rest if " " in kept else rest
    return record


def replaced(sent: Sent, urls: set[str], now: int) -> Sent:
    """Return what was sent when the URLs are those that were, until now."""
    kept = {at: sent[at] & urls for at in sent}
    # A group of its own, even within a second: the latest is the last to lose some.
    while now in kept:
        now += 1
    kept[now] = reduce(sub, sent.values(), frozenset(urls))
    return kept


def _is_short(url: str) -> bool:
    return len(url) <= MAX_URL


def _joined(sent: Sent) -> str:
    return "|".join([f"{at} {_folded(urls)}" for at, urls in sent.items() if urls])


# Most visitors of a page are sent the same.
@lru_cache(maxsize=256)
def _folded(urls: frozenset[str]) -> str:
    """Write the URLs of a group."""
    parts, last = [], ""
    for url in sorted(urls):
        begin = _alike(last, url)
        end = _alike(last[begin:][::-1], url[begin:][::-1])
        middle = url[begin : len(url) - end]
        parts.append(_LENGTHS[begin] + _LENGTHS[end] + middle)
        last = url
    return " ".join(parts)


def _alike(one: str, other: str) -> int:
    """Return for how long two strings are alike, as far as one character can tell."""
    begin = commonprefix((one, other))  # noqa: RUF071 - no paths
    return min(len(begin), len(_LENGTHS) - 1)


@lru_cache(maxsize=256)
def _unfolded(group: str) -> frozenset[str]:
    """Read the URLs of a group."""
    urls, last = [], ""
    for part in group.split():
        begin, end = _LENGTHS.find(part[:1]), _LENGTHS.find(part[1:2])
        last = last[:begin] + part[2:] + last[len(last) - end :]
        urls.append(last)
    return frozenset(urls)
