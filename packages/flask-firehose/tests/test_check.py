"""``flask firehose check``: sites that waste or break their hints."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

import pytest

from flask_firehose._check import check
from flask_firehose._http import MAX_BODY
from flask_firehose._http import FetchError
from flask_firehose._http import fetch


#: Each path's answer, of the lines of its head and its body, by the request's fields.
Pages = dict[str, Callable[[dict[str, str]], bytes]]

STYLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nCache-Control: max-age=60\r\n\r\n"
)
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: %b\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n%b\r\n%b"


@pytest.fixture
def serve() -> Iterator[Callable[[Pages], str]]:
    """Return a function that serves raw answers, and returns their address."""
    servers: list[ThreadingHTTPServer] = []

    def start(pages: Pages) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                found = pages.get(self.path)
                missing = b"HTTP/1.1 404 Not Found\r\n\r\n"
                self.wfile.write(found(fields) if found else missing)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def found(url: str) -> dict[str, str]:
    """Return what a check finds, by its text."""
    return {text: level for level, text in check(url)}


def hinting(link: bytes, *, head: bytes = b"", body: bytes = b"") -> Pages:
    """Return a site whose page hints a link in a 103."""
    return {"/": lambda _: HINT % link + PAGE % (head, body)}


@pytest.mark.parametrize(
    ("link", "target", "finding"),
    [
        (b"</gone.css>; rel=preload; as=style", None, "/gone.css answers 404"),
        (
            b"</a.css>; rel=preload; as=style",
            STYLE.replace(b"text/css", b"text/html"),
            "/a.css is text/html, hinted as style",
        ),
        (
            b"</a.css>; rel=preload; as=style",
            STYLE.replace(b"max-age=60", b"no-cache"),
            "/a.css has no max age: browsers fetch it twice",
        ),
    ],
    ids=["missing", "other type", "no max age"],
)
def test_bad_target(
    serve: Callable[[Pages], str], link: bytes, target: bytes | None, finding: str
) -> None:
    """A hinted file that no browser could use is named, with the reason."""
    pages = hinting(link)
    if target is not None:
        pages["/a.css"] = lambda _: target
    assert found(serve(pages) + "/")[finding] == "bad"


def test_good_target(serve: Callable[[Pages], str]) -> None:
    """A hinted file that the page uses is reported with its size; others are not."""
    link = b'</a.css>; rel=preload; as="style", <//cdn.invalid>; rel=preconnect'
    pages = hinting(link, body=b'<link href="/a.css">')
    pages["/a.css"] = lambda _: STYLE + b"body{}"
    findings = found(serve(pages) + "/")
    assert findings["/a.css: 6 bytes, max-age=60"] == "ok"
    assert not any("cdn.invalid" in text for text in findings)


def test_foreign_font(serve: Callable[[Pages], str]) -> None:
    """A font of another origin without CORS cannot be used."""
    font = b"HTTP/1.1 200 OK\r\nContent-Type: font/woff2\r\nCache-Control: max-age=9"
    other = serve({"/f.woff2": lambda _: font + b"\r\n\r\n"})
    url = f"{other}/f.woff2"
    link = f"<{url}>; rel=preload; as=font; crossorigin".encode()
    findings = found(serve(hinting(link)) + "/")
    assert findings[f"{url} has no Access-Control-Allow-Origin"] == "bad"


def test_hints_for_everybody(serve: Callable[[Pages], str]) -> None:
    """Several 103s, and a 103 for a client that does not navigate, cost visitors."""
    hint = HINT % b"</a.css>; rel=preload; as=style"
    page = serve({"/": lambda _: hint + hint + PAGE % (b"", b"")})
    findings = found(f"{page}/")
    assert findings["2 103s: browsers use the first"] == "bad"
    (everybody,) = (text for text in findings if "no Sec-Fetch-Mode" in text)
    assert findings[everybody] == "bad"


def test_visitors(serve: Callable[[Pages], str]) -> None:
    """Hints that depend on the visitor, and a page of its visitor, are noted."""

    def page(fields: dict[str, str]) -> bytes:
        hint = HINT % b"</mine.css>; rel=preload; as=style"
        head = b"Vary: Cookie\r\nServer: one\r\nVia: 1.1 two\r\n"
        return (hint if "cookie" in fields else b"") + PAGE % (head, b"")

    findings = found(serve({"/": page}) + "/")
    assert findings["another visitor gets different hints"] == "note"
    assert findings["answered by one, 1.1 two"] == "note"
    assert findings[
        "the page depends on cookies: caches do not share it between visitors"
    ]


def test_page_that_fails(serve: Callable[[Pages], str]) -> None:
    """A page that is not there, or has a head beyond nginx's buffer, is bad."""
    assert found(serve({}) + "/")["the page answers 404: check the URL after redirects"]
    head = b"X-Long: " + b"x" * 5000 + b"\r\n"
    findings = found(serve({"/": lambda _: PAGE % (head, b"")}) + "/")
    (size,) = (text for text in findings if text.endswith("4096 by default"))
    assert findings[size] == "bad"


def test_speculation_rules(serve: Callable[[Pages], str]) -> None:
    """Each file of rules that the page names is asked for."""
    head = b'Speculation-Rules: "/rules.json", "/gone.json"\r\n'
    rules = b"HTTP/1.1 200 OK\r\nContent-Type: application/speculationrules+json\r\n"
    page = serve(
        {"/": lambda _: PAGE % (head, b""), "/rules.json": lambda _: rules + b"\r\n{}"}
    )
    findings = found(f"{page}/")
    assert findings["speculation rules: /rules.json"] == "ok"
    assert findings["speculation rules: /gone.json answers 404, "] == "bad"


def test_answers_without_an_end(serve: Callable[[Pages], str]) -> None:
    """A connection that is closed is an error, and an endless body is cut off."""
    url = serve({"/": lambda _: b"", "/long": lambda _: PAGE % (b"", b"x" * 1_500_000)})
    with pytest.raises(FetchError, match="closed before the answer"):
        fetch(f"{url}/", {})
    assert len(fetch(f"{url}/long", {}).body) == MAX_BODY
