"""The record of a file on the local disk, kept with the file and never in its way.

The record is one extended attribute, written to the file while it has no name yet and
before it is handed to the disk. So the bytes and the record appear together, ``link``
and ``rename`` keep them together, and there is no second name to go astray.

Where a file system has no extended attributes or no room in them, the record is a
hidden file beside it, a sidecar. The rules that keep it right:

1. the sidecar gets its name before the file does, and loses it before the file does: a
   kill leaves a sidecar without a file, or a file without one, never a wrong pair;
2. the sidecar's name is claimed as a file's is, so two saves never share one;
3. it counts only for a file of the size that it says.

``flask store check --clean`` removes sidecars whose file is gone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import _attributes
from ._spool import Spool


XATTR = "user.flask-store"
SIDECAR_PREFIX = ".attributes-"
#: No save is that slow between its two names.
STALE_SECONDS = 3600
#: The file system, or what a container allows, has no room for the attribute.
NO_ROOM = {errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG, errno.EPERM, errno.ENOSYS}


class Record:
    """The record of a file in the making.

    :param durable: whether a power cut may not lose what is settled.
    """

    def __init__(self, spool: Spool, *, durable: bool) -> None:
        self._spool = spool
        self._durable = durable
        self._data: bytes | None = None
        #: Whether the file system had no room for it.
        self.beside = False

    def settle(self, data: bytes) -> None:
        """Write the record, and hand it and the file to the disk.

        :param data: the record in JSON, or nothing.
        """
        if data == self._data:
            return
        if data or self._data:
            self.beside = not write(self._spool.fileno(), data)
        self._data = data
        self._spool.settle(durable=self._durable)

    def link(self, path: str) -> bool:
        """Give the file its name, with its record; return whether the name was free."""
        if not self.beside:
            return self._spool.link(path)
        if os.path.lexists(path):
            return False
        size = os.fstat(self._spool.fileno()).st_size
        folder, _, name = path.rpartition("/")
        with Spool(folder, name) as beside:
            content = {"name": name, "size": size, **json.loads(self._data or b"{}")}
            beside.write(_attributes.dump(content))
            beside.settle(durable=self._durable)
            if not beside.link(sidecar(path)):
                return False
        linked = False
        try:
            linked = self._spool.link(path)
        finally:
            if not linked:
                forget(path)
        return linked


def write(target: int | str, data: bytes) -> bool:
    """Write a record to a file; return whether the file system could."""
    set_attribute = getattr(os, "setxattr", None)
    if set_attribute is None:  # pragma: no cover - not Linux
        return False
    try:
        set_attribute(target, XATTR, data)
    except OSError as error:
        if error.errno in NO_ROOM:
            return False
        raise
    return True


def read(path: str, size: int) -> dict[str, Any]:
    """Return the record of a file, as far as it can be used.

    :param size: the file's, in bytes.
    """
    get_attribute = getattr(os, "getxattr", None)
    if get_attribute is not None:
        with contextlib.suppress(OSError):
            data = get_attribute(path, XATTR, follow_symlinks=False)
            return _attributes.usable(_attributes.parse(data))
    try:
        beside = _attributes.parse(Path(sidecar(path)).read_bytes())
    except OSError:
        return {}
    return _attributes.usable(beside) if beside.get("size") == size else {}


def forget(path: str) -> None:
    """Remove the sidecar of a file, if there is one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(sidecar(path))  # noqa: PTH108 - a Path takes as long as the call


def sidecar(path: str) -> str:
    """Return where the record is that the file itself cannot hold."""
    folder, _, name = path.rpartition("/")
    # Not the name itself, which may be as long as a name can be.
    known = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return f"{folder}/{SIDECAR_PREFIX}{known}"


def orphans(root: Path) -> Iterator[Path]:
    """Yield the sidecars whose file is gone."""
    before = time.time() - STALE_SECONDS
    for path in root.rglob(f"{SIDECAR_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            name = _attributes.parse(path.read_bytes()).get("name")
            alive = isinstance(name, str) and os.path.lexists(path.parent / name)
            if not alive and path.stat().st_mtime < before:
                yield path
