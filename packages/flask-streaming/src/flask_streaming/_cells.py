"""Rows of cells as CSV, written as :func:`csv.writer` does, and faster where it can be.

The writer looks at each character. Where the format is the usual one, cells are looked
at by columns instead: most columns hold nothing that needs quotes, and a search finds
that out for many cells at once.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias
from typing import TypedDict
from typing import Unpack
from typing import cast


#: A function that writes rows of cells.
Encode: TypeAlias = Callable[[Sequence[Any]], str]

#: Rows that can be read more than once.
ROWS = frozenset([list, tuple])


class CsvFormat(TypedDict, total=False):
    """Keyword arguments of :func:`csv.writer`."""

    dialect: str | csv.Dialect | type[csv.Dialect]
    delimiter: str
    quotechar: str | None
    escapechar: str | None
    doublequote: bool
    skipinitialspace: bool
    lineterminator: str
    quoting: int
    strict: bool


class Echo:
    """A file for the CSV writer, whose ``writerow`` then returns the line."""

    write = staticmethod(str)


def encoder(**fmtparams: Unpack[CsvFormat]) -> Encode:
    """Return a function that writes rows in a format."""
    writer = csv.writer(Echo(), **cast(Any, fmtparams))

    def by_row(rows: Sequence[Any]) -> str:
        return "".join(map(writer.writerow, rows))

    if not _is_usual(writer.dialect):
        return by_row
    delimiter = writer.dialect.delimiter

    def by_column(rows: Sequence[Any]) -> str:
        if not ROWS.issuperset(map(type, rows)) or len(set(map(len, rows))) != 1:
            return by_row(rows)
        # A lone cell without text needs quotes.
        if len(rows[0]) < 2:
            return by_row(rows)
        columns = [column(cells, delimiter) for cells in zip(*rows, strict=True)]
        lines = map(delimiter.join, zip(*columns, strict=True))
        return "\r\n".join([*lines, ""])

    return by_column


def _is_usual(dialect: Any) -> bool:
    """Return whether a format is that of Excel, perhaps with another delimiter."""
    same = ("quotechar", "escapechar", "skipinitialspace", "lineterminator", "quoting")
    return (
        all(getattr(dialect, name) == getattr(csv.excel, name) for name in same)
        and dialect.doublequote
        and dialect.delimiter in ",;\t|"
    )


def column(cells: Sequence[Any], delimiter: str) -> Sequence[str]:
    """Return cells as they are written."""
    try:
        text = "".join(cells)
    except TypeError:
        cells = [
            cell if isinstance(cell, str) else "" if cell is None else str(cell)
            for cell in cells
        ]
        text = "".join(cells)
    # Searches for one character are the fastest.
    if not (delimiter in text or '"' in text or "\n" in text or "\r" in text):
        return cells
    # Not by the methods of a subclass, such as that of markup.
    return [
        '"' + str.replace(cell, '"', '""') + '"'
        if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell
        else cell
        for cell in cells
    ]
