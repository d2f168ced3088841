"""Files in columns."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store import FileWrapper
from flask_store import Store


sqlalchemy = pytest.importorskip("sqlalchemy")
orm = pytest.importorskip("sqlalchemy.orm")


@pytest.fixture
def store() -> Iterator[Store]:
    """A store in memory, in an app's context."""
    app = Flask(__name__)
    app.config["STORE_PROVIDER"] = "flask_store.stores.memory.MemoryStore"
    store = Store(app)
    with app.app_context():
        yield store


def test_column(store: Store) -> None:
    """A column takes uploads, files and paths, and gives files."""
    from flask_store.sqlalchemy import FlaskStoreType

    table = sqlalchemy.Table(
        "user",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("picture", FlaskStoreType("avatars")),
    )
    engine = sqlalchemy.create_engine("sqlite://")
    saved = store.Provider().save(io.BytesIO(b"saved"), "saved.txt")
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        for value in (FileStorage(io.BytesIO(b"new"), "a.txt"), saved, "b.txt", None):
            connection.execute(table.insert(), {"picture": value})
        statement = sqlalchemy.select(table.c.picture).order_by(table.c.id)
        files = connection.execute(statement).scalars().all()
        raw = connection.exec_driver_sql("select picture from user order by id")
        stored = raw.scalars().all()
    engine.dispose()
    assert stored == ["avatars/a.txt", "saved.txt", "b.txt", None]
    assert files[3] is None
    assert all(isinstance(file, FileWrapper) for file in files[:3])
    assert [str(file) for file in files[:3]] == stored[:3]
    with files[0].open() as file:
        assert file.read() == b"new"
