"""Rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import chain
from itertools import islice
from numbers import Number
from operator import itemgetter
from typing import Any
from typing import TypeAlias


#: What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"): the
#: full-width signs count where the user types Chinese, Japanese or Korean.
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
BOM = "\ufeff"

#: What makes a line of a row.
Line: TypeAlias = Callable[[Iterable[Any]], str]


class Echo:
    """A file for the CSV writer, whose ``writerow`` then returns the line."""

    write = staticmethod(str)


def csv_parts(
    rows: Iterable[Any],
    header: Sequence[object] | None = None,
    *,
    escape_formulas: bool = False,
    bom: bool = False,
    **fmtparams: Any,
) -> Iterator[Any]:
    """Write rows as CSV: text, or bytes where the rows are.

    :param rows: sequences of cells; or mappings, of which `header` (or the first
        one) names the keys; or blocks of bytes that are CSV already.
    :param header: the first line.
    :param escape_formulas: put ``'`` before text that a spreadsheet would execute.
    :param bom: start with a byte order mark, by which Excel knows UTF-8.
    :param fmtparams: what :func:`csv.writer` takes.
    """
    write: Line = csv.writer(Echo(), **fmtparams).writerow
    if not escape_formulas:
        return _parts(rows, header, write, bom)
    return _parts(rows, header, lambda row: write(escaped(row)), bom)


def _parts(
    rows: Iterable[Any], header: Sequence[object] | None, line: Line, bom: bool
) -> Iterator[Any]:
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    rows = chain(first, iterator)
    if first:
        check_row(first[0])
        if isinstance(first[0], Mapping):
            header = list(first[0]) if header is None else header
            rows = map(columns(header), rows)
    head = (BOM if bom else "") + ("" if header is None else line(header))
    if first and isinstance(first[0], (bytes, bytearray, memoryview)):
        yield head.encode()
        yield from map(bytes, rows)
    else:
        yield head
        yield from map(line, rows)


def check_row(row: object) -> None:
    """Refuse what the CSV writer would take apart letter by letter."""
    if isinstance(row, str):
        raise TypeError(
            f"A row is the text {row[:40]!r}: pass cells, mappings or bytes"
        )


def columns(names: Sequence[Any]) -> Callable[[Mapping[Any, Any]], tuple[Any, ...]]:
    """Return a function that takes a mapping's values in the order of the names."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)


def escaped(row: Iterable[object]) -> list[object]:
    """Put ``'`` before the cells that a spreadsheet would execute."""
    # By what is written: a path, or a text that is translated late, is no `str`.
    return [
        f"'{cell}"
        if not isinstance(cell, Number) and str(cell).startswith(FORMULA_STARTS)
        else cell
        for cell in row
    ]
