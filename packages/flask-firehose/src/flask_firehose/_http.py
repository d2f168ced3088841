"""A small HTTP client that shows interim answers, which the usual ones hide."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from .exceptions import FirehoseError


TIMEOUT = 30.0
#: More than a page's head and its links ever take.
MAX_BODY = 1_000_000

Fields = list[tuple[str, str]]


class FetchError(FirehoseError, OSError):
    """A URL that cannot be fetched."""


@dataclass(slots=True)
class Answer:
    """The answer of a server to one request; field names are in lower case.

    :param interim: the seconds after which each 1xx came, its status, its fields.
    :param seconds: after which the final head came.
    :param protocol: ``h2`` or ``http/1.1``.
    """

    protocol: str
    status: int = 0
    seconds: float = 0.0
    fields: Fields = field(default_factory=list)
    interim: list[tuple[float, int, Fields]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str:
        """Return the values of a field, joined by commas."""
        return ", ".join(value for one, value in self.fields if one == name)


def fetch(url: str, headers: Mapping[str, str], *, insecure: bool = False) -> Answer:
    """GET a URL, over HTTP/2 if the server and the installed packages can.

    :raises FetchError: it cannot be reached.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    try:
        address = (parts.hostname or "", port)
        with socket.create_connection(address, TIMEOUT) as plain:
            if parts.scheme != "https":
                return _http1(plain, parts.netloc, target, headers)
            context = ssl.create_default_context()
            if insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            offers = ["h2"] if importlib.util.find_spec("h2") else []
            context.set_alpn_protocols([*offers, "http/1.1"])
            with context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
                if secure.selected_alpn_protocol() == "h2":
                    return _http2(secure, parts.netloc, target, headers)
                return _http1(secure, parts.netloc, target, headers)
    except (OSError, ValueError) as error:
        raise FetchError(f"{url} cannot be fetched: {error}") from error


def _http1(
    connection: socket.socket, host: str, target: str, headers: Mapping[str, str]
) -> Answer:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    started = time.monotonic()
    connection.sendall("\r\n".join((*lines, "", "")).encode())
    answer = Answer("http/1.1")
    with connection.makefile("rb") as stream:
        while True:
            status_line = stream.readline(65537).split()
            if len(status_line) < 2:
                raise ValueError("the connection was closed before the answer")
            status, found = int(status_line[1]), []
            while line := stream.readline(65537).strip():
                name, _, value = line.decode("latin-1").partition(":")
                found.append((name.lower(), value.strip()))
            if status >= 200:
                break
            answer.interim.append((time.monotonic() - started, status, found))
        answer.status, answer.fields = status, found
        answer.seconds = time.monotonic() - started
        answer.body = stream.read(MAX_BODY)
    return answer


def _http2(
    connection: socket.socket, host: str, target: str, headers: Mapping[str, str]
) -> Answer:
    import h2.config
    import h2.connection

    client: Any = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding="utf-8")
    )
    client.initiate_connection()
    pseudo = [
        (":method", "GET"), (":scheme", "https"),
        (":authority", host), (":path", target),
    ]  # fmt: skip
    client.send_headers(
        1, [*pseudo, *((k.lower(), v) for k, v in headers.items())], end_stream=True
    )
    started = time.monotonic()
    connection.sendall(client.data_to_send())
    answer = Answer("h2")
    while data := connection.recv(65536):
        for event in client.receive_data(data):
            if _take(event, client, answer, time.monotonic() - started):
                return answer
        connection.sendall(client.data_to_send())
    raise ValueError("the connection was closed before the answer")


def _take(event: Any, client: Any, answer: Answer, seconds: float) -> bool:
    """Take an event of HTTP/2; return whether it was the last."""
    if getattr(event, "stream_id", 1) != 1:
        return False  # the server pushes
    match type(event).__name__:
        case "InformationalResponseReceived":
            found = dict(event.headers)
            fields = [one for one in event.headers if not one[0].startswith(":")]
            answer.interim.append((seconds, int(found[":status"]), fields))
        case "ResponseReceived":
            answer.status = int(dict(event.headers)[":status"])
            answer.fields = [one for one in event.headers if not one[0].startswith(":")]
            answer.seconds = seconds
        case "DataReceived":
            answer.body += event.data
            client.acknowledge_received_data(event.flow_controlled_length, 1)
        case "StreamEnded":
            return True
        case "StreamReset" | "ConnectionTerminated":
            raise ValueError("the server ended the connection")
    return len(answer.body) > MAX_BODY
