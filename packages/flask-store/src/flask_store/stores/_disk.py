"""The disk of a local store: links, times, and folders in the order of S3's keys."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import overload

from .._spool import ABSENT
from .._spool import NO_LINKS
from .._spool import Spool


@overload
def walk(
    folder: Path | None, above: str, start: str
) -> Iterator[tuple[str, os.stat_result]]: ...
@overload
def walk(
    folder: Path | None, above: str, start: str, after: str, *, shallow: bool
) -> Iterator[tuple[str, os.stat_result | None]]: ...
def walk(
    folder: Path | None,
    above: str,
    start: str,
    after: str = "",
    *,
    shallow: bool = False,
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield files in the order of their whole names, as S3 does.

    :param folder: the folder, or None for nothing.
    :param above: the folder's name in the store, with its slash.
    :param start: what names begin with.
    :param after: yield only what comes after this entry.
    :param shallow: yield a folder that holds files, instead of these.
    """
    for name, entry in _sorted_entries(folder) if folder else ():
        full = above + name
        inside = name.endswith("/") and not shallow and after.startswith(full)
        if full <= after and not inside:
            continue
        if not name.endswith("/"):
            if full.startswith(start) and entry.is_file(follow_symlinks=False):
                # Somebody may have deleted it since.
                with contextlib.suppress(FileNotFoundError):
                    yield full, entry.stat()
        elif shallow and full.startswith(start):
            if any(True for _ in walk(Path(entry.path), full, full)):
                yield full, None
        elif full.startswith(start) or start.startswith(full):
            yield from walk(Path(entry.path), full, start, after, shallow=shallow)


def _sorted_entries(folder: Path) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.name + "/" * entry.is_dir(follow_symlinks=False), entry)
                for entry in entries
                if not entry.name.startswith(".")
            ]
    except ABSENT:
        return []
    return sorted(found, key=lambda pair: pair[0])


def obstacle(root: Path, full: str) -> str | None:
    """Return the first part on the way to a file that is there and no folder.

    A symbolic link to a folder is none: it may lead anywhere.
    """
    end = full.find("/")
    while end >= 0:
        folder = full[:end]
        try:
            found = os.lstat(f"{root}/{folder}")
        except OSError:
            # What comes of it tells more than this.
            return None
        if not stat.S_ISDIR(found.st_mode):
            return folder
        end = full.find("/", end + 1)
    return None


class OtherFileSystemError(Exception):
    """The spool is not where the file is to be."""


def link(source: str, path: str) -> bool:
    """Give a file a second name; return whether the name was free."""
    try:
        os.link(source, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in NO_LINKS:
            raise OtherFileSystemError from error
        raise
    return True


def size_of(spool: Spool) -> int:
    """Return the bytes of a file in the making."""
    spool.flush()
    return os.fstat(spool.fileno()).st_size


def time_of(found: os.stat_result) -> datetime:
    """Return when a file was written, in UTC."""
    return datetime.fromtimestamp(found.st_mtime, UTC)
