"""Rows as CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_streaming._cells import encoder
from flask_streaming._tables import csv_parts


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def text(*args: Any, **kwargs: Any) -> str:
    """Return the whole."""
    parts = list(csv_parts(*args, **kwargs))
    whole: str | bytes = parts[0][:0].join(parts)
    return whole.decode() if isinstance(whole, bytes) else whole


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4)))
def test_round_trip(rows: list[list[str]]) -> None:
    """Every cell comes back, whatever commas, quotes and line ends it holds."""
    read = csv.reader(io.StringIO(text(rows), newline=""))
    assert list(read) == rows


class Subclass(str):
    """Text that says another thing of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not this"

    def replace(self, *_: Any) -> str:
        """Return another text."""
        return "nor this"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@given(
    st.lists(
        st.lists(
            st.text("ab ,;\t|\"'\r\n\0ü€\ud800")
            | st.builds(Subclass, st.text('a,"'))
            | st.none() | st.booleans() | st.integers() | st.floats()
            | st.decimals() | st.dates(),
            max_size=4,
        )
        | st.tuples(st.text('a,"'), st.integers(), st.none())
    )
)  # fmt: skip
def test_same_as_the_writer(delimiter: str, rows: list[Any]) -> None:
    """Writing by columns gives the same as the standard library by rows."""
    expected = io.StringIO(newline="")
    csv.writer(expected, delimiter=delimiter).writerows(rows)
    assert text(rows, delimiter=delimiter) == expected.getvalue()
    assert encoder(delimiter=delimiter)(rows) == expected.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"dialect": "unix"}, {"dialect": "excel-tab"}, {"quotechar": "'"},
        {"quoting": csv.QUOTE_NONNUMERIC}, {"lineterminator": "\n"},
        {"doublequote": False, "escapechar": "\\"}, {"quoting": csv.QUOTE_ALL},
    ],
)  # fmt: skip
def test_other_formats(options: dict[str, Any]) -> None:
    """Every format of the writer's is written as the writer does."""
    rows: list[Any] = [["a", "b,'\"", 1], ["", None, 2.5], ["c\n", "d\\", -3]]
    expected = io.StringIO(newline="")
    csv.writer(expected, **options).writerows(rows)
    assert text(rows, **options) == expected.getvalue()


@pytest.mark.parametrize(
    ("rows", "header", "options", "expected"),
    [
        pytest.param([], None, {}, "", id="empty"),
        pytest.param([], ["a", "b"], {}, "a,b\r\n", id="only-header"),
        pytest.param([(1, None)], ["a", "b"], {}, "a,b\r\n1,\r\n", id="tuple"),
        pytest.param([{"a": 1, "b": 2}], None, {}, "a,b\r\n1,2\r\n", id="mappings"),
        pytest.param([{"a": 1, "b": 2}], ["b"], {}, "b\r\n2\r\n", id="one-key"),
        pytest.param(
            [{"a": 1, "b": 2}, {"b": 4, "a": 3}], ["b", "a"], {},
            "b,a\r\n2,1\r\n4,3\r\n", id="chosen-keys",
        ),
        pytest.param([b"1,2\n", memoryview(b"3,4\n")], ["a"], {}, "a\r\n1,2\n3,4\n",
                     id="blocks"),
        pytest.param([["ä"]], None, {"bom": True}, "\ufeffä\r\n", id="bom"),
        pytest.param([["a", "b;"]], None, {"delimiter": ";", "lineterminator": "\n"},
                     'a;"b;"\n', id="format"),
    ],
)  # fmt: skip
def test_rows(
    rows: Any, header: list[str] | None, options: dict[str, Any], expected: str
) -> None:
    """Rows are sequences, mappings, or blocks that are CSV already."""
    assert text(rows, header, **options) == expected


@pytest.mark.parametrize("sign", list("=+-@\t＝＋－＠"))
def test_formulas_are_escaped_on_request(sign: str) -> None:
    """Text that a spreadsheet would execute gets a quote; numbers do not."""
    rows = [[f"{sign}1+1", f"1{sign}1", -5]]
    assert text(rows) == f"{sign}1+1,1{sign}1,-5\r\n"
    assert text(rows, [sign], escape_formulas=True) == (
        f"'{sign}\r\n'{sign}1+1,1{sign}1,-5\r\n"
    )


def test_formulas_of_other_types() -> None:
    """Values that become text when written are escaped; numbers are not."""
    row = [PurePosixPath("=1+1"), Decimal("-1.5"), -1.5, None]
    assert text([row], escape_formulas=True) == "'=1+1,-1.5,-1.5,\r\n"


@pytest.mark.parametrize("start", ["\r", "\n"], ids=["CR", "LF"])
def test_line_ends_hide_no_formula(start: str) -> None:
    """A line end before the sign does not help."""
    assert text([[f"{start}=1"]], escape_formulas=True) == f'"\'{start}=1"\r\n'


def test_text_is_no_row() -> None:
    """A row that is text is a mistake, not a row of letters."""
    with pytest.raises(TypeError, match="A row is the text 'abc'"):
        text(["abc"])


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([["a"], "hello"], TypeError, "A row is the text 'hello': pass cells"),
        ([["a"], {"a": 1}], TypeError, "A row is a dict after rows of another kind"),
        ([{"a": 1}, ["a"]], TypeError, "A row is a list after rows of another kind"),
        ([b"a\n", 5], TypeError, "A row is 5: pass cells, mappings or bytes"),
        ([b"a\n", ["a"]], TypeError, "A row is a list after rows of another kind"),
        ([["a"], b"a"], TypeError, "A row is a bytes after rows of another kind"),
        ([1], TypeError, "A row is 1: pass cells, mappings or bytes"),
        ([{"a": 1}, {"a": 2, "b": 3}], ValueError, "A row has the key 'b', which the"),
        ([{"a": 1}, {"b": 3}], ValueError, "A row has the key 'b', which the first"),
    ],
)
def test_every_row_is_checked(
    rows: list[Any], error: type[Exception], message: str
) -> None:
    """A row of another kind, or a key without a column, ends the table loudly."""
    with pytest.raises(error, match=f"^{message}"):
        text(rows)


def test_missing_keys_are_empty() -> None:
    """A mapping may lack a key, as for the standard library's writer."""
    assert text([{"a": 1, "b": 2}, {"b": 3}]) == "a,b\r\n1,2\r\n,3\r\n"
    assert text([{"b": 2, "c": 3}], ["a", "b"]) == "a,b\r\n,2\r\n"


@pytest.mark.parametrize("header", ["id", b"id"])
def test_header_is_no_text(header: Any) -> None:
    """A header that is text is a mistake, not a header of letters."""
    with pytest.raises(TypeError, match=r"^header is b?'id': pass a list of names"):
        csv_parts([], header)


@pytest.mark.parametrize("options", [{"escape_formulas": True}, {"delimiter": ";"}])
def test_options_that_cannot_apply(options: dict[str, Any]) -> None:
    """Blocks that are CSV already cannot be escaped or formatted."""
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} cannot apply to rows of bytes"):
        text([b"=HYPERLINK(1)\n"], **options)


def test_format_of_a_header_before_bytes() -> None:
    """A format applies to the header that is put before blocks in that format."""
    assert text([b"1;2\n"], ["a", "b"], delimiter=";") == "a;b\r\n1;2\n"


def test_wrong_format_fails_at_once() -> None:
    """A format that the CSV writer does not know fails before any row is read."""
    with pytest.raises(TypeError, match="colour"):
        csv_parts([], colour="red")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
