"""The responses that Flask's views return for a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from functools import update_wrapper
from typing import Concatenate
from typing import NamedTuple
from typing import ParamSpec
from typing import TypeVar

from flask import Flask
from flask import Response
from flask import abort
from flask import current_app
from flask import request
from werkzeug.datastructures import Headers
from werkzeug.http import http_date
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as WerkzeugResponse

from ._body import RECORD
from ._fields import HeaderList
from ._files import base_name
from ._headers import FILE_NAME
from ._headers import FLAG
from ._headers import INTERNAL_PREFIX
from ._headers import MOMENT
from ._headers import file_headers
from ._headers import guess_mimetype
from ._headers import require
from ._settings import satisfies
from ._state import State


Self = TypeVar("Self")
P = ParamSpec("P")
RESPONSE = satisfies(
    lambda value: isinstance(value, WerkzeugResponse),
    "a response, such as flask.make_response() returns",
)
#: The same few names over and over; the file system is not asked.
joined = lru_cache(1024)(safe_join)


def get_app() -> Flask:
    """Return the app behind the proxy, each use of which costs a look-up."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # not in the stub
    return app


class Shown(NamedTuple):
    """The arguments of Flask's own functions, about how a client sees the file."""

    mimetype: str | None = None
    as_attachment: bool = False
    download_name: str | None = None
    max_age: int | None = None
    last_modified: datetime | float | None = None


def file_response(
    state: State,
    path: str,
    shown: Shown,
    charset: str | None,
    accel: HeaderList,
    *,
    redirect: str | None = None,
    delete: bool = False,
) -> Response | None:
    """Return a response whose body is the file at a normal absolute path.

    :raises InvalidValueError: an argument that no response could have.
    """
    mimetype, as_attachment, download_name, max_age, last_modified = shown
    if redirect is not None:
        require(INTERNAL_PREFIX, "redirect", redirect)
    if download_name is not None:
        require(FILE_NAME, "download_name", download_name)
    if last_modified is not None:
        require(MOMENT, "last_modified", last_modified)
    if delete is not False:
        require(FLAG, "delete", delete)
    app = get_app()
    name = download_name or base_name(path)
    if max_age is None:
        max_age = app.get_send_file_max_age(path)
    kept = file_headers(
        name, mimetype or guess_mimetype(name), charset, max_age, save=as_attachment
    )
    environ = request.environ
    body = state.body(path, environ, redirect, accel, delete=delete)
    if body is None:
        return None
    environ[RECORD] = body
    headers = Headers()
    headers[:] = kept
    if body.handover is None:
        headers.add("Content-Length", str(body.file.size))
    if last_modified is not None:
        headers.add("Last-Modified", http_date(last_modified))
    return app.response_class(body, headers=headers, direct_passthrough=True)


def or_404(
    method: Callable[Concatenate[Self, P], Response | None],
) -> Callable[[Callable[[Self], object]], Callable[Concatenate[Self, P], Response]]:
    """Return a decorator of methods that take the place of another.

    They take its arguments, and raise ``NotFound`` where it returns ``None``.
    """

    def decorate(
        named: Callable[[Self], object],
    ) -> Callable[Concatenate[Self, P], Response]:
        def send(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> Response:
            # A subclass may have a method of its own.
            own: Callable[P, Response | None] = getattr(self, method.__name__)
            return own(*args, **kwargs) or abort(404)

        update_wrapper(send, named)
        # Where signatures are shown, that of the method.
        vars(send)["__wrapped__"] = method
        return send

    return decorate
