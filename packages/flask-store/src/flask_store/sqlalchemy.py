"""A column that holds a stored file."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from werkzeug.datastructures import FileStorage

from flask_store.extension import Provider
from flask_store.file_wrapper import FileWrapper


class FlaskStoreType(TypeDecorator[Any]):
    """Keep a file's relative path in the database, and give back the file.

    An upload that is assigned is saved when the session flushes. A rollback does not
    delete it: save first, and delete on an error, where that matters.

    :param destination: the folder in the store for uploads that are assigned.
    """

    impl = String(1024)
    cache_ok = True

    def __init__(self, destination: str | None = None) -> None:
        super().__init__()
        self.destination = destination

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the path to store; an upload is saved."""
        if isinstance(value, FileStorage):
            value = Provider(self.destination).save(value)
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> FileWrapper | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the file."""
        return None if value is None else Provider().file(value)
