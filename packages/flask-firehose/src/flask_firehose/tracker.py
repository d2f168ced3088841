"""Remember, in little space, what a client was sent.

The record is a list of groups, ``[seconds, url, url, …]``, the oldest first, so
that the time is written once for all the links of a page.
"""

from __future__ import annotations

import json


#: The longest record, as JSON. In base 64, with its key and the signature of a
#: session that held nothing else, it lengthens a cookie by less than 1 KiB.
MAX_BYTES = 700
#: The brackets, the commas and the ten digits of a group's time.
GROUP_BYTES = 14


def unpack(record: object, oldest: int) -> dict[str, int]:
    """Return when each URL was sent, the oldest first.

    What is not a record, as an earlier version or a foreign app may have left it,
    is taken for nothing.

    :param oldest: the time in seconds before which an entry has expired.
    """
    return {
        url: group[0]
        for group in (record if isinstance(record, list) else ())
        if isinstance(group, list) and group and isinstance(group[0], int)
        if group[0] >= oldest
        for url in group[1:]
        if isinstance(url, str)
    }


def pack(sent: dict[str, int]) -> list[list[int | str]]:
    """Return the record of what was sent, without the oldest that do not fit.

    :param sent: when each URL was sent, the oldest first.
    """
    groups: list[list[int | str]] = []
    room = MAX_BYTES
    for url, seconds in reversed(sent.items()):
        starts = not groups or groups[-1][0] != seconds
        size = len(json.dumps(url)) + 1
        if size + GROUP_BYTES > MAX_BYTES:
            continue
        size += starts * GROUP_BYTES
        if size > room:
            break
        if starts:
            groups.append([seconds])
        groups[-1].append(url)
        room -= size
    return [[group[0], *group[:0:-1]] for group in reversed(groups)]
