"""A journal of the site's events, kept across restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path

from flask import current_app

from demo.extensions import streaming


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    id: int
    time: str
    text: str


class Journal:
    """A table of entries in a file, numbered from 1."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file, made on first use, and commit at the end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS entry"
                " (id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT, text TEXT)"
            )
            yield connection

    def add(self, text: str) -> int:
        """Write an entry down, and return its number."""
        time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with self.connection() as connection:
            cursor = connection.execute(
                "INSERT INTO entry (time, text) VALUES (?, ?)", (time, text)
            )
        return cursor.lastrowid or 0

    def latest(self, count: int) -> list[Entry]:
        """Return the last entries, newest first."""
        with self.connection() as connection:
            rows = connection.execute(
                "SELECT id, time, text FROM entry ORDER BY id DESC LIMIT ?", (count,)
            ).fetchall()
        return [Entry(*row) for row in rows]

    def last(self) -> int:
        """Return the number of the last entry, or 0."""
        return next((entry.id for entry in self.latest(1)), 0)


def journal() -> Journal:
    """Return the app's journal."""
    return Journal(Path(current_app.instance_path) / "journal.sqlite")


def happened(text: str) -> None:
    """Write down what happened, and tell every page that is open.

    A page knows the last entry that it shows, so it loads itself anew only for later
    ones, and misses none that came while it was on its way.
    """
    streaming.publish("site", str(journal().add(text)), event="changed")
