"""A column that holds a stored file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import IO
from typing import Any
from typing import Unpack
from typing import cast

import click
from flask import current_app
from sqlalchemy import String
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator
from sqlalchemy.types import TypeEngine
from werkzeug.datastructures import FileStorage
from werkzeug.utils import import_string

from . import _columns
from ._attributes import SaveOptions
from ._extension import Provider
from ._state import DEFAULT
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


#: The age in days at which a file without a row is swept.
SWEEP_AGE = timedelta(days=1)


class FlaskStoreType(TypeDecorator[FileWrapper]):
    """Keep a file's relative path in the database, and give back the file.

    An upload that is assigned to a mapped attribute is saved when the session flushes,
    deleted when that is rolled back, and lives as long as the row.

    :param destination: the folder in the store for uploads that are assigned.
    :param store: the name of a store in ``STORES``.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = String(1024)
    cache_ok: bool | None = True

    def __init__(self, destination: str | None = None, *, store: str = DEFAULT) -> None:
        super().__init__()
        self.destination = destination
        self.store = store

    def provider(self) -> BaseStore:
        """Return the current app's provider for uploads."""
        return Provider(self.destination, store=self.store)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the path to store.

        :raises TypeError: for an upload; only a session's objects save them.
        """
        if value is None or isinstance(value, str | FileWrapper):
            return None if value is None else str(value)
        raise TypeError(
            f"a statement takes a stored file, not {type(value).__name__}: save it "
            "first, or assign it to a mapped attribute"
        )

    def process_result_value(self, value: Any, dialect: Dialect) -> FileWrapper | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the file."""
        return None if value is None else Provider(store=self.store).file(value)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Return whether two values are the same file."""
        return x is y or (isinstance(x, FileWrapper) and str(x) == str(y))


def attach(
    upload: FileStorage | IO[bytes], **options: Unpack[SaveOptions]
) -> FileWrapper:
    """Return what to assign to a mapped attribute, to be saved with the row.

    It is a file for type checkers, and becomes one when the session flushes. An upload
    can be assigned as it is, too; this adds options.

    :param upload: an upload, or a binary stream.
    :param options: as for ``save``.
    """
    return cast("FileWrapper", _columns.Unsaved(upload, options))


def sweep(
    session: Session,
    prefix: str,
    *,
    store: str = DEFAULT,
    older: timedelta = SWEEP_AGE,
    delete: bool = False,
) -> Iterator[FileWrapper]:
    """Yield the files under a prefix that no row names, such as a kill leaves.

    :param session: reads all mapped columns of this type; all models are imported.
    :param prefix: names of files that belong to rows begin with it, and no others do.
    :param store: the name of a store in ``STORES``.
    :param older: spare younger files; more than the longest transaction takes.
    :param delete: delete each file before it is yielded.
    :raises StoreError: where no mapped class has such a column.
    """
    files = Provider(store=store).list(prefix)
    for file in _columns.orphans(session, files, store, older):
        if delete:
            file.delete()
        yield file


def _session_of(path: str | None) -> Any:
    """Return a session for the command, or what makes one.

    :param path: its dotted name; by default Flask-SQLAlchemy's.
    """
    if path is not None:
        try:
            return import_string(path)
        except ImportError as error:
            reason = f"there is no {path!r}"
            raise click.BadParameter(reason, param_hint="--session") from error
    try:
        return current_app.extensions["sqlalchemy"].session
    except (AttributeError, KeyError):
        raise click.UsageError("there is no Flask-SQLAlchemy: use --session") from None


@event.listens_for(Mapper, "mapper_configured")
def _configured(mapper: Mapper[Any], _class: type) -> None:
    found = {
        attribute.key: attribute.columns[0].type
        for attribute in mapper.column_attrs
        if isinstance(attribute.columns[0].type, FlaskStoreType)
    }
    if found:
        _columns.register(mapper, found)
