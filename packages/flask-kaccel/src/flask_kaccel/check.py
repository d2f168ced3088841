"""Prove on a running deployment that the server in front sends the files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from flask_kaccel.delivery import CHECK_HEADER
from flask_kaccel.files import Location
from flask_kaccel.ranges import epoch


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

    status: int
    headers: Headers
    body: bytes


class Site:
    """A running site, asked as a client would, with paths sent as they are.

    :param url: the URL of any file that the app sends.
    :param locations: the app's mapping.
    """

    def __init__(self, url: str, locations: Sequence[Location]) -> None:
        self.url: SplitResult = urlsplit(url)
        self.locations = [it for it in locations if it.prefix]
        self.secrets = [it.source for it in locations if "://" not in it.source]
        self.secrets += [it.prefix for it in locations if it.prefix]
        self.replies: list[tuple[str, Reply]] = []

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """Send one GET request.

        :raises OSError: the site does not answer.
        """
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        connection = kind(self.url.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            got = Headers(response.getheaders())
            reply = Reply(response.status, got, response.read(BODY_BYTES))
        finally:
            connection.close()
        self.replies.append((path, reply))
        return reply

    def findings(self) -> Iterator[Finding]:
        """Look at everything, one request after the other."""
        path = self.url.path or "/"
        if self.url.query:
            path += f"?{self.url.query}"
        file = self.get(path, {CHECK_HEADER: "1"})
        yield Finding(f"{path} is a file sent by the server in front", sent_by(file))
        if file.status == 200:
            yield from self._conditions(path, file.headers.get("ETag", ""))
        for location in self.locations:
            yield from self._closed(location)
        yield Finding("no response names an internal path", self._leak())

    def _conditions(self, path: str, etag: str) -> Iterator[Finding]:
        for what, headers, expected in (
            ("a range of it", {"Range": "bytes=0-0"}, 206),
            ("its validator", {"If-None-Match": etag}, 304),
        ):
            status = self.get(path, headers).status
            problem = None if status == expected else f"{status}, not {expected}"
            yield Finding(f"{what} gives {expected}", problem)

    def _closed(self, location: Location) -> Iterator[Finding]:
        prefix = location.prefix or ""
        for path in (prefix, prefix[:-1], f"{prefix[:-1]}..", *some_file(location)):
            status = self.get(path).status
            problem = None if status >= 400 and status != 403 else f"{status}, not 404"
            yield Finding(f"{path} is closed", problem)

    def _leak(self) -> str | None:
        for path, reply in self.replies:
            for name, value in reply.headers:
                if name.lower().startswith(("x-accel-", "x-sendfile")):
                    return f"{path} shows {name}"
                if any(secret in value for secret in self.secrets):
                    return f"{path} names one in {name}"
            if reply.status >= 300 and any(
                secret.encode() in reply.body for secret in self.secrets
            ):
                return f"{path} names one in its body"
        return None


def sent_by(reply: Reply) -> str | None:
    """Tell what is wrong with a reply that should be a file sent by nginx."""
    if reply.status != 200:
        return f"status {reply.status}, not 200"
    if CHECK_HEADER in reply.headers:
        return "Flask sent it: see KACCEL_HOST, KACCEL_SECRET and KACCEL_BACKEND"
    modified = epoch(reply.headers.get("Last-Modified"))
    length = reply.headers.get("Content-Length", type=int)
    if modified is None or length is None or "ETag" not in reply.headers:
        return "it has no ETag, Last-Modified or Content-Length: is it a file?"
    return None


def some_file(location: Location) -> list[str]:
    """Return the public form of a real file's internal URI, if there is a file."""
    if "://" in location.source:
        return []
    try:
        with os.scandir(location.source) as entries:
            names = (it.name for it in entries if it.is_file())
            name = next(names, None)
    except OSError:
        return []
    return [] if name is None else [location.uri(str(Path(location.source, name)))]
