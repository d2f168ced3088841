"""Rows as CSV."""

from __future__ import annotations

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
from typing import Unpack

from ._cells import CsvFormat
from ._cells import Encode
from ._cells import encoder
from ._chunks import blocks


#: What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"): the
#: full-width signs count where the user types Chinese, Japanese or Korean.
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
#: The most rows of a block.
MOST = 128
BOM = "\ufeff"


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
    encode = encoder(**fmtparams)
    # A format may describe what blocks of bytes hold, for the header before them.
    options = [*(["escape_formulas"] * escape_formulas), *(() if header else fmtparams)]
    if not escape_formulas:
        return _parts(rows, header, encode, bom, options)

    def careful(rows: Sequence[Any]) -> str:
        return encode([escaped(row) for row in rows])

    return _parts(rows, header, careful, bom, options)


def _parts(
    rows: Iterable[Any],
    header: Sequence[object] | None,
    encode: Encode,
    bom: bool,
    options: Sequence[str],
) -> Iterator[Any]:
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    kind = kind_of(first[0]) if first else Sequence
    if kind is bytes and options:
        raise ValueError(f"{options[0]} cannot apply to rows of bytes: pass cells")
    rows = chain(first, iterator)
    check = checker(kind)
    select: Callable[[Any], Any] | None = None
    if kind is Mapping:
        strict = header is None
        header = list(first[0]) if header is None else header
        select = columns(header, strict=strict)

    def table(rows: list[Any]) -> str:
        check(rows)
        return encode(rows if select is None else [select(row) for row in rows])

    head = (BOM if bom else "") + ("" if header is None else encode([header]))
    if kind is not bytes:
        yield head
        yield from blocks(rows, table, MOST)
        return
    yield head.encode()
    for row in rows:
        check([row])
        yield bytes(row)


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


def checker(kind: type) -> Callable[[Sequence[Any]], None]:
    """Return a function that refuses rows that are not of the first one's kind."""
    known: set[type] = set()

    def check(rows: Sequence[Any]) -> None:
        if known.issuperset(map(type, rows)):
            return
        for row in rows:
            if kind_of(row) is not kind:
                raise TypeError(
                    f"A row is a {type(row).__name__} after rows of another kind: pass "
                    "one kind throughout"
                )
            known.add(type(row))

    return check


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
