"""The files that may be sent, and the internal URI that stands for each."""

# A path is looked at in every request, and strings are cheaper than Path objects.
# ruff: noqa: PTH100, PTH112, PTH116, PTH117, PTH118, PTH119, PTH122, PTH206

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from typing import NamedTuple
from urllib.parse import quote


logger: logging.Logger = logging.getLogger("flask_kaccel")


def absolute(path: str | os.PathLike[str], root_path: str) -> str:
    """Return a normal absolute path, without asking the file system."""
    return os.path.abspath(os.path.join(root_path, path))


def base_name(path: str) -> str:
    """Return the last part of a path."""
    return os.path.basename(path)


def suffix(path: str) -> str:
    """Return the last suffix of a path with its dot."""
    return os.path.splitext(path)[1]


def is_url(source: object) -> bool:
    """Return whether a source is the URL of an object store, not a directory."""
    return isinstance(source, str) and "://" in source


@lru_cache(1024)
def _quoted(path: str) -> str:
    return quote(os.fsencode(path))


@dataclass(frozen=True, slots=True)
class Location:
    """A directory, or a URL of an object store, and nginx's prefix for it.

    :param source: an absolute path or a URL, with a trailing slash.
    :param prefix: the internal location, with a slash at both ends. A directory
        without one is sent by Flask, or by a server that speaks X-Sendfile.
    """

    source: str
    prefix: str | None

    @property
    def is_store(self) -> bool:
        """Whether it is an object store."""
        return is_url(self.source)

    def relative(self, path: str) -> str:
        """Return the part of a path below the directory, with slashes."""
        return path[len(self.source) :].replace(os.sep, "/")

    def uri(self, path: str, prefix: str | None = None) -> str:
        """Return the internal URI of a file in the directory.

        :param prefix: another location over the same directory.
        """
        # nginx decodes once, and takes a raw "?" for the start of a query.
        return f"{prefix or self.prefix}{_quoted(self.relative(path))}"


class File(NamedTuple):
    """A regular file that may be sent.

    :param modified: seconds since the epoch.
    :param identity: the device and number, which no other file has.
    """

    path: str
    size: int
    modified: int
    location: Location | None
    identity: tuple[int, int]

    @property
    def etag(self) -> str:
        """The strong validator that nginx gives the file."""
        return f'"{self.modified:x}-{self.size:x}"'


def find_file(path: str, location: Location | None) -> File | None:
    """Return the file at a normal absolute path, or ``None`` where none is to be sent.

    That is a missing file, a directory, a device, or a symlink that leaves the
    location's directory. Without a location the path is trusted.
    """
    try:
        found = os.stat(path) if location is None else _stat_inside(path, location)
    except PermissionError:
        logger.warning("%r cannot be accessed by this process: permission denied", path)
        return None
    except (OSError, ValueError):  # ValueError: a null character
        if location is not None and not os.path.isdir(location.source):
            logger.warning("the directory %r does not exist", location.source)
        return None
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    seconds = found.st_mtime_ns // 10**9
    identity = (found.st_dev, found.st_ino)
    return File(path, found.st_size, seconds, location, identity)


def _stat_inside(path: str, location: Location) -> os.stat_result | None:
    """Return the file's status; look at real paths only where a symlink asks for it."""
    found = None
    step = location.source
    for name in path[len(step) :].split(os.sep):
        step += name
        found = os.lstat(step)
        if stat.S_ISLNK(found.st_mode):
            directory = os.path.realpath(location.source) + os.sep
            if os.path.realpath(path).startswith(directory):
                return os.stat(path)
            logger.warning(
                "%r points outside %r through a symbolic link", path, location.source
            )
            return None
        step += os.sep
    return found


def _identity(stream: BufferedReader) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino


class Locations:
    """The app's mapping: directories and URLs, the longest first."""

    def __init__(self, locations: Iterable[Location]) -> None:
        self.all = sorted(locations, key=lambda it: len(it.source), reverse=True)
        self.stores = [it for it in self.all if it.is_store]
        self.directories = [it for it in self.all if not it.is_store]

    def file(self, path: str) -> File | None:
        """Return the file at a normal absolute path if it lies in a directory.

        An app that names no directory trusts every path, as Flask does.
        """
        if not self.directories:
            return find_file(path, None)
        location = self.location(path)
        if location is None:
            # A root may be reached by a link, or a path may name a link's target.
            path = os.path.realpath(path)
            location, path = self._behind_links(path)
        if location is None:
            logger.warning("%r is in none of the configured directories", path)
            return None
        return find_file(path, location)

    def location(self, path: str) -> Location | None:
        """Return the directory of a normal absolute path."""
        for location in self.directories:
            if path.startswith(location.source):
                return location
        return None

    def _behind_links(self, real: str) -> tuple[Location | None, str]:
        for location in self.directories:
            root = os.path.realpath(location.source) + os.sep
            if real.startswith(root):
                return location, location.source + real[len(root) :]
        return None, real

    def opened(self, stream: object) -> File | None:
        """Return the file of a directory that is open, whole, as a stream."""
        if type(stream) is not BufferedReader:
            return None
        name = stream.name
        if not isinstance(name, str) or not os.path.isabs(name):
            return None
        path = os.path.normpath(name)
        location = self.location(path)
        if location is None or stream.tell():
            return None
        file = find_file(path, location)
        return file if file and file.identity == _identity(stream) else None

    def store_uri(self, url: str) -> str | None:
        """Return the internal URI of an object's (presigned) URL."""
        for location in self.stores:
            if url.startswith(location.source) and location.prefix:
                return location.prefix + url[len(location.source) :]
        return None
