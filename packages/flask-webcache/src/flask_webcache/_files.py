"""A cache on files, for the processes of one machine, without a pickle."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from typing import Any

from cachelib import FileSystemCache
from cachelib.base import BaseCache


#: None on Windows, where two processes may both add to a cache on files.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None


class Bytes:
    """A serializer for cachelib that stores bytes as they are and loads no pickle."""

    def dumps(self, value: bytes | int) -> bytes:
        """Return the bytes to store; FileSystemCache counts its files in integers."""
        return value if isinstance(value, bytes) else b"%d" % value

    def loads(self, data: bytes | None) -> bytes | int | None:
        """Return the bytes as they are, but numbers as integers."""
        if data is not None and data.isdigit() and len(data) < 21:
            return int(data)
        return None if data is None or data.startswith(b"\x80") else data

    def dump(self, value: bytes | int, file: IO[bytes]) -> None:
        """Write to a file."""
        file.write(self.dumps(value))

    def load(self, file: IO[bytes]) -> bytes | int | None:
        """Read from a file."""
        return self.loads(file.read())


class Files(FileSystemCache):
    """A cache on files whose values are bytes; it raises where it cannot delete."""

    serializer: Any = Bytes()

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value where there is none, or an expired one."""
        return not self.has(key) and self.set(key, value, timeout)

    def delete(self, key: str, mgmt_element: bool = False) -> bool:
        """Delete a value; return whether there was one.

        :raises OSError: if it cannot be deleted.
        """
        try:
            Path(self._get_filename(key)).unlink()
        except FileNotFoundError:
            return False
        if not mgmt_element:
            self._update_count(delta=-1)
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number and keep it for as long as it is; 0 where there is none."""
        value = self.get(key)
        number = (value if isinstance(value, int) else 0) + delta
        return number if self.set(key, number, 0) else None


@contextmanager
def exclusive(cache: BaseCache) -> Iterator[None]:
    """Keep other processes out of a cache on files for the while."""
    if fcntl is None or not isinstance(cache, FileSystemCache):
        yield
        return
    folder = os.open(cache._path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def adopted(cache: BaseCache) -> BaseCache:
    """Return a cache of the app with a serializer of ours, the original untouched."""
    if not hasattr(cache, "serializer"):
        return cache
    own: Any = copy.copy(cache)
    if isinstance(cache, FileSystemCache) and not isinstance(cache, Files):
        own = Files.__new__(Files)
        own.__dict__.update(cache.__dict__)
    own.serializer = Bytes()
    made: BaseCache = own
    return made
