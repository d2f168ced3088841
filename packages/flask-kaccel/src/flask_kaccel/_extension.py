"""The extension: the rules, tied to Flask."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TypedDict
from typing import TypeVar
from typing import Unpack
from typing import cast

from flask import Flask
from flask import Response
from flask import abort
from flask import current_app
from flask import request
from werkzeug.http import http_date
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as WerkzeugResponse

from ._cli import commands
from ._delivery import no_body
from ._delivery import send_here
from ._delivery import send_or_miss
from ._delivery import set_empty
from ._deployment import NO_LENGTH
from ._deployment import Deployment
from ._files import absolute
from ._files import base_name
from ._files import find_file
from ._files import suffix
from ._headers import CHARSET_NAME
from ._headers import DEFAULT_CHARSET
from ._headers import INTERNAL_PREFIX
from ._headers import REDIRECT
from ._headers import HeaderList
from ._headers import accel_headers
from ._headers import cache_control
from ._headers import content_disposition
from ._headers import content_type
from ._headers import file_settings
from ._headers import guess_mimetype
from ._response import FileResponse
from ._response import with_file
from .config import Config
from .exceptions import ConfigError
from .exceptions import SetupError


AnyResponse = TypeVar("AnyResponse", bound=WerkzeugResponse)
Path = str | os.PathLike[str]
#: What the server in front makes of its own.
REPLACED = ("ETag", "Last-Modified")


class FileOptions(TypedDict, total=False):
    """What Flask's own ``send_file`` takes too."""

    mimetype: str | None
    as_attachment: bool
    download_name: str | None
    max_age: int | None
    last_modified: datetime | float | None


class SendFileOptions(FileOptions, total=False):
    """The keywords of :meth:`Kaccel.send_file`."""

    redirect: str | None
    buffering: bool | None
    charset: str | None
    expires: int | datetime | None
    limit: int | None


class Kaccel:
    """Sends files by nginx where nginx is, and by Flask where it is not.

    :param static: make Flask's own ``send_file``, ``send_from_directory`` and static
        files go the same way.
    """

    def __init__(self, app: Flask | None = None, *, static: bool = False) -> None:
        self.static = static
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app.

        :raises ConfigError: a configuration value is wrong.
        :raises SetupError: the app is set up already.
        """
        if "kaccel" in app.extensions:
            raise SetupError(f"Kaccel is set up already on {app.name!r}.")
        config = Config.from_mapping(app.config)
        app.extensions["kaccel"] = Deployment.of(config, app.root_path)
        app.cli.add_command(commands)
        if self.static:
            # Flask then names the file in a header, and reads nothing.
            app.config["USE_X_SENDFILE"] = True
            app.response_class = _file_response(app)
            app.after_request(_deliver_named)

    def filesize(self, file_path: Path) -> int | None:
        """Return a file's size in bytes, or ``None`` where there is no such file.

        :param file_path: absolute, or below the app's ``root_path``, for which there
            has to be an app, as for :meth:`send_file`.
        """
        path = os.fspath(file_path)
        if not os.path.isabs(path):  # noqa: PTH117 - strings are cheaper
            path = absolute(path, _app().root_path)
        file = find_file(path, None)
        return None if file is None else file.size

    def filename(self, file_path: Path) -> str | None:
        """Return the last part of a path, or ``None`` where the path has none."""
        return base_name(os.fspath(file_path)) or None

    def extension(self, file_path: Path) -> str | None:
        """Return the suffix of a path with its dot, or ``None`` where it has none."""
        return suffix(os.fspath(file_path)) or None

    def mimetype(self, file_path: Path) -> str:
        """Return a type by a file's name, ``application/octet-stream`` if unknown."""
        return guess_mimetype(base_name(os.fspath(file_path)))

    def send_from_directory(
        self, filename: Path, **options: Unpack[FileOptions]
    ) -> Response | None:
        """Send a file of ``KACCEL_FILES_PATH`` with the configured settings.

        :param filename: a path below the directory; it may come from a client.
        :param options: the keywords of :meth:`send_file` that follow ``limit``.
        :return: ``None`` where there is no such file.
        :raises ConfigError: the directory is not configured.
        """
        app = _app()
        deployment = _deployment(app)
        if deployment.directory is None:
            raise ConfigError(
                "KACCEL_FILES_PATH", None, "set it to the directory of the files"
            )
        path = safe_join(deployment.directory, os.fspath(filename))
        if path is None:
            return None
        charset, accel = deployment.config.charset, deployment.settings
        return _send(app, deployment, path, charset, accel, None, **options)

    def send_file(
        self,
        file_path: Path,
        redirect: str | None = None,
        buffering: bool | None = True,
        charset: str | None = DEFAULT_CHARSET,
        expires: int | datetime | None = None,
        limit: int | None = None,
        **options: Unpack[FileOptions],
    ) -> Response | None:
        """Send a file.

        :param file_path: absolute or below the app's ``root_path``. Never pass what a
            client sent; :meth:`send_from_directory` is for that.
        :param redirect: another internal location over the directory that the mapping
            names, in place of the mapping's prefix.
        :param buffering: ``False`` tells nginx not to buffer.
        :param charset: what a text type says, and what nginx is told where it is not
            UTF-8.
        :param expires: seconds, or the moment, for nginx's cache.
        :param limit: bytes per second; 0 lifts the location's own limit.
        :param options: ``mimetype``, by default guessed from the name;
            ``as_attachment``; ``download_name``, by default the file's; ``max_age``,
            seconds for the client's cache, by default the app's
            ``SEND_FILE_MAX_AGE_DEFAULT``; ``last_modified``, in whose place nginx
            sends the file's own.
        :return: ``None`` where the file is missing, no regular file, or outside the
            configured directories.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        app = _app()
        deployment = _deployment(app)
        if redirect is not None:
            INTERNAL_PREFIX.check("redirect", redirect)
        CHARSET_NAME.check("charset", charset)
        accel = file_settings(buffering, expires, limit)
        path = absolute(file_path, app.root_path)
        return _send(app, deployment, path, charset, accel, redirect, **options)

    def send_file_or_404(
        self, file_path: Path, **options: Unpack[SendFileOptions]
    ) -> Response:
        """Send a file as :meth:`send_file` does, or raise ``NotFound``."""
        return self.send_file(file_path, **options) or abort(404)

    def send_from_directory_or_404(
        self, filename: Path, **options: Unpack[FileOptions]
    ) -> Response:
        """Send a file as :meth:`send_from_directory` does, or raise ``NotFound``."""
        return self.send_from_directory(filename, **options) or abort(404)

    def redirect(self, uri: str) -> Response | None:
        """Let nginx answer from an internal location.

        :param uri: a percent-encoded path, a named location such as ``@files``, or a
            URL, such as a presigned one, below a URL of ``KACCEL_MAPPINGS``. Never pass
            what a client sent, to which every internal location would be open.
        :return: ``None`` where nginx did not forward the request, or the URL is in no
            mapping.
        :raises InvalidValueError: nginx would not take the value for what it says.
        """
        app = _app()
        deployment = _deployment(app)
        internal = uri
        # The query of a path may hold a URL too.
        if "://" in str(uri) and not uri.startswith("/"):
            mapped = deployment.locations.store_uri(uri)
            if mapped is None:
                return None
            internal = mapped
        REDIRECT.check("uri", internal)
        if deployment.server_in_front(request) != "nginx":
            return None
        response = app.response_class(
            no_body(),
            headers=[("X-Accel-Redirect", internal), NO_LENGTH],
            direct_passthrough=True,
        )
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

        Where nginx did not forward the request, the response stays as it is.

        :param buffering: ``False`` passes on each chunk of a stream at once.
        :param expires: seconds, 0 or a moment for nginx's cache.
        :param limit: bytes per second; 0 is no limit.
        :raises InvalidValueError: a value that nginx would ignore.
        """
        accel = accel_headers(buffering=buffering, expires=expires, limit=limit)
        if _deployment(_app()).server_in_front(request) == "nginx":
            response.headers.update(accel)
        return response


