"""The extension: the rules, tied to Flask."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
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

from ._body import CONTROL
from ._body import RECORD
from ._body import RedirectBody
from ._cli import cli
from ._edge import Edge
from ._fields import HeaderList
from ._files import absolute
from ._files import base_name
from ._files import find_file
from ._files import suffix
from ._fronts import configuration
from ._headers import CHARSET_NAME
from ._headers import DEFAULT_CHARSET
from ._headers import INTERNAL_PREFIX
from ._headers import REDIRECT
from ._headers import SECONDS
from ._headers import accel_headers
from ._headers import file_headers
from ._headers import file_settings
from ._headers import guess_mimetype
from ._headers import require
from ._links import Link
from ._links import read
from ._links import sign
from ._setup import refuse_twice
from ._state import NAME
from ._state import State
from ._state import get_state
from ._state import made_state
from .config import Config
from .exceptions import ConfigError


AnyResponse = TypeVar("AnyResponse", bound=WerkzeugResponse)
Path = str | os.PathLike[str]


class Kaccel:
    """Sends files by the server in front, or by Flask if there is none.

    :param static: make Flask's own ``send_file``, ``send_from_directory`` and static
        files go the same way.
    :param guard: take ``X-Accel-*`` and other internal fields from responses that the
        methods of this class have not made.
    :param ignore_keys: configuration keys that start with ``KACCEL_`` and belong to
        somebody else.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        static: bool = False,
        guard: bool = True,
        ignore_keys: Collection[str] = (),
    ) -> None:
        self.static = static
        self.guard = guard
        self.ignore_keys = ignore_keys
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app.

        :raises ConfigError: a configuration value is wrong.
        :raises SetupError: the app is set up already.
        """
        refuse_twice(app, NAME, "Kaccel")
        config = Config.from_mapping(app.config, ignore_keys=self.ignore_keys)
        state = made_state(
            config,
            app.root_path,
            app.static_url_path if app.has_static_folder else None,
            static=self.static,
            guard=self.guard,
            keys=lambda: _keys(app),
        )
        app.extensions[NAME] = state
        app.cli.add_command(cli)
        app.wsgi_app = Edge(app.wsgi_app, state)  # type: ignore[method-assign]

    def filesize(self, file_path: Path) -> int | None:
        """Return a file's size in bytes, or ``None`` if there is no such file.

        :param file_path: absolute, or below the app's ``root_path``, for which there
            has to be an app, as for :meth:`send_file`.
        """
        path = os.fspath(file_path)
        if not os.path.isabs(path):  # noqa: PTH117 - strings are cheaper
            path = absolute(path, _app().root_path)
        file = find_file(path, None)
        return None if file is None else file.size

    def filename(self, file_path: Path) -> str | None:
        """Return the last part of a path, or ``None`` if the path has none."""
        return base_name(os.fspath(file_path)) or None

    def extension(self, file_path: Path) -> str | None:
        """Return the suffix of a path with its dot, or ``None`` if it has none."""
        return suffix(os.fspath(file_path)) or None

    def mimetype(self, file_path: Path) -> str:
        """Return a type by a file's name, ``application/octet-stream`` if unknown."""
        return guess_mimetype(base_name(os.fspath(file_path)))

    def send_from_directory(
        self,
        filename: Path,
        *,
        mimetype: str | None = None,
        as_attachment: bool = False,
        download_name: str | None = None,
        max_age: int | None = None,
        last_modified: datetime | float | None = None,
    ) -> Response | None:
        """Send a file of ``KACCEL_FILES_PATH`` with the configured settings.

        :param filename: a path below the directory; it may come from a client. The
            other parameters are those of :meth:`send_file`.
        :return: ``None`` if there is no such file.
        :raises ConfigError: the directory is not configured.
        """
        state = get_state()
        if state.directory is None:
            raise ConfigError(
                "KACCEL_FILES_PATH", None, "set it to the directory of the files"
            )
        path = _joined(state.directory, os.fspath(filename))
        if path is None:
            return None
        return _send(
            state,
            path,
            charset=state.config.charset,
            accel=state.settings,
            mimetype=mimetype,
            as_attachment=as_attachment,
            download_name=download_name,
            max_age=max_age,
            last_modified=last_modified,
        )

    def send_file(
        self,
        file_path: Path,
        redirect: str | None = None,
        buffering: bool | None = True,
        charset: str | None = DEFAULT_CHARSET,
        expires: int | datetime | None = None,
        limit: int | None = None,
        *,
        mimetype: str | None = None,
        as_attachment: bool = False,
        download_name: str | None = None,
        max_age: int | None = None,
        last_modified: datetime | float | None = None,
        delete: bool = False,
    ) -> Response | None:
        """Send a file.

        :param file_path: absolute or below the app's ``root_path``. Never pass what a
            client sent; :meth:`send_from_directory` is for that.
        :param redirect: another internal location over the directory that the mapping
            names, in place of the mapping's prefix.
        :param buffering: ``False`` tells nginx not to buffer.
        :param charset: the charset of a text type.
        :param expires: seconds, or the moment, for nginx's cache.
        :param limit: bytes per second; 0 lifts the location's own limit.
        :param mimetype: by default guessed from the name.
        :param as_attachment: make browsers save the file instead of showing it.
        :param download_name: the name that they save it under, by default its own.
        :param max_age: seconds for the client's cache, by default the app's
            ``SEND_FILE_MAX_AGE_DEFAULT``.
        :param last_modified: the time that Flask sends; a front sends the file's own.
        :param delete: remove the file when the WSGI server has taken all of it, once.
            Flask sends such a file, as no front would say when it has.
        :return: ``None`` if the file is missing, no regular file, or outside the
            configured directories.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        if redirect is not None:
            require(INTERNAL_PREFIX, "redirect", redirect)
        require(CHARSET_NAME, "charset", charset)
        return _send(
            get_state(),
            absolute(file_path, _app().root_path),
            redirect=redirect,
            charset=charset,
            accel=file_settings(buffering, expires, limit),
            mimetype=mimetype,
            as_attachment=as_attachment,
            download_name=download_name,
            max_age=max_age,
            last_modified=last_modified,
            delete=delete,
        )

    def send_file_or_404(
        self,
        file_path: Path,
        redirect: str | None = None,
        buffering: bool | None = True,
        charset: str | None = DEFAULT_CHARSET,
        expires: int | datetime | None = None,
        limit: int | None = None,
        *,
        mimetype: str | None = None,
        as_attachment: bool = False,
        download_name: str | None = None,
        max_age: int | None = None,
        last_modified: datetime | float | None = None,
        delete: bool = False,
    ) -> Response:
        """Send a file as :meth:`send_file` does, or raise ``NotFound``."""
        return self.send_file(
            file_path,
            redirect,
            buffering,
            charset,
            expires,
            limit,
            mimetype=mimetype,
            as_attachment=as_attachment,
            download_name=download_name,
            max_age=max_age,
            last_modified=last_modified,
            delete=delete,
        ) or abort(404)

    def send_from_directory_or_404(
        self,
        filename: Path,
        *,
        mimetype: str | None = None,
        as_attachment: bool = False,
        download_name: str | None = None,
        max_age: int | None = None,
        last_modified: datetime | float | None = None,
    ) -> Response:
        """Send a file as :meth:`send_from_directory` does, or raise ``NotFound``."""
        return self.send_from_directory(
            filename,
            mimetype=mimetype,
            as_attachment=as_attachment,
            download_name=download_name,
            max_age=max_age,
            last_modified=last_modified,
        ) or abort(404)

    def sign(
        self,
        filename: Path,
        expires: int,
        *,
        as_attachment: bool = False,
        download_name: str | None = None,
    ) -> str:
        """Return a token for a link to a file of ``KACCEL_FILES_PATH``.

        :param filename: a path below the directory.
        :param expires: seconds for which the link works.
        :param as_attachment: as for :meth:`send_file`, and signed too.
        :param download_name: as for :meth:`send_file`, and signed too.
        :raises ConfigError: ``SECRET_KEY`` is not set.
        :raises InvalidValueError: a wrong number of seconds.
        """
        require(SECONDS, "expires", expires)
        until = int(time.time()) + expires
        link = Link(os.fspath(filename), until, as_attachment, download_name)
        return sign(link, _signing_keys())

    def send_signed(self, token: str) -> Response | None:
        """Send the file of a token as :meth:`sign` has described it.

        :param token: what the client sent.
        :return: ``None`` if the token is forged or has expired, or the file is gone.
        :raises ConfigError: ``SECRET_KEY`` is not set.
        """
        link = read(token, _signing_keys())
        if link is None:
            return None
        return self.send_from_directory(
            link.filename,
            as_attachment=link.as_attachment,
            download_name=link.download_name,
            # No shared cache may keep the file for longer than the link works.
            max_age=0,
        )

    def send_signed_or_404(self, token: str) -> Response:
        """Send a file as :meth:`send_signed` does, or raise ``NotFound``."""
        return self.send_signed(token) or abort(404)

    def redirect(self, uri: str) -> Response | None:
        """Let nginx answer from an internal location.

        :param uri: a percent-encoded path, a named location such as ``@files``, or a
            URL, such as a presigned one, below a URL of ``KACCEL_MAPPINGS``. Never pass
            what a client sent, to which every internal location would be open.
        :return: ``None`` if nginx did not forward the request, or the URL is in no
            mapping.
        :raises InvalidValueError: nginx would not take the value for what it says.
        """
        state = get_state()
        internal = uri
        # The query of a path may hold a URL too.
        if "://" in str(uri) and not uri.startswith("/"):
            mapped = state.locations.store_uri(uri)
            if mapped is None:
                return None
            internal = mapped
        require(REDIRECT, "uri", internal)
        if not _behind_nginx(state):
            return None
        body = request.environ[RECORD] = RedirectBody(internal)
        response = _app().response_class(body, direct_passthrough=True)
        # The internal location knows the type of what it sends.
        del response.headers["Content-Type"]
        return response

    def control(
        self,
        response: AnyResponse,
        *,
        buffering: bool | None = None,
        expires: int | datetime | None = None,
        limit: int | None = None,
    ) -> AnyResponse:
        """Tell nginx how to treat an ordinary response, and return it.

        If nginx did not forward the request, the response stays as it is.

        :param buffering: ``False`` passes on each chunk of a stream at once.
        :param expires: seconds, 0 or a moment for nginx's cache.
        :param limit: bytes per second; 0 is no limit.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        accel = accel_headers(buffering=buffering, expires=expires, limit=limit)
        if _behind_nginx(get_state()):
            response.headers.update(accel)
            request.environ.setdefault(CONTROL, []).extend(accel)
        return response


