"""The WSGI edge: the one place where the head of a response is complete.

Middleware costs a request without links less than a receiver of Flask's signal, which
makes blinker look for receivers in every app of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from ._finish import settle
from ._page import HEAD
from ._page import Head
from ._state import State


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment


class Edge:
    """The middleware between the app and its server.

    :param first: called once, before the first request.
    """

    def __init__(
        self, wsgi_app: WSGIApplication, state: State, first: Callable[[], object]
    ) -> None:
        self.wsgi_app = wsgi_app
        self.state = state
        self.first: Callable[[], object] | None = first

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        if self.first is not None:
            first, self.first = self.first, None
            first()
        head = environ[HEAD] = Head(self.state)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            head.begun = True
            if head.page is not None:
                headers = settle(head.page, environ, status, headers)
            return start_response(status, headers, *error)

        return self.wsgi_app(environ, start)
