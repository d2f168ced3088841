"""A cache on files, for the processes of one machine, least recently used first out.

Each key is a file: when it expires, and its value. Files are replaced and never
changed, so that reading needs no lock. Adding, counting and deleting lock the
directory, except on Windows, where two processes may both add.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import re
import struct
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .base import Backend
from .base import seconds_of


#: None on Windows.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

_EXPIRY = struct.Struct(">d")
#: What may be evicted: our files, and those that cachelib left in the directory, which
#: are named by a digest of 32 digits, or of 64 since its version 0.16.
_OURS = re.compile(r"(?:[0-9a-f]{32}){1,2}|.*\.new|.*\.__wz_cache")
#: How old the time of the last use may be before it is written anew, in seconds.
_USED = 1.0


class Files(Backend):
    """A cache of bytes in the files of a directory.

    :param folder: the directory, which is made if need be.
    :param max_items: how many files it has at most, about; 0 for any number.
    """

    def __init__(self, folder: str, max_items: int = 500) -> None:
        super().__init__(default_timeout=0)
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._max_items = max_items
        #: How many files may be written before they are counted again.
        self._left = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._folder}>"

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        found = self._read(key)
        return None if found is None else found[1]

    def set(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value."""
        seconds = seconds_of(timeout)
        self._write(key, value, time.time() + seconds if seconds > 0 else 0.0)
        return True

    def add(
        self, key: str, value: bytes, timeout: int | dt.timedelta | None = None
    ) -> bool:
        """Store a value where there is none; return whether it was stored."""
        with self._locked():
            return self._read(key) is None and self.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Remove a key; return whether there was one.

        :raises OSError: if it cannot be removed.
        """
        with self._locked():
            return self._unlink(self._path(key))

    def delete_if(self, key: str, value: bytes) -> bool:
        """Remove a key if it has a value; return whether it had."""
        with self._locked():
            found = self._read(key)
            mine = found is not None and found[1] == value
            return mine and self._unlink(self._path(key))

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return self._read(key) is not None

    def clear(self) -> bool:
        """Remove everything."""
        for _, path in self._listed():
            self._unlink(path)
        return True

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to a number, which lives for as long as before, and return it."""
        with self._locked():
            expires, value = self._read(key) or (0.0, b"0")
            number = int(value) + delta
            self._write(key, b"%d" % number, expires)
        return number

    def dec(self, key: str, delta: int = 1) -> int:
        """Subtract from a number, and return it."""
        return self.inc(key, -delta)

    def _path(self, key: str) -> Path:
        name = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16)
        return self._folder / name.hexdigest()

    def _read(self, key: str) -> tuple[float, bytes] | None:
        """Return when a value expires, and the value."""
        now, path = time.time(), self._path(key)
        try:
            with path.open("rb") as file:
                data = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        if len(data) < _EXPIRY.size:
            return None
        (expires,) = _EXPIRY.unpack_from(data)
        if expires and expires <= now:
            return None
        if abs(now - used) > _USED:
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
        return expires, data[_EXPIRY.size :]

    def _write(self, key: str, value: bytes, expires: float) -> None:
        self._make_room()
        number, name = tempfile.mkstemp(".new", dir=self._folder)
        try:
            with open(number, "wb") as file:  # noqa: PTH123 - of a number
                file.write(_EXPIRY.pack(expires) + value)
            Path(name).replace(self._path(key))
        except BaseException:
            self._unlink(Path(name))
            raise

    def _make_room(self) -> None:
        """Remove what was used longest ago, looking from time to time."""
        self._left -= 1
        if self._left >= 0 or not self._max_items:
            return
        share = self._max_items // 10
        listed = sorted(self._listed(), key=lambda one: one[0])
        over = len(listed) + 1 - self._max_items
        if over > 0:
            for _, path in listed[: over + share]:
                self._unlink(path)
        # Other processes write, too.
        self._left = share // 4

    def _listed(self) -> Iterator[tuple[float, Path]]:
        """Yield each file of ours with the time of its last use."""
        with os.scandir(self._folder) as found:
            for one in found:
                if _OURS.fullmatch(one.name):
                    with contextlib.suppress(FileNotFoundError):
                        yield one.stat().st_mtime, Path(one.path)

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes and threads out for the while."""
        if fcntl is None:
            yield
            return
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
