"""What happened on the site, kept over restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path


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

    def add(self, text: str) -> Entry:
        """Write an entry down."""
        time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with self.connection() as connection:
            cursor = connection.execute(
                "INSERT INTO entry (time, text) VALUES (?, ?)", (time, text)
            )
        return Entry(cursor.lastrowid or 0, time, text)

    def after(self, number: int) -> list[Entry]:
        """Return the entries after a number, oldest first."""
        with self.connection() as connection:
            rows = connection.execute(
                "SELECT id, time, text FROM entry WHERE id > ? ORDER BY id", (number,)
            ).fetchall()
        return [Entry(*row) for row in rows]

    def latest(self, count: int) -> list[Entry]:
        """Return the last entries, newest first."""
        with self.connection() as connection:
            rows = connection.execute(
                "SELECT id, time, text FROM entry ORDER BY id DESC LIMIT ?", (count,)
            ).fetchall()
        return [Entry(*row) for row in rows]
