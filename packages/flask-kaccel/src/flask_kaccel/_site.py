"""The two sides of a check: a running site as a client sees it, and the app itself."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.client import HTTPException
from http.client import HTTPSConnection
from pathlib import Path
from socket import SHUT_RDWR
from socket import socket
from threading import Event
from threading import Timer
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import quote

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from ._body import RECORD
from ._body import FileBody
from ._body import RedirectBody
from ._fields import CARRIED
from ._fields import CHECK_HEADER
from ._fields import FIELDS
from ._fields import FRONTS
from ._fields import SECRET_HEADER
from ._fields import Fate
from ._fields import is_internal
from ._files import File
from ._probe import FLASK
from ._probe import HANDED
from ._state import State


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

BODY_BYTES = 64 * 1024
NAMES = {field.carrier.lower(): field.name for field in CARRIED}


@dataclass(frozen=True, slots=True)
class Reply:
    """The part of a response that a check looks at.

    :param slow: whether the time was up first; the status is 0 if nothing has come.
    """

    path: str
    status: int
    headers: Headers
    body: bytes
    slow: bool = False

    @property
    def by_app(self) -> bool:
        """Whether the app made it, not the front."""
        return self.headers.get(CHECK_HEADER, "").startswith(FLASK)

    @property
    def by_block(self) -> bool:
        """Whether the front made it, in a block that gives the app's fields back."""
        return self.headers.get(CHECK_HEADER) == HANDED

    @property
    def seen_path(self) -> str | None:
        """The path that has reached the app, if it says so."""
        return self.headers.get(CHECK_HEADER, "").partition(" ")[2] or None

    def without_echo(self) -> Reply:
        """Return the reply without its path, which says nothing that was not asked."""
        headers, body = self.headers, self.body
        for echo in (self.path, quote(self.path, safe="")):
            headers = Headers([(key, it.replace(echo, "")) for key, it in headers])
            body = body.replace(echo.encode(), b"")
        return Reply(self.path, self.status, headers, body, self.slow)


class Site:
    """A running site, asked as a client would, with paths sent as they are.

    :param url: any URL of it.
    :param headers: what a visitor who may have the files sends along.
    :param seconds: the time for one request.
    """

    def __init__(
        self, url: SplitResult, headers: Mapping[str, str], seconds: float
    ) -> None:
        self.url = url
        self.headers = dict(headers)
        self.seconds = seconds
        self.replies: list[Reply] = []

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for a file as a visitor who may have it.

        :raises OSError: the site does not answer.
        """
        self.replies.append(self._request(path, {**self.headers, **(headers or {})}))
        return self.replies[-1]

    def probe(self, path: str) -> Reply:
        """Ask as anybody for what should not be there.

        :raises OSError: the site does not answer.
        """
        reply = self._request(path, {CHECK_HEADER: "file"})
        self.replies.append(reply.without_echo())
        return self.replies[-1]

    def _request(self, path: str, headers: Mapping[str, str]) -> Reply:
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        connection = kind(self.url.netloc, timeout=self.seconds)
        connection.connect()
        # A front may send one byte of the header at a time.
        late = Event()
        timer = Timer(self.seconds, _shut, (connection.sock, late))
        timer.start()
        status, got, body, slow = 0, Headers(), b"", False
        try:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            status, got = response.status, Headers(response.getheaders())
            body = response.read(BODY_BYTES)
        except (OSError, HTTPException, ValueError):  # ValueError: TLS that was shut
            slow = late.is_set()
            if not slow:
                raise
        finally:
            timer.cancel()
            connection.close()
        length = got.get("Content-Length", type=int) or 0
        slow = slow or len(body) < min(length, BODY_BYTES)
        return Reply(path, status, got, body, slow)


def _shut(connection: socket, late: Event) -> None:
    late.set()
    with suppress(OSError):
        connection.shutdown(SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Expected:
    """The answer of the app itself, in this process, to the front.

    :param file: the file that it hands over, or ``None``.
    :param store: the internal URI in its place.
    :param lines: the fields that the client should see, by lower-case name.
    :param dropped: the names of those that nginx drops.
    :param error: the exception that the view has raised.
    """

    status: int
    headers: Headers
    file: File | None = None
    store: str | None = None
    lines: Mapping[str, tuple[str, str]] = None  # type: ignore[assignment]
    dropped: Sequence[str] = ()
    error: str | None = None

    @property
    def handed(self) -> bool:
        """Whether the app leaves the answer to the front."""
        return self.file is not None or self.store is not None

    def content(self) -> bytes:
        """Return the beginning of the file.

        :raises OSError: this process cannot read it.
        """
        if self.file is None:
            return b""
        with Path(self.file.path).open("rb") as file:
            return file.read(BODY_BYTES)


def expected(
    app: Flask, state: State, url: SplitResult, headers: Mapping[str, str],
    keep: Sequence[str],
) -> Expected:  # fmt: skip
    """Return what the app answers to the front."""
    got: list[Any] = []

    def start(status: str, fields: Any, _error: Any = None) -> Any:
        got[:] = (int(status[:3]), Headers(fields))

    environ = EnvironBuilder(
        path=url.path or "/",
        query_string=url.query,
        base_url=f"{url.scheme}://{url.netloc}",
        headers=Headers({**headers, SECRET_HEADER: state.config.secret or ""}),
    ).get_environ()
    try:
        _run(app, environ, start)
    except Exception as error:  # noqa: BLE001 - a view may raise anything
        return Expected(500, Headers(), lines={}, error=repr(error))
    status, fields = got
    record = environ.get(RECORD)
    file = store = None
    front = FRONTS.get(state.config.sender)
    if front is not None and front.field in fields:
        if isinstance(record, FileBody):
            file = record.file
        elif isinstance(record, RedirectBody):
            store = record.uri
    return Expected(status, fields, file, store, *_visible(fields, state, keep))


def _run(app: Flask, environ: Any, start: StartResponse) -> None:
    body = app.wsgi_app(environ, start)
    try:
        for _ in body:
            break
    finally:
        getattr(body, "close", lambda: None)()


def _visible(
    fields: Headers, state: State, keep: Sequence[str]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the fields that a client should see, and the names of the others."""
    front = FRONTS.get(state.config.sender)
    kept = {name.lower() for name in keep}
    lines: dict[str, tuple[str, str]] = {}
    dropped = []
    for name, value in fields:
        key = NAMES.get(name.lower(), name).lower()
        row = FIELDS.get(key)
        if key == "set-cookie" or (is_internal(name) and key == name.lower()):
            continue
        if row is not None and row.fate is Fate.REPLACED:
            continue
        if row is None and front and front.drops and key not in kept:
            dropped.append(name)
            continue
        lines[key] = (row.name if row else name, value)
    return lines, dropped
