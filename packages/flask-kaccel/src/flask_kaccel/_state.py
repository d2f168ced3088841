"""The state of one app: its configuration, made ready for requests."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

from werkzeug.http import http_date
from werkzeug.wsgi import get_host

from ._body import FileBody
from ._body import Handover
from ._fields import FRONTS
from ._fields import SECRET_HEADER
from ._fields import Front
from ._fields import HeaderList
from ._files import File
from ._files import Locations
from ._files import absolute
from ._files import find_file
from ._headers import file_settings
from ._setup import state_of
from .config import Config
from .exceptions import ConfigError


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger: logging.Logger = logging.getLogger("flask_kaccel")
NAME = "kaccel"
SECRET_KEY = f"HTTP_{SECRET_HEADER.upper().replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class State:
    """The configuration of an app, and what follows from it.

    :param directory: where ``send_from_directory`` looks.
    :param settings: the fields for nginx that it adds to each file.
    :param static: whether Flask's own functions go the same way.
    :param guard: whether responses lose internal fields that nobody has allowed.
    :param keys: the keys that sign links and checks, the newest last.
    :param noticed: what was logged, and need not be again.
    """

    config: Config
    locations: Locations
    directory: str | None
    settings: HeaderList
    static: bool
    guard: bool
    keys: Callable[[], list[bytes]] = field(repr=False)
    noticed: set[str] = field(default_factory=set, repr=False)

    def signing_keys(self) -> list[bytes]:
        """Return the keys that sign, the newest last.

        :raises ConfigError: there is none.
        """
        keys = self.keys()
        if not keys:
            raise ConfigError("SECRET_KEY", None, "set it; it signs the links")
        return keys

    def front(self, environ: WSGIEnvironment) -> Front | None:
        """Return the front that forwarded a request, if it sends files.

        What a client may send along decides nothing: the configuration says which
        server it is, and only that server knows the secret.
        """
        config = self.config
        sender = config.sender
        if sender == "flask":
            return None
        if config.secret is not None:
            given = environ.get(SECRET_KEY, "").encode("latin-1")
            if not hmac.compare_digest(given, config.secret.encode()):
                return None
        elif self._in_development(environ):
            return None
        if config.host is not None:
            # ``get_host`` leaves the scheme's own port out.
            hosts = (environ.get("HTTP_HOST", ""), get_host(environ))
            if config.host.lower() in map(str.lower, hosts):
                return None
        return FRONTS[sender]

    def behind_nginx(self, environ: WSGIEnvironment) -> bool:
        """Return whether nginx forwarded a request."""
        return self.config.sender == "nginx" and self.front(environ) is not None

    def _in_development(self, environ: WSGIEnvironment) -> bool:
        """Return whether Werkzeug's own server answers the client itself.

        The printed configuration of every front adds ``X-Forwarded-For``.
        """
        if "HTTP_X_FORWARDED_FOR" in environ or not environ.get(
            "SERVER_SOFTWARE", ""
        ).startswith("Werkzeug/"):
            return False
        if "development" not in self.noticed:
            self.noticed.add("development")
            logger.warning(
                "KACCEL_BACKEND is %r, but the development server has no server in "
                "front, so Flask sends the files; leave out KACCEL_REDIRECT_PATH in "
                "development, or set KACCEL_BACKEND to 'flask'",
                self.config.sender,
            )
        return True

    def hand_over(
        self, file: File, environ: WSGIEnvironment, redirect: str | None = None
    ) -> Handover | None:
        """Return how the front can send a file, or ``None`` if Flask has to.

        :param redirect: another internal location than the mapping's.
        """
        # An empty file needs nobody, and some fronts answer a range of it by an error.
        known = file.location is not None and file.size
        front = self.front(environ) if known else None
        if front is None or environ["REQUEST_METHOD"] not in front.methods:
            return None
        value = self.named(file, redirect)
        if value is None:
            return None
        target = [(front.field, value)]
        if front.validators:
            modified = http_date(file.modified)
            target += [("ETag", file.etag), ("Last-Modified", modified)]
        return Handover(front, target)

    def named(self, file: File, redirect: str | None = None) -> str | None:
        """Return the name by which the front knows a file, if it has a safe one.

        Apache, lighttpd and Caddy differ in whether they decode percent signs, from
        one release to the next too, and some misread control characters.
        """
        location = file.location
        if location is None:
            return None
        sender = self.config.sender
        prefix = redirect or location.prefix
        if sender == "nginx":
            return prefix and location.uri(file.path, redirect)
        if sender == "x-sendfile":
            name: str | None = file.path
        else:
            name = prefix and prefix + location.relative(file.path)
        if not name or not name.isprintable() or "%" in name:
            return None
        if sender == "caddy" and "?" in name:
            return None
        # WSGI's text stands for bytes (PEP 3333).
        return name.encode().decode("latin-1")

    def body(
        self,
        path: str,
        environ: WSGIEnvironment,
        redirect: str | None = None,
        accel: HeaderList = (),
        *,
        delete: bool = False,
    ) -> FileBody | None:
        """Return a body with the file at a normal absolute path, ready to be sent.

        A file that Flask sends is open.

        :return: ``None`` for what may not be sent, or cannot be read.
        """
        # A file that is about to go was made by the app, anywhere.
        file = find_file(path, None) if delete else self.locations.file(path)
        if file is None:
            return None
        body = FileBody(file, redirect, accel, delete=delete)
        body.decided = True
        if not delete:
            body.handover = self.hand_over(file, environ, redirect)
        if body.handover is None:
            try:
                body.open()
            except OSError as error:
                logger.warning("%r cannot be sent: %s", path, error.strerror)
                return None
        return body


def made_state(
    config: Config,
    root_path: str,
    static_url_path: str | None,
    *,
    static: bool,
    guard: bool,
    keys: Callable[[], list[bytes]],
) -> State:
    """Return the state of an app with this root.

    :raises ConfigError: directories or prefixes that exclude each other.
    """
    files = config.files_path
    return State(
        config,
        Locations(config.locations(root_path, static_url_path)),
        absolute(files, root_path) if files else None,
        file_settings(config.buffer, config.cache_expires, config.limit_rate),
        static,
        guard,
        keys,
    )


def get_state() -> State:
    """Return the current app's state.

    :raises SetupError: there is none.
    """
    return state_of(NAME, "Kaccel", State)
