"""The findings about a running site that are printed by ``flask kaccel check``.

For each URL the app is asked twice: in this process, for what it would answer the
front, and through the site, as a client. What the client gets has to be the file that
the app named, with the fields that the app gave. :mod:`flask_kaccel._causes` names the
likely cause of a difference.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult
from urllib.parse import quote

from flask import Flask

from . import _causes
from ._causes import Problem
from ._fields import CHECK_HEADER
from ._fields import FRONTS
from ._fields import is_internal
from ._files import File
from ._files import Location
from ._probe import can_sign
from ._probe import question
from ._site import Expected
from ._site import Reply
from ._site import Site
from ._site import expected
from ._state import State


#: Where a directory is often public by another location of the same server.
PUBLIC = (
    "", "static", "files", "file", "media", "uploads", "upload", "download",
    "downloads", "public", "assets", "data", "documents", "images",
)  # fmt: skip
STORE_FIELDS = ("x-amz-", "x-goog-", "x-ms-", "x-minio-", "via")


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing that was looked at, and what is wrong with it, if anything."""

    what: str
    problem: Problem | None = None


class Check:
    """One run of the command.

    :param headers: what a visitor who may have the files sends along.
    :param keep: the fields of the app's own that the front gives back.
    :param seconds: the time for one request.
    """

    def __init__(
        self,
        app: Flask,
        state: State,
        headers: Mapping[str, str],
        keep: Sequence[str],
        seconds: float,
    ) -> None:
        self.app = app
        self.state = state
        self.headers = headers
        self.keep = keep
        self.seconds = seconds
        self.seen: set[str] = set()
        self.opened: set[str] = set()
        self.notes: list[str] = []
        if not can_sign(state):
            self.notes.append(
                "set SECRET_KEY or KACCEL_SECRET to have the front's errors checked"
            )

    def findings(self, urls: Sequence[SplitResult]) -> Iterator[Finding]:
        """Look at everything, one request after the other.

        :raises OSError: the site does not answer.
        """
        yield from self._configured()
        sites: dict[str, Site] = {}
        for url in urls:
            site = sites.setdefault(url.netloc, Site(url, self.headers, self.seconds))
            yield from self._url(site, url)
        site = next(iter(sites.values()))
        # Some sites have one page, or a login, for every path that does not exist.
        unknown = site.probe(f"/{secrets.token_hex(16)}")
        for location in self._sent():
            if location.source not in self.seen:
                cause = "pass the URL of one, too"
                problem = Problem("none of the URLs is that of a file in it", cause)
                yield Finding(f"{location.source} is sent by the front", problem)
            if location.prefix:
                yield from self._closed(site, location, unknown)
        for each in sites.values():
            yield Finding("no response names an internal path", self._leak(each))

    def _sent(self) -> list[Location]:
        """Return the locations of which the front has to send files."""
        locations = self.state.locations
        if self.state.config.sender == "x-sendfile":
            return locations.directories
        return [it for it in locations.all if it.prefix]

    def _configured(self) -> Iterator[Finding]:
        for location in self.state.locations.directories:
            problem = None
            if not Path(location.source).is_dir():
                problem = Problem(
                    "there is no such directory", "create it, or correct the key"
                )
            yield Finding(f"{location.source} is a directory", problem)
        rules = [rule.rule for rule in self.app.url_map.iter_rules()]
        for location in self._sent():
            prefix = location.prefix
            taken = [it for it in rules if prefix and it.startswith(prefix)]
            if taken:
                cause = f"give {location.source} a prefix that no route starts with"
                problem = Problem(f"the app has the route {taken[0]}", cause)
                yield Finding(f"{prefix} is reserved for the front", problem)

    def _url(self, site: Site, url: SplitResult) -> Iterator[Finding]:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        wanted = expected(self.app, self.state, url, self.headers, self.keep)
        reply = site.get(path, self._question("file"))
        if FRONTS.get(self.state.config.sender) is None:
            cause = "set KACCEL_REDIRECT_PATH, KACCEL_MAPPINGS or KACCEL_BACKEND"
            problem: Problem | None = Problem("Flask sends all files", cause)
        else:
            problem = _causes.answered(self.state, wanted, reply)
        self._note_seen(wanted)
        yield Finding(f"{path} is a file sent by the front", problem)
        if problem is not None:
            return
        again = expected(self.app, self.state, url, self.headers, self.keep)
        yield from self._fields(path, wanted, again, reply)
        if wanted.file is not None:
            yield from self._file(site, path, wanted, wanted.file, reply)

    def _question(self, probe: str) -> dict[str, str]:
        return {CHECK_HEADER: question(self.state, probe)}  # type: ignore[arg-type]  # one of three

    def _note_seen(self, wanted: Expected) -> None:
        if wanted.file is not None and wanted.file.location is not None:
            self.seen.add(wanted.file.location.source)
        for location in self.state.locations.stores:
            if (wanted.store or "").startswith(location.prefix or "//"):
                self.seen.add(location.source)

    def _fields(
        self, path: str, wanted: Expected, again: Expected, reply: Reply
    ) -> Iterator[Finding]:
        for key, (name, value) in wanted.lines.items():
            if key == "content-type" and wanted.file is None:
                continue
            stable = again.lines.get(key) == (name, value)
            lines = reply.headers.getlist(name)
            problem = _causes.field(name, value if stable else None, lines)
            if problem is not None:
                yield Finding(f"{path} has the app's {name}", problem)
        if not reply.by_block:
            cause = f"the block is not the printed one: {_causes.AGAIN}"
            problem = Problem("the client would lose the app's security fields", cause)
            yield Finding(f"{path} has the app's fields", problem)
        added = [
            name
            for name, _ in reply.headers
            if name.lower().startswith(STORE_FIELDS)
            and name.lower() not in wanted.lines
        ]
        if added and wanted.store is not None:
            cause = f"hide it: `proxy_hide_header {added[0]};`"
            problem = Problem(f"the store's {added[0]} is shown", cause)
            yield Finding(f"{path} shows nothing of the store", problem)
        if wanted.dropped:
            names = ", ".join(sorted(set(wanted.dropped)))
            self.notes.append(
                f"{path}: nginx drops {names}; `--keep NAME` of `flask kaccel config` "
                "keeps a header"
            )

    def _file(
        self, site: Site, path: str, wanted: Expected, file: File, reply: Reply
    ) -> Iterator[Finding]:
        problem = _causes.validators(self.state, file, reply)
        yield Finding(f"{path} has its validators", problem)
        for what, headers, status, cause in (
            ("a range", {"Range": "bytes=0-0"}, 206, "`max_ranges` or `MaxRanges`"),
            (
                "its validator",
                {"If-None-Match": reply.headers.get("ETag", '"none"')},
                304,
                "a line that changes the ETag, or drops the request's headers",
            ),
        ):
            if file.size == 0 and status == 206:
                continue
            got = site.get(path, headers).status
            symptom = f"{got}, not {status}"
            problem = None
            if got != status:
                problem = Problem(symptom, f"{cause} in the front's configuration")
            yield Finding(f"{what} of {path} gives {status}", problem)
        if file.location is not None and can_sign(self.state):
            yield from self._errors(site, path, wanted)
        yield from self._public(site, file, wanted)

    def _errors(self, site: Site, path: str, wanted: Expected) -> Iterator[Finding]:
        gone = site.get(path, self._question("missing"))
        problem = _causes.missing(wanted, gone)
        if problem is None and FRONTS[self.state.config.sender].drops:
            problem = _causes.unguarded(gone)
        yield Finding("the error for a file that no longer exists is right", problem)
        listed = site.get(path, self._question("directory"))
        problem = _causes.directory(listed, gone)
        yield Finding("the contents of a directory are not shown", problem)

    def _public(self, site: Site, file: File, wanted: Expected) -> Iterator[Finding]:
        location = file.location
        if location is None or file.size == 0 or location.source in self.opened:
            return
        self.opened.add(location.source)
        name = quote(os.fsencode(location.relative(file.path)))
        folder = _folder(location)
        bare = (location.prefix or "").strip("/_-.")
        content = wanted.content()
        for place in dict.fromkeys((*PUBLIC, folder, bare)):
            path = f"/{place}/{name}" if place else f"/{name}"
            if location.prefix and path.startswith(location.prefix):
                continue
            reply = site.probe(path)
            same = reply.status == 200 and reply.body == content
            if same and not reply.by_app and not reply.by_block:
                cause = "remove the location or directory that makes it public"
                problem = Problem(f"anyone can download it from {path}", cause)
                yield Finding(f"{location.source} is not public", problem)
                return
        yield Finding(f"{location.source} is not public at the usual places")

    def _closed(
        self, site: Site, location: Location, unknown: Reply
    ) -> Iterator[Finding]:
        prefix = location.prefix or ""
        name, content = some_file(location)
        # A block without its slash lets a path leave the directory, and come back.
        back = f"{prefix[:-1]}../{_folder(location)}/{name}"
        for path in dict.fromkeys((prefix, prefix[:-1], back, prefix + name)):
            symptom = opened(site.probe(path), unknown, name, content)
            problem = None
            if symptom is not None:
                cause = f"add `internal;` to the block of {prefix}: {_causes.AGAIN}"
                problem = Problem(symptom, cause)
            yield Finding(f"{path} is closed", problem)

    def _leak(self, site: Site) -> Problem | None:
        locations = self.state.locations
        internal = [it.source for it in locations.directories]
        internal += [it.prefix for it in locations.all if it.prefix]
        for reply in site.replies:
            for name, value in reply.headers:
                if name == CHECK_HEADER:
                    continue
                if is_internal(name):
                    cause = (
                        "a server in front of the front, or a line that passes it on"
                    )
                    return Problem(f"{reply.path} shows {name}", cause)
                if any(each in value for each in internal):
                    return Problem(f"{reply.path} names one in {name}")
            if reply.status >= 300 and any(
                each.encode() in reply.body for each in internal
            ):
                return Problem(f"{reply.path} names one in its body")
        return None


