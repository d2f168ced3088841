"""The extension: the rules, tied to Flask."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from flask import Flask
from flask import Response
from flask import request
from werkzeug.wrappers import Response as WerkzeugResponse

from ._body import CONTROL
from ._body import RECORD
from ._body import RedirectBody
from ._cli import cli
from ._edge import Edge
from ._files import absolute
from ._files import base_name
from ._files import find_file
from ._files import suffix
from ._fronts import configuration
from ._headers import DEFAULT_CHARSET
from ._headers import FILE_NAME
from ._headers import FLAG
from ._headers import REDIRECT
from ._headers import SECONDS
from ._headers import accel_headers
from ._headers import file_settings
from ._headers import guess_mimetype
from ._headers import path_text
from ._headers import require
from ._links import Link
from ._links import read
from ._links import sign
from ._response import RESPONSE
from ._response import Shown
from ._response import file_response
from ._response import get_app
from ._response import joined
from ._response import or_404
from ._setup import refuse_twice
from ._state import NAME
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
        path = path_text("file_path", file_path)
        if not os.path.isabs(path):  # noqa: PTH117 - strings are cheaper
            path = absolute(path, get_app().root_path)
        file = find_file(path, None)
        return None if file is None else file.size

    def filename(self, file_path: Path) -> str | None:
        """Return the last part of a path, or ``None`` if the path has none."""
        return base_name(path_text("file_path", file_path)) or None

    def extension(self, file_path: Path) -> str | None:
        """Return the suffix of a path with its dot, or ``None`` if it has none."""
        return suffix(path_text("file_path", file_path)) or None

    def mimetype(self, file_path: Path) -> str:
        """Return a type by a file's name, ``application/octet-stream`` if unknown."""
        return guess_mimetype(base_name(path_text("file_path", file_path)))

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
        path = joined(state.directory, path_text("filename", filename))
        if path is None:
            return None
        shown = Shown(mimetype, as_attachment, download_name, max_age, last_modified)
        return file_response(state, path, shown, state.config.charset, state.settings)

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
        :param redirect: another internal location over the mapping's directory.
        :param buffering: ``False`` tells nginx not to buffer.
        :param charset: the charset of a text type.
        :param expires: seconds, or the moment, for nginx's cache.
        :param limit: bytes per second; 0 lifts the location's own limit.
        :param mimetype: by default guessed from the name.
        :param as_attachment: make browsers save the file instead of showing it.
        :param download_name: the name that they save it under, by default its own.
        :param max_age: seconds for clients' caches, by default as the app has it.
        :param last_modified: the time that Flask sends; a front sends the file's own.
        :param delete: have Flask send the file, and remove it once all of it is taken.
        :return: ``None`` for no regular file, or one outside the directories.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        state = get_state()
        path = absolute(path_text("file_path", file_path), get_app().root_path)
        accel = file_settings(buffering, expires, limit)
        shown = Shown(mimetype, as_attachment, download_name, max_age, last_modified)
        return file_response(
            state, path, shown, charset, accel, redirect=redirect, delete=delete
        )

    @or_404(send_file)
    def send_file_or_404(self) -> None:
        """Send a file as :meth:`send_file` does, or raise ``NotFound``."""

    @or_404(send_from_directory)
    def send_from_directory_or_404(self) -> None:
        """Send a file as :meth:`send_from_directory` does, or raise ``NotFound``."""

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
        require(FLAG, "as_attachment", as_attachment)
        if download_name is not None:
            require(FILE_NAME, "download_name", download_name)
        until = int(time.time()) + expires
        name = path_text("filename", filename)
        link = Link(name, until, as_attachment, download_name)
        return sign(link, get_state().signing_keys())

    def send_signed(self, token: str | None) -> Response | None:
        """Send the file of a token as :meth:`sign` has described it.

        :param token: what the client sent.
        :return: ``None`` if the token is forged, missing or has expired, or the file
            is gone.
        :raises ConfigError: ``SECRET_KEY`` is not set.
        """
        link = read(token or "", get_state().signing_keys())
        if link is None:
            return None
        return self.send_from_directory(
            link.filename,
            as_attachment=link.as_attachment,
            download_name=link.download_name,
            # No shared cache may keep the file for longer than the link works.
            max_age=0,
        )

    @or_404(send_signed)
    def send_signed_or_404(self) -> None:
        """Send a file as :meth:`send_signed` does, or raise ``NotFound``."""

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
        if not state.behind_nginx(request.environ):
            return None
        body = request.environ[RECORD] = RedirectBody(internal)
        response = get_app().response_class(body, direct_passthrough=True)
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
        """Set how nginx treats an ordinary response, and return it.

        If nginx did not forward the request, the response stays as it is.

        :param buffering: ``False`` passes on each chunk of a stream at once.
        :param expires: seconds, 0 or a moment for nginx's cache.
        :param limit: bytes per second; 0 is no limit.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        require(RESPONSE, "response", response)
        accel = accel_headers(buffering=buffering, expires=expires, limit=limit)
        if get_state().behind_nginx(request.environ):
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


def _keys(app: Flask) -> list[bytes]:
    """Return the keys that sign, the newest last."""
    if app.secret_key is None:
        return []
    keys = [*(app.config["SECRET_KEY_FALLBACKS"] or ()), app.secret_key]
    return [key.encode() if isinstance(key, str) else key for key in keys]
