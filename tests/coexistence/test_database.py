"""Flask-SQLAlchemy with a pool of two, and Flask-Admin over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import ClassVar

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import LONG
from coexistence.five import BrokenRowError
from coexistence.five import Five
from flask_streaming import stream_csv
from flask_streaming import stream_with_context
from flask_streaming.exceptions import StreamBroken
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class Database(Coexists):
    """A table of notes."""

    database: Any
    note: Any
    engine: Any = None

    @pytest.fixture
    def config(self, tmp_path: Path) -> Iterator[dict[str, object]]:
        yield {
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/notes.sqlite",
            "SQLALCHEMY_ENGINE_OPTIONS": {
                "pool_size": 2, "max_overflow": 0, "pool_timeout": 1,
            },
        }  # fmt: skip
        if self.engine is not None:
            self.engine.dispose()

    def attach(self, app: Flask) -> None:
        from flask_sqlalchemy import SQLAlchemy

        database: Any = SQLAlchemy(app)

        class Note(database.Model):
            id = database.Column(database.Integer, primary_key=True)
            text = database.Column(database.Text)

        self.database, self.note = database, Note
        with app.app_context():
            self.engine = database.engine
            database.create_all()
            database.session.execute(database.insert(Note), [{"text": LONG}] * 100)
            database.session.commit()

    def texts(self) -> Iterator[tuple[str]]:
        """Read the notes while they are streamed."""
        query = self.database.select(self.note.text)
        yield from self.database.session.execute(query).yield_per(2)


class TestSQLAlchemy(Database):
    subject = Subject("Flask-SQLAlchemy", "Flask-SQLAlchemy")

    def add_views(self, app: Flask, five: Five) -> None:
        @app.get("/notes.csv")
        def notes() -> Response:
            return stream_csv(self.texts())

        @app.get("/notes")
        def plain() -> Response:
            @stream_with_context
            def generate() -> Iterator[str]:
                for (text,) in self.texts():
                    yield text

            return Response(generate())

        @app.get("/notes-broken")
        def broken() -> Response:
            def rows() -> Iterator[tuple[str]]:
                for number, row in enumerate(self.texts()):
                    if number == 50:
                        raise BrokenRowError("the fiftieth")
                    yield row

            return stream_csv(rows())

        @app.get("/count")
        @cache_for(minutes=1)
        def count() -> str:
            return str(self.database.session.query(self.note).count())

    def borrowed(self) -> int:
        """Return how many connections are in use."""
        in_use: int = self.engine.pool.checkedout()
        return in_use

    @pytest.mark.cell("flask-streaming")
    @pytest.mark.parametrize("path", ["/notes.csv", "/notes"])
    def test_pool(self, client: FlaskClient, path: str) -> None:
        """Streams that were read, left, or not wanted give their connection back."""
        for _ in range(4):
            assert len(client.get(path).data) >= 100 * len(LONG)
            assert self.borrowed() == 0
            left = client.get(path)
            assert next(left.iter_encoded())
            left.close()
            assert self.borrowed() == 0
            client.head(path).close()
            assert self.borrowed() == 0

    @pytest.mark.cell("flask-streaming")
    def test_pool_after_failures(self, client: FlaskClient) -> None:
        """Streams that failed give their connection back."""
        for _ in range(4):
            with pytest.raises(StreamBroken, match="has logged why"):
                client.get("/notes-broken").get_data()
            assert self.borrowed() == 0

    @pytest.mark.cell("flask-webcache")
    def test_hits_need_no_connection(self, client: FlaskClient) -> None:
        """A page that was read from the database is a hit without it."""
        assert client.get("/count").text == "100"
        with self.engine.connect(), self.engine.connect():
            answer = client.get("/count")
        assert is_hit(answer)
        assert answer.text == "100"


class TestAdmin(Database):
    subject = Subject("Flask-Admin", "Flask-Admin")
    options: ClassVar = {"static": True}

    def attach(self, app: Flask) -> None:
        from flask_admin import Admin
        from flask_admin.contrib.sqla import ModelView
        from flask_babel import Babel

        super().attach(app)
        # Flask-Admin uses it wherever it is installed.
        Babel(app)
        admin = Admin(app)
        admin.add_view(ModelView(self.note, self.database))

    @pytest.mark.cell("flask-webcache")
    def test_written_is_seen(self, client: FlaskClient) -> None:
        """The list shows a note as soon as it is written."""
        for number in range(3):
            word = f"note-{number}"
            assert word not in client.get("/admin/note/?search=").text
            answer = client.post("/admin/note/new/", data={"text": word})
            assert answer.status_code == 302
            page = client.get("/admin/note/?page=5")
            assert word in page.text

    @pytest.mark.cell("flask-kaccel")
    def test_static_files(self, client: FlaskClient) -> None:
        """The extension's own static files are sent, where they are not mapped."""
        path = "/admin/static/admin/css/bootstrap4/admin.css"
        for _ in range(2):
            with client.get(path) as sent:
                assert sent.status_code == 200
                assert b"{" in sent.data
