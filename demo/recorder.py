"""Records what each request does, from outside of the application.

The recorder is a WSGI middleware around everything, so that it sees what really
leaves: hits of the cache, early hints, headers that hooks add, bodies that break.
Nothing that a page depends on is read from it.

==================  =======================================================
moment              what is noted
==================  =======================================================
request             method, URL, fields; the visitor, known by a cookie
103                 after how long, and its links
view                that it ran at all
head                after how long, status and fields
signals             what the extensions say: purged, stored, streamed
end of the body     bytes, chunks, how it ended; the record is handed over
nginx's access log  what nginx sent to the browser, where it stands in front
==================  =======================================================
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from werkzeug.http import dump_cookie
from werkzeug.http import parse_cookie
from werkzeug.wsgi import get_current_url


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

COOKIE = "demo_visitor"
#: What nobody else should read, not even in a picture of the panel.
SECRET_FIELDS = {"authorization", "cookie", "set-cookie"}
LINKS = "/shared/"
SECRET_QUERY = ("signature", "token", "x-amz-")
#: Requests of the panel itself and of files that never change.
UNRECORDED = ("/live", "/hood", "/static/", "/flask-streaming/")
#: A field of requests by the dozen, which would push all others out.
MEASURED = ("Demo-Measures", "yes")

Fields = list[tuple[str, str]]


@dataclass(slots=True, eq=False)
class Record:
    """A record of one request; times are in milliseconds since its start."""

    id: str
    visitor: str
    method: str
    url: str
    protocol: str
    fields: Fields
    started: float = field(default_factory=time.perf_counter)
    endpoint: str = ""
    view_ran: bool = False
    hint: tuple[float, list[str]] | None = None
    status: str = ""
    answer: Fields = field(default_factory=list)
    head: float = 0
    end: float = 0
    received: int = 0
    sent: int = 0
    chunks: int = 0
    failure: str = ""
    notes: list[str] = field(default_factory=list)
    front: dict[str, Any] = field(default_factory=dict)

    def elapsed(self) -> float:
        """Return the milliseconds since the request came."""
        return (time.perf_counter() - self.started) * 1000

    def field(self, name: str) -> str:
        """Return a field of the answer, or an empty string."""
        found = (value for key, value in self.answer if key.lower() == name.lower())
        return next(found, "")


#: The record of the request that this thread answers.
current: ContextVar[Record | None] = ContextVar("demo_record", default=None)


def note(text: str) -> None:
    """Note something about the current request."""
    record = current.get()
    if record and text not in record.notes:
        record.notes.append(text)


def visitor() -> str:
    """Return the current request's visitor."""
    record = current.get()
    return record.visitor if record else ""


class Recorder:
    """The middleware.

    :param app: everything else.
    :param finished: is given each record when its response has left.
    """

    def __init__(
        self, app: WSGIApplication, finished: Callable[[Record], None]
    ) -> None:
        self.app = app
        self.finished = finished
        #: Those of requests that hold a thread at the moment.
        self.active: set[Record] = set()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request, and record it."""
        record = begin(environ)
        current.set(record)
        self.active.add(record)
        if early_hints := environ.get("wsgi.early_hints"):
            environ["wsgi.early_hints"] = hinting(record, early_hints)

        def start(status: str, headers: Fields, exc_info: Any = None) -> Any:
            record.status, record.answer = status, hidden(headers)
            record.head = record.elapsed()
            ran = "ran" if record.view_ran else "skipped"
            timing = f'rec;desc="{record.id}", view;desc="{ran}"'
            timing += f";dur={record.head:.1f}"
            headers = [*headers, ("Server-Timing", timing)]
            if COOKIE not in cookies(environ) and record.field(
                "Content-Type"
            ).startswith("text/html"):
                headers.append(("Set-Cookie", visitor_cookie(environ, record.visitor)))
            return start_response(status, headers, exc_info)

        try:
            body = self.app(environ, start)
        except BaseException:
            self.end(record)
            raise
        return Body(body, record, self.end)

    def end(self, record: Record) -> None:
        """Hand a record over."""
        self.active.discard(record)
        current.set(None)
        record.end = record.elapsed()
        self.finished(record)


class Body:
    """A response's body, counted."""

    def __init__(
        self, body: Iterable[bytes], record: Record, end: Callable[[Record], None]
    ) -> None:
        self.body, self.record, self.end = body, record, end
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        record = self.record
        try:
            for chunk in self.body:
                record.sent += len(chunk)
                record.chunks += bool(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            record.failure = type(error).__name__
            raise

    def close(self) -> None:
        """Close the body, and end the record."""
        if self.closed:
            return
        self.closed = True
        try:
            getattr(self.body, "close", bool)()
        finally:
            self.end(self.record)


def begin(environ: WSGIEnvironment) -> Record:
    """Return the record of a request that just came."""
    fields = [
        (key[5:].replace("_", "-").title(), str(value))
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    return Record(
        # nginx's own name for the request, so that its log can be matched.
        id=environ.get("HTTP_X_REQUEST_ID") or secrets.token_hex(8),
        visitor=cookies(environ).get(COOKIE) or secrets.token_urlsafe(12),
        method=environ["REQUEST_METHOD"],
        url=without_secrets(environ),
        protocol=environ.get("SERVER_PROTOCOL", ""),
        fields=sorted(hidden(fields)),
        received=int(environ.get("CONTENT_LENGTH") or 0),
    )


def hinting(
    record: Record, send: Callable[[Fields], object]
) -> Callable[[Fields], object]:
    """Wrap the server's function for early hints."""

    def wrapped(headers: Fields) -> object:
        links = [value for name, value in headers if name.lower() == "link"]
        record.hint = (record.elapsed(), links)
        return send(headers)

    return wrapped


def cookies(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the request's cookies."""
    return dict(parse_cookie(environ.get("HTTP_COOKIE", "")))


def visitor_cookie(environ: WSGIEnvironment, visitor: str) -> str:
    """Return the cookie by which a browser's own requests are found."""
    secure = environ["wsgi.url_scheme"] == "https"
    return dump_cookie(COOKIE, visitor, httponly=True, samesite="Lax", secure=secure)


def hidden(fields: Iterable[tuple[str, str]]) -> Fields:
    """Return header fields without those that are secret."""
    return [
        (name, "…" if name.lower() in SECRET_FIELDS else value)
        for name, value in fields
    ]


def without_secrets(environ: WSGIEnvironment) -> str:
    """Return the path and query of a request, without what is signed."""
    host = get_current_url(environ, host_only=True)
    url = "/" + get_current_url(environ).removeprefix(host)
    path, mark, query = url.partition("?")
    if path.startswith(LINKS):
        path = f"{LINKS}…"
    parts = [
        f"{part.partition('=')[0]}=…" if part.lower().startswith(SECRET_QUERY) else part
        for part in query.split("&")
    ]
    return path + mark + "&".join(parts)
