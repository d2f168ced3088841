"""An S3 server that fails on purpose: a proxy in front of the real one."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import Any

from harness.s3 import S3Server


#: What a fault does with a request: ``"drop"`` it, ``"lose"`` the answer, ``"strip"``
#: the condition, ``"wait"`` too long, or answer with a status; None lets it pass.
Fault = Callable[[str, str], str | int | None]


@dataclass
class FaultyServer:
    """A proxy that treats requests as its fault says."""

    server: S3Server
    port: int
    fault: Fault = lambda method, path: None
    #: What a policy refuses by the headers.
    refuse: Callable[[str, str, Mapping[str, str]], bool] = lambda *_: False
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def puts(self) -> list[str]:
        """The paths of all uploads that were tried."""
        return [path for method, path in self.requests if method == "PUT"]

    def first(self, what: str | int, *, method: str, having: str = "") -> None:
        """Treat the first fitting request like that, and let the others pass."""
        fitting: list[str] = []

        def fault(asked: str, path: str) -> str | int | None:
            if asked != method or having not in path or fitting:
                return None
            fitting.append(path)
            return what

        self.fault = fault

    def always(self, what: str | int, *, method: str, having: str = "") -> None:
        """Treat all fitting requests like that."""
        self.fault = lambda asked, path: (
            what if asked == method and having in path else None
        )

    @property
    def config(self) -> dict[str, Any]:
        """The keys with which Flask-Store uses it, under a prefix of the test's own."""
        return {
            **self.server.config,
            "STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "STORE_PATH": f"/tests/{uuid.uuid4().hex}/",
            "STORE_S3_MULTIPART_THRESHOLD": 5 << 20,
        }


def make_handler(faulty: FaultyServer) -> type[BaseHTTPRequestHandler]:
    """Return what handles the proxy's requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_expect_100(self) -> bool:
            """Ask for the body at once."""
            return super().handle_expect_100()

        def answer(self) -> None:
            """Forward the request, or fail."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            faulty.requests.append((self.command, self.path))
            fault = faulty.fault(self.command, self.path)
            if faulty.refuse(self.command, self.path, dict(self.headers.items())):
                data = b"<Error><Code>AccessDenied</Code></Error>"
                return self.reply(403, data, {})
            if fault == "drop":
                return self.hang_up()
            if fault == "wait":
                time.sleep(1)
                return self.hang_up()
            if isinstance(fault, int):
                return self.reply(fault, b"<Error><Code>Made up</Code></Error>", {})
            headers = dict(self.headers.items())
            if fault == "strip":
                headers.pop("If-None-Match", None)
            status, answer, data = self.forward(headers, body)
            if fault == "lose":
                return self.hang_up()
            return self.reply(status, data, answer)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def forward(
            self, headers: dict[str, str], body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            """Ask the real server."""
            port = faulty.server.port
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            ) as connection:
                headers.pop("Expect", None)
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()

        def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            """Answer the client."""
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding"}:
                    self.send_header(name, value)
            length = len(data)
            if self.command == "HEAD":
                length = int(
                    headers.get("Content-Length", headers.get("content-length", 0))
                )
            self.send_header("Content-Length", str(length))
            # A client that gave up has closed the connection.
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

        def hang_up(self) -> None:
            """Close the connection without an answer."""
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    return Handler


@contextlib.contextmanager
def faulty_server(server: S3Server, port: int = 0) -> Iterator[FaultyServer]:
    """Run a proxy in front of a server."""
    faulty = FaultyServer(server, port)
    with ThreadingHTTPServer(("127.0.0.1", port), make_handler(faulty)) as proxy:
        faulty.port = proxy.server_port
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield faulty
        finally:
            proxy.shutdown()
            thread.join()
