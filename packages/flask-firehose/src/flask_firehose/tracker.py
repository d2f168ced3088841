"""Remember, in little space, what a client was sent.

The record is one string, since a session is written item by item: groups joined by
``|``, the oldest first, each the seconds of the time and the URLs, joined by spaces.
Neither character is in a percent-encoded URL.
"""

from __future__ import annotations

from functools import lru_cache


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
        seconds, _, urls = group.partition(" ")
        if seconds.isdecimal() and int(seconds) >= oldest:
            sent[int(seconds)] = list(_split(urls))
    return sent


@lru_cache(maxsize=256)
def _split(urls: str) -> tuple[str, ...]:
    """Return the URLs of a group, which are mostly those of a page's visitors."""
    return tuple(urls.split())


def pack(sent: Sent) -> str:
    """Return the record of what was sent, without the oldest that do not fit."""
    record = _joined(sent)
    if len(record) > MAX_BYTES:
        sent = {at: [url for url in sent[at] if len(url) <= MAX_URL] for at in sent}
        record = _joined(sent)
    while len(record) > MAX_BYTES:
        oldest = next(at for at in sent if sent[at])
        del sent[oldest][0]
        record = _joined(sent)
    return record


def _joined(sent: Sent) -> str:
    return "|".join([f"{at} {' '.join(urls)}" for at, urls in sent.items() if urls])


def replaced(sent: Sent, urls: set[str], now: int) -> Sent:
    """Return what was sent when the URLs are those that were, until now."""
    kept = {at: [url for url in sent[at] if url in urls] for at in sent}
    kept.setdefault(now, []).extend(urls.difference(*sent.values()))
    return kept