def _folder(location: Location) -> str:
    return quote(os.fsencode(Path(location.source).name))


def opened(reply: Reply, unknown: Reply, name: str, content: bytes) -> str | None:
    """Return what is wrong with the reply to an internal path.

    :param unknown: the reply to a path that does not exist.
    :param name: of a file that an open path would list, or empty.
    :param content: of that file.
    """
    if not reply.status or (reply.status >= 400 and reply.status not in (401, 403)):
        return None
    shows = name and (reply.body == content or f'"{name}"'.encode() in reply.body)
    # A page may have other words in it each time.
    kinds = [it.headers.get("Content-Type") for it in (reply, unknown)]
    page = reply.status == unknown.status and kinds[0] == kinds[1] and not shows
    same = page or reply.body == unknown.body
    places = [it.headers.get("Location") for it in (reply, unknown)]
    if same and places[0] == places[1]:
        return None
    usual = "404" if unknown.status >= 400 else "as for a path that does not exist"
    return f"{reply.status}, not {usual}"


def some_file(location: Location) -> tuple[str, bytes]:
    """Return a file of a directory: its name in an internal URI, and how it begins.

    Both are empty if there is none that can be read.
    """
    if location.is_store:
        return "", b""
    try:
        with os.scandir(location.source) as entries:
            names = (it.name for it in entries if it.is_file() and it.stat().st_size)
            path = Path(location.source, next(names))
        with path.open("rb") as file:
            return location.uri(str(path), "/")[1:], file.read(64 * 1024)
    except (OSError, StopIteration):
        return "", b""
