"""Find out from outside whether uploads can resume through all that stands in between.

A proxy or server that receives a body whole before it passes any of it on makes each
cut request one that never was. Nothing in the app can see that, so ``flask store check
URL`` sends what a client on a bad line sends, by the way that clients take, and looks
at what has arrived. The upload that it makes is dropped in the end.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import time
from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin
from urllib.parse import urlsplit

from .protocol import MEDIA_TYPE
from .protocol import VERSION


#: What an upload announces, more than proxies take without being told.
LENGTH = 64 << 20
#: What is sent of it before the line is cut; more than sockets on the way hold.
SENT = 4 << 20
WAIT_SECONDS = 10.0


class Finding(NamedTuple):
    """The result of one step.

    :param good: whether uploads can resume as far as it knows.
    """

    good: bool
    text: str


class Probe:
    """Uploads to a URL.

    :param url: where uploads are created, as clients know it.
    :param headers: sent with each request, such as a cookie.
    :param wait: the seconds to wait for what has to come by itself.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], wait: float = WAIT_SECONDS
    ) -> None:
        self._url = url
        self._headers = {"Tus-Resumable": VERSION, **headers}
        self._wait = wait

    def run(self) -> Iterator[Finding]:
        """Try it out; each step yields what it has shown."""
        try:
            length = self._length()
            made = self._ask("POST", self._url, {"Upload-Length": str(length)})
            if made.status != 201:
                yield Finding(False, _refusal("an upload cannot be created", made))
                return
            url = urljoin(self._url, made.headers["Location"])
            yield Finding(True, f"an upload can be created: {url}")
            try:
                yield from self._try(url, length)
            finally:
                self._ask("DELETE", url)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            yield Finding(False, f"{self._url} cannot be reached: {reason}")

    def _try(self, url: str, length: int) -> Iterator[Finding]:
        with self._begin(url, 0, length) as connection:
            # A proxy that refuses so large a body does so at once.
            answer = self._answer(connection, self._wait / 20)
            came = 0 if answer else self._offset_after(url, 0)
            if not came and (answer := answer or self._answer(connection, 0)):
                yield Finding(False, _refusal("a body is refused", answer))
                return
        if came:
            yield Finding(True, f"bytes arrive while they are sent: {came:,} so far")
        else:
            yield Finding(False, "a body is held back until it is complete")
        kept = self._offset_after(url, came)
        if kept:
            yield Finding(True, f"a cut request keeps what came: {kept:,} bytes")
        else:
            yield Finding(False, "a cut request keeps nothing")
        # Where the upload does not end. That the line is cut tells a client as much as
        # an answer, which gets lost when a server hangs up on what is still coming.
        with self._begin(url, length - 1, length) as connection:
            early = _hears(connection, self._wait)
        if early:
            yield Finding(True, "a refusal comes before the end of a body")
        else:
            yield Finding(False, "no refusal comes before the end of a body")

    def _length(self) -> int:
        """Return what to announce, which the app may limit."""
        limit = self._ask("OPTIONS", self._url).headers.get("Tus-Max-Size", "")
        return min(LENGTH, int(limit)) if limit.isdecimal() else LENGTH

    def _offset_after(self, url: str, offset: int) -> int:
        """Wait for more bytes than there were; return where the upload ends."""
        deadline = time.monotonic() + self._wait
        while True:
            found = self._ask("HEAD", url).headers.get("Upload-Offset", "")
            end = int(found) if found.isdecimal() else 0
            if end > offset or (offset and end) or time.monotonic() > deadline:
                return end
            time.sleep(0.1)

    def _ask(
        self, method: str, url: str, fields: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        with contextlib.closing(self._connect(url)) as connection:
            headers = {**self._headers, **(fields or {})}
            connection.request(method, _target(url), headers=headers)
            answer = connection.getresponse()
            answer.read()
        return answer

    @contextlib.contextmanager
    def _begin(
        self, url: str, offset: int, length: int
    ) -> Iterator[http.client.HTTPConnection]:
        """Begin a request that brings bytes, and cut the line in the end."""
        with contextlib.closing(self._connect(url)) as connection:
            fields = {
                **self._headers,
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(length - min(offset, length // 2)),
                "Upload-Offset": str(offset),
            }
            connection.putrequest("PATCH", _target(url))
            for key, value in fields.items():
                connection.putheader(key, value)
            connection.endheaders()
            with contextlib.suppress(OSError):
                # Who refuses may hang up meanwhile.
                connection.send(bytes(min(SENT, length // 2)))
            yield connection

    @staticmethod
    def _answer(
        connection: http.client.HTTPConnection, wait: float
    ) -> http.client.HTTPResponse | None:
        """Return the answer to a request that is not complete, if one comes."""
        if connection.sock is None or not _hears(connection, wait):
            return None
        answer = connection.response_class(connection.sock, method="PATCH")
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer.begin()
            return answer
        return None

    def _connect(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(parts.netloc, timeout=3 * self._wait)


def _hears(connection: http.client.HTTPConnection, wait: float) -> bool:
    """Return whether something comes back, if only the end of the connection."""
    sock = connection.sock
    return sock is None or bool(select.select([sock], [], [], wait)[0])


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


def _refusal(what: str, answer: http.client.HTTPResponse) -> str:
    reason = {
        401: "; pass your credentials with --header",
        403: "; pass your credentials with --header",
        404: "; pass the URL where uploads are created",
        413: "; raise the limit of the proxy, such as client_max_body_size",
    }.get(answer.status, "")
    return f"{what}: {answer.status} {answer.reason}{reason}"
