"""The response whose file another server sends."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from flask import Response

from ._delivery import send_or_miss
from ._files import File
from ._headers import is_internal


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers
    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse


class FileResponse(Response):
    """A response whose file another server sends, mixed into the app's own class."""

    #: What was handed over. With another status than 200 it is sent from here after
    #: all, because a server in front would ignore the status.
    file: File | None = None

    def make_conditional(
        self,
        request_or_environ: WSGIEnvironment | Request,
        accept_ranges: bool | str = False,
        complete_length: int | None = None,
    ) -> WerkzeugResponse:
        """Leave conditions and ranges to whoever sends the file."""
        if "X-Sendfile" in self.headers:
            return self
        return super().make_conditional(
            request_or_environ, accept_ranges, complete_length
        )

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request, as late as a status can be known."""
        if self.file is not None and self.status_code != 200:
            for name in list(self.headers.keys()):
                if is_internal(name):
                    del self.headers[name]
            send_or_miss(self, self.file, environ)
            self.file = None
        return super().__call__(environ, start_response)

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return the headers as they are where they were made for a server in front."""
        if self.file is not None:
            return self.headers
        return super().get_wsgi_headers(environ)


@cache
def with_file(response_class: type[Response]) -> type[FileResponse]:
    """Return a response class that is a :class:`FileResponse` too."""
    if issubclass(response_class, FileResponse):
        return response_class
    return type(response_class.__name__, (FileResponse, response_class), {})
