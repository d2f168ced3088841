"""Remember, in little space, what a client was sent.

The record is one string, since a session is written item by item: groups joined by
``|``, the oldest first, each the seconds of the time and the URLs, joined by spaces.
Neither character is in a percent-encoded URL.
"""

from __future__ import annotations

from collections.abc import Collection


#: The longest record. In base 64, with its key and the signature of a session that
#: held nothing else, it lengthens a cookie by less than 1 KiB.
MAX_BYTES = 700
#: A longer URL would cost too many others their place.
MAX_URL = 300

#: The URLs that were sent at a time, in seconds; the oldest first.
Sent = dict[int, list[str]]


def unpack(record: object, oldest: int) -> Sent:
    """Return what a record holds.

    What is not a record, as an earlier version or a foreign app may have left it,
    is taken for nothing.

    :param oldest: the time in seconds before which an entry has expired.
    """
    sent: Sent = {}
    for group in record.split("|") if isinstance(record, str) else ():
        seconds, *urls = group.split(" ")
        if seconds.isdecimal() and int(seconds) >= oldest:
            sent[int(seconds)] = urls
    return sent


def pack(sent: Sent) -> str:
    """Return the record of what was sent, without the oldest that do not fit."""
    groups = [[str(seconds), *urls] for seconds, urls in sent.items() if urls]
    record = "|".join(map(" ".join, groups))
    while len(record) > MAX_BYTES:
        del groups[0][1]
        if len(groups[0]) == 1:
            del groups[0]
        record = "|".join(map(" ".join, groups))
    return record


def replaced(sent: Sent, urls: Collection[str], now: int) -> Sent:
    """Return what was sent when the URLs are those that were, until now."""
    new = set(urls).difference(*sent.values())
    kept = {at: [url for url in group if url in urls] for at, group in sent.items()}
    kept[now] = [*kept.get(now, ()), *sorted(url for url in new if len(url) <= MAX_URL)]
    return kept
