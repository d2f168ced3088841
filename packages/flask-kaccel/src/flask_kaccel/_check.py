"""Prove on a running deployment that the server in front sends the files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult
from urllib.parse import quote
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from ._delivery import CHECK_HEADER
from ._files import Location
from ._files import Locations
from ._headers import is_internal
from ._ranges import epoch


TIMEOUT_SECONDS = 10.0
BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what is wrong with it, if anything."""

    what: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The part of a response that the check looks at."""

    path: str
    status: int
    headers: Headers
    body: bytes

    def says(self, name: str) -> tuple[int, str | None]:
        """Return the status and a header."""
        return self.status, self.headers.get(name)

    def without_echo(self) -> Reply:
        """Return the reply without its path, which tells nothing that was not asked."""
        headers, body = self.headers, self.body
        for echo in (self.path, quote(self.path, safe="")):
            headers = Headers([(key, it.replace(echo, "")) for key, it in headers])
            body = body.replace(echo.encode(), b"")
        return Reply(self.path, self.status, headers, body)


class Site:
    """A running site, asked as a client would, with paths sent as they are.

    :param url: the URL of any file that the app sends.
    :param locations: the app's mapping.
    """

    def __init__(self, url: str, locations: Locations) -> None:
        self.url: SplitResult = urlsplit(url)
        self.directories = [it.source for it in locations.directories]
        self.prefixed = [it for it in locations.all if it.prefix]
        self.internal = [*self.directories, *(str(it.prefix) for it in self.prefixed)]
        self.replies: list[Reply] = []

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """Ask for a file.

        :raises OSError: the site does not answer.
        """
        self.replies.append(self._request(path, headers or {}))
        return self.replies[-1]

    def probe(self, path: str) -> Reply:
        """Ask for what should not be there.

        :raises OSError: the site does not answer.
        """
        self.replies.append(self._request(path, {}).without_echo())
        return self.replies[-1]

    def _request(self, path: str, headers: dict[str, str]) -> Reply:
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        connection = kind(self.url.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            got = Headers(response.getheaders())
            return Reply(path, response.status, got, response.read(BODY_BYTES))
        finally:
            connection.close()

    def findings(self) -> Iterator[Finding]:
        """Look at everything, one request after the other."""
        for directory in self.directories:
            problem = None if Path(directory).is_dir() else "there is none here"
            yield Finding(f"{directory} is a directory", problem)
        path = self.url.path or "/"
        if self.url.query:
            path += f"?{self.url.query}"
        # Some sites have one page, or a login, for every path that there is not.
        unknown = self.probe(f"/{secrets.token_hex(16)}")
        file = self.get(path, {CHECK_HEADER: "1"})
        problem = sent_by(file, unknown)
        yield Finding(f"{path} is a file sent by the server in front", problem)
        if file.status == 200:
            yield from self._conditions(path, file.headers.get("ETag", ""))
        for location in self.prefixed:
            yield from self._closed(location, unknown)
        yield Finding("no response names an internal path", self._leak())

    def _conditions(self, path: str, etag: str) -> Iterator[Finding]:
        for what, headers, expected in (
            ("a range of it", {"Range": "bytes=0-0"}, 206),
            ("its validator", {"If-None-Match": etag}, 304),
        ):
            status = self.get(path, headers).status
            problem = None if status == expected else f"{status}, not {expected}"
            yield Finding(f"{what} gives {expected}", problem)

    def _closed(self, location: Location, unknown: Reply) -> Iterator[Finding]:
        prefix = location.prefix or ""
        name, content = some_file(location)
        for path in dict.fromkeys(
            (prefix, prefix[:-1], f"{prefix[:-1]}..", prefix + name)
        ):
            problem = opened(self.probe(path), unknown, name, content)
            yield Finding(f"{path} is closed", problem)

    def _leak(self) -> str | None:
        for reply in self.replies:
            for name, value in reply.headers:
                if is_internal(name):
                    return f"{reply.path} shows {name}"
                if any(each in value for each in self.internal):
                    return f"{reply.path} names one in {name}"
            if reply.status >= 300 and any(
                each.encode() in reply.body for each in self.internal
            ):
                return f"{reply.path} names one in its body"
        return None


def sent_by(reply: Reply, unknown: Reply) -> str | None:
    """Tell what is wrong with a reply that should be a file sent by nginx.

    :param unknown: what a path gets that there is not.
    """
    if reply.status != 200:
        return f"status {reply.status}, not 200"
    if CHECK_HEADER in reply.headers:
        return "Flask sent it: see KACCEL_HOST, KACCEL_SECRET and KACCEL_BACKEND"
    modified = epoch(reply.headers.get("Last-Modified"))
    length = reply.headers.get("Content-Length", type=int)
    if modified is None or length is None or "ETag" not in reply.headers:
        return "it has no ETag, Last-Modified or Content-Length: is it a file?"
    if (reply.status, reply.body) == (unknown.status, unknown.body):
        return "any other path gets the same: is it the URL of a file?"
    return None


def opened(reply: Reply, unknown: Reply, name: str, content: bytes) -> str | None:
    """Tell what is wrong with the reply to an internal path.

    :param unknown: what a path gets that there is not.
    :param name: of a file that an open path would list, or none.
    :param content: of that file.
    """
    if reply.status >= 400 and reply.status != 403:
        return None
    shows = name and (reply.body == content or f'"{name}"'.encode() in reply.body)
    # A page may have other words in it each time.
    page = reply.says("Content-Type") == unknown.says("Content-Type") and not shows
    same = page or reply.body == unknown.body
    if same and reply.says("Location") == unknown.says("Location"):
        return None
    usual = "404" if unknown.status >= 400 else "as for a path that there is not"
    return f"{reply.status}, not {usual}"


def some_file(location: Location) -> tuple[str, bytes]:
    """Return a file of a directory: its name in an internal URI, and how it begins.

    Both are empty where there is none that can be read.
    """
    if location.is_store:
        return "", b""
    try:
        with os.scandir(location.source) as entries:
            names = (it.name for it in entries if it.is_file() and it.stat().st_size)
            path = Path(location.source, next(names))
        with path.open("rb") as file:
            return location.uri(str(path), "/")[1:], file.read(BODY_BYTES)
    except (OSError, StopIteration):
        return "", b""
