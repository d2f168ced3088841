"""The page that a request makes, and its links.

Theory of operation. Links are wanted before the page is there, and a wrong one must
never cost the page. So a page lives through four stages, each in one place, and a link
only moves forward:

========= ==================== ======================================================
stage     begins with          and then
========= ==================== ======================================================
ahead     ``before_request``,  hints are resolved, and a 103 leaves: once, with hints
          if a 103 may go out  and with what other pages have taught (``_hints``)
pushed    the first push       views and templates add links (``_push``)
chosen    the view's return    links that fit, and are new to the client, are added to
                               the response and remembered (``_finish.finish``)
settled   the start of the     the head, with the session's cookie by now, is cut to
          response             what proxies take; it is learned from
                               (``_edge``, ``_finish.settle``)
========= ==================== ======================================================

Links are chosen before the app's ``after_request`` functions run, so that caches store
them with the page. What is pushed from then on, by a stream or a hook, is too late: it
is logged. A request without links has no page, and each stage logs its errors and goes
on: a hint is never worth the page.

The page hangs on Flask's request, not on ``g``, which all requests that are made under
one app context share, nor on the environment, which may be copied for a further one.
Whoever copies it between the edge and Flask copies the ``Head`` along, and so the edge
finds the page even where middleware starts the response after the request has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from flask import request

from ._header import Selection
from ._link import Link
from ._state import State


#: Where a request keeps its page.
KEY = "flask_firehose_page"
#: Where the environment of a request keeps its head.
HEAD = "flask_firehose.head"


@dataclass(slots=True)
class Page:
    """The links of the page that a request makes.

    :param state: that of the app.
    :param links: all of them, by their text.
    :param declared: the keys of those that need not be learned.
    :param declarations: the ``@hints`` that were resolved.
    :param lesson: under which key the page is learned from, if it is.
    :param arguments: those of the endpoint, if the page is learned from.
    :param sent: what left in the page's ``Link`` header.
    :param done: the links are chosen.
    """

    state: State
    links: dict[str, Link] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    declarations: list[object] = field(default_factory=list)
    lesson: tuple[str, str, str] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sent: Selection | None = None
    done: bool = False


@dataclass(slots=True)
class Head:
    """The head of the response to a request.

    :param state: that of the app.
    :param page: that of the request, once it has one.
    :param begun: it leaves, and takes no more links.
    """

    state: State
    page: Page | None = None
    begun: bool = False


#: Returns the request behind the proxy; RuntimeError without one.
current_request: Callable[[], Any] = request._get_current_object  # type: ignore[attr-defined]
