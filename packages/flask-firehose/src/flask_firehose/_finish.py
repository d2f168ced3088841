"""Stages 3 and 4 of a page: choose, remember; fit, learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.wrappers import Request as WSGIRequest

from ._connector import known
from ._connector import remember
from ._early import is_personal
from ._early import is_shared
from ._header import Selection
from ._header import head_size
from ._header import hinted
from ._header import serialize
from ._learn import Links
from ._learn import Visit
from ._link import Link
from ._page import KEY
from ._page import Page
from ._page import current_request
from ._state import State
from ._state import logger


Environ = dict[str, Any]
Fields = list[tuple[str, str]]


def finish(response: Response) -> Response:
    """Let a response take its page's links along, if it is a page that arrived."""
    request = current_request()
    page: Page = getattr(request, KEY)
    page.done = True
    state = page.state
    if page.links and _carries(
        state, request.environ, response.status, response.mimetype or ""
    ):
        connector = state.connector
        if connector is not None and is_shared(
            response.headers.getlist("Cache-Control")
        ):
            # What caches may keep for everyone is the same for everyone.
            connector = None
        known_urls = set() if connector is None else known(connector)
        page.sent = choose(state, page, request, response, known_urls)
        if connector is not None and page.sent.urls and request.method == "GET":
            remember(connector, known_urls | page.sent.urls)
    return response


def _carries(state: State, environ: Environ, status: str, mimetype: str) -> bool:
    """Return whether a response is a page that arrived."""
    return (
        environ["REQUEST_METHOD"] in {"GET", "HEAD"}
        and status.startswith("2")
        and mimetype in state.config.mimetypes
    )


def choose(
    state: State, page: Page, request: Request, response: Response, sent: set[str]
) -> Selection:
    """Add the links that fit and are new to the response."""
    present = response.headers.getlist("Link")
    links: Mapping[str, Link] = page.links
    skipped, room = sent, state.config.max_bytes
    if present:
        skipped = sent | hinted(present)
        room -= sum(map(len, present))
    if skipped:
        links = {text: one for text, one in links.items() if one.url not in skipped}
    selection = state.select(links, room)
    if selection.optional:
        response.vary.add("Save-Data")
        if request.headers.get("Save-Data", "").lower() == "on":
            links = {text: one for text, one in links.items() if not one.optional}
            selection = state.select(links, room)
    if selection.left_out:
        left_out = serialize(selection.left_out)
        logger.debug("%r: no room for %s", request.path, left_out)
    if selection.links:
        response.headers.add("Link", selection.value)
    return selection


def settle(page: Page, environ: Environ, status: str, headers: Fields) -> Fields:
    """Return the fields that leave, once the head of a response is complete."""
    try:
        if page.links and not page.done:
            path = environ.get("PATH_INFO")
            logger.warning("%r: pushed too late: %.999r", path, [*page.links])
        page.done = True
        if page.sent and page.sent.links:
            headers = fit(page.state, page.sent, headers)
        if page.lesson:
            learn(page, page.lesson, environ, status, Headers(headers))
    except Exception:  # noqa: BLE001 - a hint is never worth the page
        logger.exception(
            "%r: adding the links to the response failed", environ.get("PATH_INFO")
        )
    return headers


def fit(state: State, sent: Selection, headers: Fields) -> Fields:
    """Return the fields, with fewer links if proxies would not accept them all.

    By default nginx answers 502 to a head of more than 4 KiB.
    """
    over = head_size(headers) - state.config.max_head
    ours = ("Link", sent.value)
    if over <= 0 or ours not in headers:
        return headers
    links = {link.value: link for link in sent.links}
    fitting = state.select(links, len(sent.value) - over)
    at = headers.index(ours)
    kept = [("Link", fitting.value)] if fitting.links else []
    return [*headers[:at], *kept, *headers[at + 1 :]]


def learn(
    page: Page,
    lesson: tuple[str, str, str],
    environ: Environ,
    status: str,
    headers: Headers,
) -> None:
    """Learn from a page, unless a cache kept it: then its view did not run."""
    state = page.state
    mimetype = parse_options_header(headers.get("Content-Type"))[0].lower()
    if "Age" in headers or not _carries(state, environ, status, mimetype):
        return
    links: Links = {
        link.key: link
        for link in page.links.values()
        if link.early and not link.personal and link.key not in page.declared
        if link.url.startswith(state.config.learn_prefixes)
        or f"{link.url}/" in state.config.learn_prefixes
        or state.static.max_age(link.url, lesson[1]) is not None
    }
    personal = is_personal(environ, headers)
    visit = None if personal else _visit(page, environ)
    state.learned.learn(lesson, links, visit)


def _visit(page: Page, environ: Environ) -> Visit:
    # Not Flask's request, which may note what the app reads.
    request = WSGIRequest(environ, populate_request=False)
    arguments = {**request.args.to_dict(flat=False), **page.arguments}
    return Visit(
        visitor=hash((request.remote_addr, request.headers.get("User-Agent"))),
        path=hash(request.path) if page.arguments else None,
        arguments={name: hash(str(value)) for name, value in arguments.items()},
    )
