"""Responses that stream, and what a view needs to make its own."""

from __future__ import annotations

from collections.abc import AsyncIterable
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime
from functools import update_wrapper
from itertools import starmap
from typing import Any
from typing import ParamSpec
from typing import TypeVar
from typing import Unpack
from typing import overload

from flask import Response
from flask import current_app
from flask import request
from flask.json.provider import DefaultJSONProvider

from . import _wire as wire
from ._archive import Member
from ._archive import Source as ZipSource
from ._archive import member_of
from ._archive import stored_size
from ._archive import zip_parts
from ._cells import CsvFormat
from ._chunks import Chunks
from ._chunks import buffered
from ._chunks import close
from ._disposition import content_disposition
from ._documents import Encoder
from ._documents import careful_encoder
from ._documents import document_parts
from ._documents import line_parts
from ._iteration import can_start
from ._iteration import iterated
from ._tables import csv_parts
from ._watch import keep_context


P = ParamSpec("P")
T = TypeVar("T")


def _respond(
    parts: Iterator[Any],
    *sources: object,
    mimetype: str,
    download_name: str | None,
    etag: str | None,
    last_modified: datetime | None,
    content_length: int | None = None,
) -> Response:
    """Return a response that streams, or one without a body where that is due.

    :param sources: what the parts are made of, closed at the end.
    """
    keep_context()
    response = current_app.response_class(mimetype=mimetype)
    if download_name is not None:
        response.headers["Content-Disposition"] = content_disposition(
            download_name, as_attachment=True
        )
    if etag is not None:
        response.set_etag(etag)
    if last_modified is not None:
        response.last_modified = last_modified
    # Counting the length would run the whole stream.
    response.automatically_set_content_length = False
    response.make_conditional(request)
    if response.status_code != 200:
        close(*sources)
        return response
    if content_length is not None:
        response.content_length = content_length
    prime = request.method != "HEAD" and can_start(*sources)
    response.response = Chunks(buffered(parts), *sources, prime=prime)
    return response


def stream_csv(
    rows: Iterable[Any] | AsyncIterable[Any],
    header: Sequence[object] | None = None,
    *,
    download_name: str | None = None,
    escape_formulas: bool = False,
    bom: bool = False,
    etag: str | None = None,
    last_modified: datetime | None = None,
    **csv_fmtparams: Unpack[CsvFormat],
) -> Response:
    """Return rows as CSV.

    :param rows: sequences of cells, mappings, or blocks of bytes that are CSV
        already; one kind throughout. `header` selects the keys of mappings. Without
        one, the first mapping names the keys of all, and another key is an error.
    :param header: the first line.
    :param download_name: save under this name instead of showing.
    :param escape_formulas: put ``'`` before text that a spreadsheet would execute.
    :param bom: start with a byte order mark, by which Excel knows UTF-8.
    :param etag: identifies the content; a client that has it gets a 304, and no
        row is read.
    :param last_modified: the same by time.
    :param csv_fmtparams: what :func:`csv.writer` takes, such as ``delimiter=";"``.
    """
    rows = iterated("rows", rows)
    parts = csv_parts(
        rows, header, escape_formulas=escape_formulas, bom=bom, **csv_fmtparams
    )
    return _respond(
        parts,
        rows,
        mimetype="text/csv",
        download_name=download_name,
        etag=etag,
        last_modified=last_modified,
    )


def stream_json(
    document: Iterable[Any] | AsyncIterable[Any],
    *,
    download_name: str | None = None,
    etag: str | None = None,
    last_modified: datetime | None = None,
) -> Response:
    """Return an iterable as a JSON array, or a mapping with iterables in it.

    After an error the brackets stay open, so that no parser takes a part for the
    whole.

    :param document: an iterable, or such as ``{"items": iterable, "page": 1}``.
    :param download_name: as in :func:`stream_csv`, like the others.
    """
    document = iterated("document", document)
    values: Iterable[object] = ()
    if isinstance(document, Mapping):
        document = {
            key: iterated(repr(key), value)
            if isinstance(value, AsyncIterable)
            else value
            for key, value in document.items()
        }
        values = document.values()
    return _respond(
        document_parts(document, _encoders()),
        document,
        *values,
        mimetype="application/json",
        download_name=download_name,
        etag=etag,
        last_modified=last_modified,
    )


def stream_ndjson(
    items: Iterable[Any] | AsyncIterable[Any],
    *,
    download_name: str | None = None,
    etag: str | None = None,
    last_modified: datetime | None = None,
) -> Response:
    """Return items as JSON, each on a line of its own.

    :param download_name: as in :func:`stream_csv`, like the others.
    """
    if isinstance(items, Mapping):
        raise TypeError("items is a mapping: pass an iterable of items, such as [item]")
    items = iterated("items", items)
    return _respond(
        line_parts(items, _encoders()),
        items,
        mimetype="application/x-ndjson",
        download_name=download_name,
        etag=etag,
        last_modified=last_modified,
    )


def _encoders() -> Sequence[Encoder]:
    """Return what encodes JSON as the app does, the fastest first."""
    provider = current_app.json
    if (
        not isinstance(provider, DefaultJSONProvider)
        or type(provider).dumps is not DefaultJSONProvider.dumps
    ):
        # An item must stay on its line; in strings, a line end is escaped.
        return [Encoder(lambda it: provider.dumps(it).encode().replace(b"\n", b""))]
    default = provider.default
    encoders = [careful_encoder(default)]
    try:
        import orjson
    except ImportError:
        return encoders
    # What Flask writes in a way of its own is left to its own function.
    option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
    return [Encoder(orjson.dumps, (default, option)), *encoders]


def stream_zip(
    members: Iterable[tuple[str, ZipSource]],
    *,
    download_name: str | None = None,
    compress: bool = False,
    etag: str | None = None,
    last_modified: datetime | None = None,
) -> Response:
    """Return files as a zip archive.

    Where `members` is a list whose sizes are known (files, and lists of bytes) and
    nothing is compressed, the response has a Content-Length.

    :param members: names, each with a file's path or an iterable of bytes.
    :param download_name: as in :func:`stream_csv`, like the others.
    :param compress: deflate the members. Pictures and films gain nothing by it.
    """
    size = None
    opened: Iterable[Member] = starmap(member_of, members)
    if isinstance(members, Sequence):
        opened = list(opened)
        size = None if compress else stored_size(opened)
    return _respond(
        zip_parts(opened, compress=compress),
        members,
        mimetype="application/zip",
        download_name=download_name,
        etag=etag,
        last_modified=last_modified,
        content_length=size,
    )


@overload
def stream_with_context(
    generator_or_function: Iterable[T] | AsyncIterable[T],
) -> Iterator[T]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[P, Iterable[T] | AsyncIterable[T]],
) -> Callable[P, Iterator[T]]: ...


def stream_with_context(
    generator_or_function: Iterable[Any] | AsyncIterable[Any] | Callable[..., Any],
) -> Iterator[Any] | Callable[..., Iterator[Any]]:
    """Keep the request's context while a generator runs.

    Use it on a generator, or as a decorator on a generator function. The context
    is torn down once, at the end of the response's body.
    """
    if isinstance(generator_or_function, (Iterable, AsyncIterable)):
        keep_context(unbuffered=True)
        return iter(iterated("generator", generator_or_function))
    function = generator_or_function

    def wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        keep_context(unbuffered=True)
        return iter(iterated("the generator", function(*args, **kwargs)))

    return update_wrapper(wrapper, function)


def client_disconnected() -> bool | None:
    """Return whether the client of the current request left.

    :return: None where the server does not show its connection.
    """
    return wire.disconnected(request.environ)