def nginx_locations(
    app: Flask, upstream: str | None = None, *, keep: Sequence[str] = ()
) -> str:
    """Return nginx's location blocks for an app's configuration.

    :param upstream: the URL at which the app listens, for a block that passes every
        other request to it: ``http://``, ``https://`` or ``uwsgi://``.
    :param keep: further fields of the app's that a response with a file keeps.
    :raises SetupError: the extension is not set up on the app.
    :raises InvalidValueError: nginx could not be told so.
    """
    with app.app_context():
        return configuration(get_state(), "nginx", upstream, keep)


#: The same few names over and over; the file system is not asked.
_joined = lru_cache(1024)(safe_join)


def _app() -> Flask:
    """Return the app behind the proxy, each use of which costs a look-up."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # not in the stub
    return app


def _behind_nginx(state: State) -> bool:
    return state.config.sender == "nginx" and state.front(request.environ) is not None


def _keys(app: Flask) -> list[bytes]:
    """Return the keys that sign, the newest last."""
    if app.secret_key is None:
        return []
    keys = [*(app.config["SECRET_KEY_FALLBACKS"] or ()), app.secret_key]
    return [key.encode() if isinstance(key, str) else key for key in keys]


def _signing_keys() -> list[bytes]:
    keys = get_state().keys()
    if not keys:
        raise ConfigError("SECRET_KEY", None, "set it; it signs the links")
    return keys


def _send(
    state: State,
    path: str,
    *,
    charset: str | None,
    accel: HeaderList,
    mimetype: str | None,
    as_attachment: bool,
    download_name: str | None,
    max_age: int | None,
    last_modified: datetime | float | None,
    redirect: str | None = None,
    delete: bool = False,
) -> Response | None:
    """Return a response whose body is the file at a normal absolute path."""
    environ = request.environ
    body = state.body(path, environ, redirect, accel, delete=delete)
    if body is None:
        return None
    app = _app()
    environ[RECORD] = body
    name = download_name or base_name(path)
    if max_age is None:
        max_age = app.get_send_file_max_age(path)
    kept = file_headers(
        name, mimetype or guess_mimetype(name), charset, max_age, save=as_attachment
    )
    headers = Headers()
    headers[:] = kept
    if body.handover is None:
        headers.add("Content-Length", str(body.file.size))
    if last_modified is not None:
        headers.add("Last-Modified", http_date(last_modified))
    return app.response_class(body, headers=headers, direct_passthrough=True)
