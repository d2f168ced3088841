"""Let browsers fetch marked pages ahead (Speculation Rules).

A rule for everything made Chromium send ``/logout`` and ``/cart/add`` without a click,
with the user's cookie. So only views that are marked are named, by patterns that match
nothing else: a converter without a safe pattern leaves its view out, and what an
unmarked view would answer is excepted. Links with a query, ``rel=nofollow`` or
``download`` are never followed.

The rules are a file of their own, named by a field: they need no nonce, caches keep
them, and pages stay the same for everyone. Personal pages do not name it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from typing import Literal
from typing import TypeVar
from typing import overload

from flask import Flask
from flask import Response
from flask import current_app
from flask import request
from flask import request_finished
from flask import url_for
from werkzeug.exceptions import HTTPException

from ._early import is_personal
from ._patterns import Segment
from ._patterns import is_certain
from ._patterns import overlap
from ._patterns import pattern
from ._patterns import segments
from ._state import get_state
from .config import Config
from .exceptions import LinkError


F = TypeVar("F", bound=Callable[..., Any])
ENDPOINT = "firehose_speculation"
ATTRIBUTE = "_flask_firehose_prefetchable"


@overload
def prefetchable(view: F, *, prerender: bool = False) -> F: ...


@overload
def prefetchable(*, prerender: bool = False) -> Callable[[F], F]: ...


def prefetchable(
    view: Callable[..., Any] | None = None, *, prerender: bool = False
) -> Any:
    """Mark a view as safe to fetch before anybody has clicked.

    It must change nothing and answer a GET the same now and a minute later.

    :param prerender: also run the page's scripts ahead.
    :raises LinkError: no function, or no flag.
    """
    if not isinstance(prerender, bool):
        raise LinkError("prerender", prerender, "use True or False")

    def mark(marked: F) -> F:
        if not callable(marked):
            raise LinkError("view", marked, "put @prefetchable above a function")
        setattr(marked, ATTRIBUTE, "prerender" if prerender else "prefetch")
        return marked

    return mark if view is None else mark(view)


def speculative() -> Literal["prefetch", "prerender"] | None:
    """Return whether the page is fetched ahead, and how; None if somebody waits."""
    purpose = request.headers.get("Sec-Purpose", "")
    if "prefetch" not in purpose:
        return None
    return "prerender" if "prerender" in purpose else "prefetch"


def set_up(app: Flask, config: Config) -> None:
    """Serve the rules, and name them on pages."""
    app.add_url_rule("/speculation-rules.json", ENDPOINT, rules)
    request_finished.connect(name_rules, app)
    if config.refuse_speculation:
        app.before_request(refuse)


def refuse() -> Response | None:
    """Refuse to make a page ahead that is not marked; a click asks again."""
    if request.endpoint is None or not speculative():
        return None
    if request.headers.get("Sec-Fetch-Dest") != "document" or _mark(request.endpoint):
        return None
    return Response(status=503, headers={"Cache-Control": "no-store"})


def name_rules(_: Flask, response: Response, **__: Any) -> None:
    """Receive Flask's signal that a response is complete."""
    if (
        request.method == "GET"
        and response.status_code == 200
        and response.mimetype in get_state().config.mimetypes
        and not is_personal(request.environ, response.headers)
    ):
        # A structured field: a list of strings (RFC 8941).
        response.headers["Speculation-Rules"] = f'"{url_for(ENDPOINT)}"'


def rules() -> Response:
    """Return the rules for the place where the app is mounted."""
    saving = request.headers.get("Save-Data", "").lower() == "on"
    response = Response(
        json.dumps({} if saving else make_rules(get_state().config.speculation)),
        mimetype="application/speculationrules+json",
    )
    response.cache_control.max_age = 300
    response.vary.add("Save-Data")
    return response


def make_rules(eagerness: str | None) -> dict[str, Any]:
    """Return the rules for all marked views of the current app."""
    marked: dict[str, list[list[Segment]]] = {"prefetch": [], "prerender": []}
    unmarked: list[list[Segment]] = []
    for rule in current_app.url_map.iter_rules():
        if rule.build_only or rule.websocket or "GET" not in (rule.methods or ()):
            continue
        parts, mark = segments(rule.rule), _mark(rule.endpoint)
        if mark is None:
            unmarked.append(parts)
        elif is_certain(parts):
            marked[mark].append(parts)
    mount = request.root_path
    made: dict[str, Any] = {}
    for kind, rules in marked.items():
        if rules:
            excepted = [one for one in unmarked if _takes_part(one, rules)]
            where = _where(
                [mount + pattern(one) for one in rules],
                [mount + pattern(one) for one in excepted],
            )
            made[kind] = [{"where": where, "eagerness": eagerness}]
    return made


def _where(patterns: list[str], excepted: list[str]) -> dict[str, Any]:
    matched = [{"href_matches": pattern} for pattern in patterns]
    never: list[dict[str, Any]] = [
        {"selector_matches": "[rel~=nofollow], [download]"},
        # "*" would match an empty query too.
        {"href_matches": "/*\\?(.+)"},
        *({"href_matches": pattern} for pattern in excepted),
    ]
    return {"and": [{"or": matched}, *({"not": one} for one in never)]}


def _mark(endpoint: str) -> str | None:
    view = current_app.view_functions.get(endpoint)
    method = getattr(getattr(view, "view_class", None), "get", None)
    for one in (view, method):
        mark: str | None = getattr(one, ATTRIBUTE, None)
        if mark is not None:
            return mark
    return None


def _takes_part(unmarked: list[Segment], marked: list[list[Segment]]) -> bool:
    """Return whether the unmarked rule answers what the marked ones seem to match."""
    adapter = current_app.url_map.bind_to_environ(request.environ)
    for one in marked:
        path = overlap(one, unmarked)
        if path is None:
            continue
        if not is_certain(unmarked):
            return True
        try:
            endpoint, _ = adapter.match(path, method="GET")
        except HTTPException:
            return True
        if _mark(endpoint) is None:
            return True
    return False
