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
from typing import TypedDict
from typing import Unpack
from typing import cast


#: What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"): the
#: full-width signs count where the user types Chinese, Japanese or Korean.
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
BOM = "\ufeff"

#: A function that returns the line of a row.
Line: TypeAlias = Callable[[Iterable[Any]], str]


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


def csv_parts(
    rows: Iterable[Any],
    header: Sequence[object] | None = None,
    *,
    escape_formulas: bool = False,
    bom: bool = False,
    **fmtparams: Unpack[CsvFormat],
) -> Iterator[Any]:
    """Write rows as CSV: text, or bytes where the rows are.

    :param rows: sequences of cells, mappings, or blocks of bytes that are CSV
        already; one kind throughout. `header` selects the keys of mappings. Without
        one, the first mapping names the keys of all.
    :param header: the first line.
    :param escape_formulas: put ``'`` before text that a spreadsheet would execute.
    :param bom: start with a byte order mark, by which Excel knows UTF-8.
    :param fmtparams: keyword arguments of :func:`csv.writer`.
    :raises TypeError: for a header that is text, an option that the writer does not
        know and, once it comes, a row of another kind.
    :raises ValueError: once it comes, for a mapping with a key that has no column,
        and for options that cannot apply to bytes.
    """
    if isinstance(header, (str, bytes)):
        raise TypeError(f"header is {header!r}: pass a list of names, not text")
    write: Line = csv.writer(Echo(), **cast(Any, fmtparams)).writerow
    # A format may describe what blocks of bytes hold, for the header before them.
    options = [*(["escape_formulas"] * escape_formulas), *(() if header else fmtparams)]
    if escape_formulas:
        return _parts(rows, header, lambda row: write(escaped(row)), bom, options)
    return _parts(rows, header, write, bom, options)


def _parts(
    rows: Iterable[Any],
    header: Sequence[object] | None,
    line: Line,
    bom: bool,
    options: Sequence[str],
) -> Iterator[Any]:
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    kind = kind_of(first[0]) if first else Sequence
    if kind is bytes and options:
        raise ValueError(f"{options[0]} cannot apply to rows of bytes: pass cells")
    rows = of_one_kind(chain(first, iterator), kind)
    if kind is Mapping:
        strict = header is None
        header = list(first[0]) if header is None else header
        rows = map(columns(header, strict=strict), rows)
    head = (BOM if bom else "") + ("" if header is None else line(header))
    if kind is bytes:
        yield head.encode()
        yield from map(bytes, rows)
    else:
        yield head
        yield from map(line, rows)


def kind_of(row: object) -> type:
    """Return what a row is: bytes, a mapping or a sequence of cells."""
    if isinstance(row, (bytes, bytearray, memoryview)):
        return bytes
    if isinstance(row, Mapping):
        return Mapping
    # The CSV writer would take text apart, letter by letter.
    if isinstance(row, str) or not isinstance(row, Iterable):
        name = "the text " if isinstance(row, str) else ""
        shown = repr(row)[:40]
        raise TypeError(f"A row is {name}{shown}: pass cells, mappings or bytes")
    return Sequence


def of_one_kind(rows: Iterable[Any], kind: type) -> Iterator[Any]:
    """Yield rows, and refuse one that is not of the first one's kind."""
    known = None
    for row in rows:
        if type(row) is not known:
            known = type(row)
            if kind_of(row) is not kind:
                raise TypeError(
                    f"A row is a {known.__name__} after rows of another kind: pass "
                    "one kind throughout"
                )
        yield row


def columns(
    names: Sequence[Any], *, strict: bool = False
) -> Callable[[Mapping[Any, Any]], Sequence[Any]]:
    """Return a function that takes a mapping's values in the order of the names.

    A key that a mapping lacks gives an empty cell, as in :class:`csv.DictWriter`.

    :param strict: refuse a mapping with other keys, whose values would be lost.
    """
    known = set(names)
    # For one name, itemgetter returns the value itself.
    select: Callable[[Any], Sequence[Any]] = (
        itemgetter(*names)
        if len(names) > 1
        else lambda row: [row[one] for one in names]
    )

    def cells(row: Mapping[Any, Any]) -> Sequence[Any]:
        try:
            found = select(row)
        except KeyError:
            found = [row.get(name, "") for name in names]
        else:
            if not strict or len(row) == len(known):
                return found
        if strict and not known.issuperset(row):
            extra = next(name for name in row if name not in known)
            raise ValueError(
                f"A row has the key {extra!r}, which the first row lacks: name all "
                "columns in header"
            )
        return found

    return cells


def escaped(row: Iterable[object]) -> list[object]:
    """Put ``'`` before the cells that a spreadsheet would execute."""
    # By what is written: a path, or a text that is translated late, is no `str`.
    return [
        f"'{cell}"
        if not isinstance(cell, Number) and str(cell).startswith(FORMULA_STARTS)
        else cell
        for cell in row
    ]