def nginx_locations(app: Flask, upstream: str | None = None) -> str:
    """Return nginx's location blocks for an app's configuration.

    :param upstream: the URL at which the app listens, for a block that passes every
        other request to it.
    :raises SetupError: the extension is not set up on the app.
    """
    return _deployment(app).nginx_locations(upstream)


def _app() -> Flask:
    """Return the app behind the proxy, each use of which costs a look-up."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # not in the stub
    return app


def _file_response(app: Flask) -> type[FileResponse]:
    # mypy takes no class for hashable whose instances are not known to be.
    return with_file(app.response_class)  # type: ignore[arg-type]


def _deployment(app: Flask) -> Deployment:
    try:
        return cast(Deployment, app.extensions["kaccel"])
    except KeyError:
        raise SetupError(
            f"Kaccel is not set up on {app.name!r}; call init_app(app) first."
        ) from None


def _send(
    app: Flask,
    deployment: Deployment,
    path: str,
    charset: str | None,
    accel: HeaderList,
    redirect: str | None,
    *,
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    max_age: int | None = None,
    last_modified: datetime | float | None = None,
) -> Response | None:
    """Send the file at a normal absolute path."""
    file = deployment.locations.file(path)
    if file is None:
        return None
    name = download_name or base_name(path)
    kind = content_type(mimetype or guess_mimetype(name), charset)
    if max_age is None:
        max_age = app.get_send_file_max_age(path)
    headers = [
        ("Content-Type", kind),
        ("Content-Disposition", content_disposition(name, as_attachment=as_attachment)),
        ("Cache-Control", cache_control(max_age)),
    ]
    handed = deployment.hand_over(file, request, redirect, accel)
    if handed is not None:
        if charset not in (None, DEFAULT_CHARSET) and "charset=" in kind:
            headers.append(("X-Accel-Charset", charset))
        handed_over = _file_response(app)(
            no_body(), headers=[*headers, *handed], direct_passthrough=True
        )
        handed_over.file = file
        return handed_over
    if last_modified is not None:
        headers.append(("Last-Modified", http_date(last_modified)))
    response = app.response_class(headers=headers)
    return response if send_here(response, file, request.environ) else None


def _deliver_named(response: Response) -> Response:
    """Deliver the file that Flask's own ``send_file`` has named."""
    if isinstance(response, FileResponse) and response.file is not None:
        return response
    named = response.headers.pop("X-Sendfile", None)
    # A header that a view has copied, as a proxy does, must not open any file.
    by_flask = response.direct_passthrough and response.response == []
    if named is None or not by_flask:
        return response
    app = _app()
    deployment = _deployment(app)
    path = absolute(named, app.root_path)
    # nginx would drop the encoding, without which the bytes are not of their type.
    plain = response.status_code == 200 and "Content-Encoding" not in response.headers
    # What lies outside the mapping was never nginx's to send.
    file = (deployment.locations.file(path) if plain else None) or find_file(path, None)
    if file is None:
        response.status_code = 404
        set_empty(response)
    elif (handed := deployment.hand_over(file, request)) is None:
        send_or_miss(response, file, request.environ)
    else:
        for name in REPLACED:
            response.headers.pop(name, None)
        response.headers.update(handed)
        response.response = no_body()
        if isinstance(response, FileResponse):
            response.file = file
    return response
