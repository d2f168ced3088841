"""Find out from outside what a site's early hints are worth."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urljoin
from urllib.parse import urlsplit

from ._header import head_size
from ._http import Answer
from ._http import fetch


NAVIGATION = {
    "Accept": "text/html",
    "Accept-Encoding": "identity",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
#: The buffer of nginx for a head, by default.
BUFFER = 4096
#: The content types that fit each destination.
TYPES = {"style": "text/css", "script": "javascript", "font": "font", "image": "image/"}
SNIPPET = (
    "performance.getEntriesByType('resource')"
    ".filter(entry => entry.initiatorType === 'early-hints')"
)
RULES = "application/speculationrules+json"
_LINK = re.compile(r"<([^>]*)>([^<]*)")
_PARAMETER = re.compile(r';\s*([a-z]+)(?:=(?:"([^"]*)"|([^;,\s]*)))?', re.IGNORECASE)


class Finding(NamedTuple):
    """One line of the report; ``bad`` costs visitors something."""

    level: str
    text: str


class Hint(NamedTuple):
    """A link of a header."""

    url: str
    parameters: dict[str, str]


def ok(text: str) -> Finding:
    return Finding("ok", text)


def bad(text: str) -> Finding:
    return Finding("bad", text)


def note(text: str) -> Finding:
    return Finding("note", text)


def parse(value: str) -> list[Hint]:
    """Return the links of a ``Link`` header."""
    return [
        Hint(
            url,
            {
                name.lower(): quoted or token
                for name, quoted, token in _PARAMETER.findall(rest)
            },
        )
        for url, rest in _LINK.findall(value)
    ]


def check(url: str, *, insecure: bool = False) -> Iterator[Finding]:
    """Visit a page as browsers and other clients do; yield what was found."""
    page = fetch(url, NAVIGATION, insecure=insecure)
    yield from _protocol(url, page)
    yield from _early(page)
    other = fetch(url, {"Accept-Encoding": "identity"}, insecure=insecure)
    if _hints(other):
        yield bad(
            "a client that sends no Sec-Fetch-Mode got a 103, which many mistake for "
            "the response"
        )
    else:
        yield ok("a request that is not a navigation got no 103")
    yield from _response(page)
    seen = [*_hints(page), *parse(page.get("link"))]
    for target in {urljoin(url, hint.url): hint for hint in seen}.items():
        if target[1].parameters.get("rel") in {"preload", "modulepreload"}:
            yield from _target(*target, url, page, insecure=insecure)
    again = fetch(url, {**NAVIGATION, "Cookie": "session=x"}, insecure=insecure)
    if [hint.url for hint in _hints(again)] != [hint.url for hint in _hints(page)]:
        yield note("another visitor gets different hints")
    yield from _rules(url, page, insecure=insecure)
    yield note(f"to see which hints a browser used, run in its console: {SNIPPET}")


def _hints(answer: Answer) -> list[Hint]:
    return [
        hint
        for _, status, fields in answer.interim
        if status == 103
        for name, value in fields
        if name == "link"
        for hint in parse(value)
    ]


def _protocol(url: str, page: Answer) -> Iterator[Finding]:
    if page.status != 200:
        yield bad(f"the page answers {page.status}: check the URL after redirects")
    if page.protocol == "h2":
        yield ok("HTTP/2: browsers act on a 103")
    elif urlsplit(url).scheme == "https" and not importlib.util.find_spec("h2"):
        yield note(
            "checked over HTTP/1.1; for HTTP/2: pip install flask-firehose[check]"
        )
    else:
        yield bad("HTTP/1.1: browsers ignore a 103; serve the site over HTTP/2")


def _early(page: Answer) -> Iterator[Finding]:
    found = [(at, fields) for at, status, fields in page.interim if status == 103]
    if not found:
        yield bad(
            "a navigation got no 103: set FIREHOSE_EARLY_HINTS, run gunicorn, and use "
            "proxies that forward it; learned hints need some visits"
        )
        return
    ahead = page.seconds - found[0][0]
    yield ok(f"a navigation got a 103, {ahead * 1000:.0f} ms ahead of the page")
    if len(found) > 1:
        yield bad(f"{len(found)} 103s: browsers use the first")


def _response(page: Answer) -> Iterator[Finding]:
    if links := parse(page.get("link")):
        yield ok(f"the page has {len(links)} links in its header")
    size = head_size(page.fields)
    level = bad if size > BUFFER else note
    yield level(f"the page's head has {size} bytes; nginx takes {BUFFER} by default")
    via = ", ".join(filter(None, [page.get("server"), page.get("via")]))
    if via:
        yield note(f"answered by {via}")
    if page.get("set-cookie") or "cookie" in page.get("vary").lower():
        yield note(
            "the page depends on cookies: caches do not share it between visitors"
        )


def _target(
    url: str, hint: Hint, base: str, page: Answer, *, insecure: bool
) -> Iterator[Finding]:
    wanted = hint.parameters.get("as", "")
    answer = fetch(url, {"Origin": "https://example.org"}, insecure=insecure)
    if answer.status != 200:
        yield bad(f"{hint.url} answers {answer.status}")
        return
    kind = answer.get("content-type")
    if TYPES.get(wanted, "") not in kind:
        yield bad(f"{hint.url} is {kind}, hinted as {wanted}")
    control = answer.get("cache-control").lower()
    if not re.search(r"max-age=[1-9]", control):
        yield bad(f"{hint.url} has no max age: browsers fetch it twice")
    foreign = urlsplit(url).netloc != urlsplit(base).netloc
    cors = answer.get("access-control-allow-origin")
    if foreign and "crossorigin" in hint.parameters and not cors:
        yield bad(f"{hint.url} has no Access-Control-Allow-Origin")
    if hint.url.encode() not in page.body:
        yield note(f"{hint.url} is not in the page's HTML")
    else:
        yield ok(f"{hint.url}: {len(answer.body)} bytes, {control}")


def _rules(url: str, page: Answer, *, insecure: bool) -> Iterator[Finding]:
    value = page.get("speculation-rules")
    if not value:
        return
    for quoted in re.findall(r'"([^"]*)"', value):
        answer = fetch(urljoin(url, quoted), {}, insecure=insecure)
        kind = answer.get("content-type")
        if answer.status == 200 and kind.startswith(RULES):
            yield ok(f"speculation rules: {quoted}")
        else:
            yield bad(f"speculation rules: {quoted} answers {answer.status}, {kind}")
