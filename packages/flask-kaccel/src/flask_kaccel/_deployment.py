"""What an app knows of the servers around it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.http import http_date

from ._files import File
from ._files import Locations
from ._files import absolute
from ._headers import HeaderList
from ._headers import file_settings
from ._headers import sendfile_value
from ._nginx import SECRET_HEADER
from ._nginx import app_location
from ._nginx import locations_text
from .config import Config


if TYPE_CHECKING:
    from werkzeug.wrappers import Request

#: nginx closes its connection to the app over any other length.
NO_LENGTH = ("Content-Length", "0")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One app's configuration, made ready for requests.

    :param directory: where ``send_from_directory`` looks.
    :param settings: what it tells nginx of each file.
    """

    config: Config
    locations: Locations
    directory: str | None
    settings: HeaderList

    @classmethod
    def of(cls, config: Config, root_path: str) -> Deployment:
        """Make a configuration ready for an app with this root.

        :raises ConfigError: directories or prefixes that exclude each other.
        """
        files = config.files_path
        return cls(
            config,
            Locations(config.locations(root_path)),
            absolute(files, root_path) if files else None,
            file_settings(config.buffer, config.cache_expires, config.limit_rate),
        )

    def server_in_front(self, request: Request) -> str | None:
        """Return the kind of server that forwarded a request, if it sends files.

        What a client may send along decides nothing: the configuration says which
        server it is, and only who knows the secret is that server.
        """
        config = self.config
        delivery = config.delivery
        if delivery == "flask":
            return None
        if config.secret is not None:
            given = request.headers.get(SECRET_HEADER, "").encode("latin-1")
            if not hmac.compare_digest(given, config.secret.encode()):
                return None
        if config.host is not None:
            # ``host`` leaves the scheme's own port out.
            hosts = (request.headers.get("Host", ""), request.host)
            if config.host.lower() in map(str.lower, hosts):
                return None
        return delivery

    def hand_over(
        self,
        file: File,
        request: Request,
        redirect: str | None = None,
        accel: HeaderList = (),
    ) -> HeaderList | None:
        """Return the headers that let the server in front send a file, if it can.

        :param redirect: another internal location than the mapping's.
        :param accel: settings that only nginx reads.
        """
        location = file.location
        server = None if location is None else self.server_in_front(request)
        if server == "nginx" and location is not None and location.prefix is not None:
            uri = location.uri(file.path, redirect)
            return [*accel, ("X-Accel-Redirect", uri), NO_LENGTH]
        if server == "x-sendfile" and (path := sendfile_value(file.path)) is not None:
            # mod_xsendfile would give every file the same ETag.
            modified = http_date(file.modified)
            validators = [("ETag", file.etag), ("Last-Modified", modified)]
            return [("X-Sendfile", path), *validators, NO_LENGTH]
        return None

    def nginx_locations(self, upstream: str | None) -> str:
        """Return nginx's location blocks.

        :param upstream: the URL at which the app listens, for a block of its own.
        """
        text = locations_text(self.locations.all)
        if upstream is None:
            return text
        return f"{text}\n{app_location(upstream, self.config.secret)}"
