"""Stages 3 and 4 of a page: choose, remember; fit, learn."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any

from flask import Flask
from flask import Request
from flask import Response

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


OPTIONAL = attrgetter("optional")
#: The page of a response that is complete: nobody asks it for anything.
LATE = Page(None, done=True)  # type: ignore[arg-type]


def finish(response: Response) -> Response:
    """Let a response take its page's links along, if it is a page that arrived."""
    request = current_request()
    page: Page = getattr(request, KEY)
    page.done = True
    state = page.state
    if page.links and _carries(state, request, response):
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


def _carries(state: State, request: Request, response: Response) -> bool:
    return (
        request.method in {"GET", "HEAD"}
        and 200 <= response.status_code < 300
        and response.mimetype in state.config.mimetypes
    )


def choose(
    state: State, page: Page, request: Request, response: Response, sent: set[str]
) -> Selection:
    """Add the links that fit and are new to the response."""
    present = response.headers.getlist("Link")
    links: Collection[Link] = page.links.values()
    skipped = sent | hinted(present) if present else sent
    if skipped:
        links = [link for link in links if link.url not in skipped]
    if any(map(OPTIONAL, links)):
        response.vary.add("Save-Data")
        if request.headers.get("Save-Data", "").lower() == "on":
            links = [link for link in links if not link.optional]
    selection = state.select(links, state.config.max_bytes - sum(map(len, present)))
    if selection.left_out:
        left_out = serialize(selection.left_out)
        logger.debug("%r: no room for %s", request.path, left_out)
    if selection.links:
        response.headers.add("Link", selection.value)
    return selection


def settle(_: Flask, response: Response, **__: Any) -> None:
    """Receive Flask's signal that a response is complete."""
    request = current_request()
    page: Page | None = getattr(request, KEY, None)
    if page is None:
        setattr(request, KEY, LATE)
        return
    if page.links and not page.done:
        logger.warning("%r: pushed too late: %.999r", request.path, [*page.links])
    page.done = True
    state = page.state
    if page.sent and page.sent.links:
        fit(state, page.sent, response)
    if page.lesson and _carries(state, request, response):
        learn(state, page, request, response)


def fit(state: State, sent: Selection, response: Response) -> None:
    """Take links away if the head has become longer than proxies accept.

    By default nginx answers 502 to a head of more than 4 KiB.
    """
    over = head_size(response.headers) - state.config.max_head
    if over > 0:
        values = response.headers.getlist("Link")
        values.remove(sent.value)
        fitting = state.select(sent.links, len(sent.value) - over)
        values += [fitting.value] if fitting.links else []
        response.headers.setlist("Link", values)


def learn(state: State, page: Page, request: Request, response: Response) -> None:
    """Learn from a page, unless a cache kept it: then its view did not run."""
    if page.lesson is None or not state.config.learn or "Age" in response.headers:
        return
    mount = page.lesson[1]
    links: Links = {
        key: link
        for key, link in page.links.items()
        if link.early and not link.personal and key not in page.declared
        if link.url.startswith(state.config.learn_prefixes)
        or f"{link.url}/" in state.config.learn_prefixes
        or state.static.max_age(link.url, mount) is not None
    }
    personal = is_personal(request.environ, response.headers)
    visit = None if personal else _visit(request)
    state.learned.learn(page.lesson, links, visit)


def _visit(request: Request) -> Visit:
    arguments = {**request.args.to_dict(flat=False), **(request.view_args or {})}
    return Visit(
        visitor=hash((request.remote_addr, request.headers.get("User-Agent"))),
        path=hash(request.path) if request.view_args else None,
        arguments={name: hash(str(value)) for name, value in arguments.items()},
    )
