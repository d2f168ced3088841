"""The nginx configuration that belongs to an app's own.

The blocks of directories and of the app are here, those of stores in
:mod:`flask_kaccel._store`. Which fields they give back is the table of
:mod:`flask_kaccel._fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence

from ._fields import CARRIED
from ._fields import FIELDS
from ._fields import RESTORED
from ._fields import SECRET_HEADER
from ._fields import is_internal
from ._files import Location
from ._headers import require
from ._settings import matches
from ._settings import satisfies
from .exceptions import InvalidValueError


#: A socket's path may be part of it, but nginx would put any other before each path.
UPSTREAM = matches(
    r"(?a:(https?|uwsgi)://([\w.:\[\]-]+|unix:/[\w./-]+))",
    "the URL at which the app listens, such as 'http://127.0.0.1:8000', "
    "'http://unix:/run/app.sock' or 'uwsgi://127.0.0.1:3031', without a path and "
    "without a slash at the end",
)
KEEP = satisfies(
    lambda name: (
        re.fullmatch(r"(?a:[A-Za-z][\w-]*)", name)
        and name.lower() not in FIELDS
        and not is_internal(name)
    ),
    "a field of your own that the printed configuration does not bring back yet, such "
    "as 'X-Request-ID'",
)
UWSGI_PARAMETERS = """
QUERY_STRING $query_string
REQUEST_METHOD $request_method
CONTENT_TYPE $content_type
CONTENT_LENGTH $content_length
REQUEST_URI $request_uri
PATH_INFO $document_uri
SERVER_PROTOCOL $server_protocol
REQUEST_SCHEME $scheme
HTTPS $https if_not_empty
REMOTE_ADDR $remote_addr
REMOTE_PORT $remote_port
SERVER_PORT $server_port
SERVER_NAME $server_name
""".strip().splitlines()


def files_location(location: Location, keep: Sequence[str] = ()) -> str:
    """Return the block that sends the files of a directory."""
    return block(
        location.prefix,
        "internal",
        f"alias {quoted(location.source)}",
        # A directory that has taken a file's place would be redirected to, by its
        # internal name.
        "try_files $uri =404",
        *given_back("upstream_http", "upstream_http", keep),
    )


def given_back(carried: str, restored: str, keep: Sequence[str] = ()) -> list[str]:
    """Return the directives that give the app's fields back.

    :param carried: the kind of variable that has the fields of the file.
    :param restored: the kind of variable that has those of every response.
    """
    names = [field.name for field in RESTORED] + list(keep)
    return [
        *(
            f"add_header {field.name} {variable(field.carrier, carried)}"
            for field in CARRIED
        ),
        *(f"add_header {name} {variable(name, restored)} always" for name in names),
    ]


def app_location(upstream: str, secret: str | None) -> str:
    """Return the block that passes everything else to the app.

    :param upstream: the URL at which the app listens.
    """
    require(UPSTREAM, "upstream", upstream)
    # Without a secret too, so that nothing that a client sends goes through.
    fields = (
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("X-Forwarded-Proto", "$scheme"),
        (SECRET_HEADER, f'"{secret or ""}"'),
    )
    if upstream.startswith("uwsgi:"):
        return block(
            "/",
            f"uwsgi_pass {upstream.removeprefix('uwsgi://')}",
            *(f"uwsgi_param {line}" for line in UWSGI_PARAMETERS),
            *(f"uwsgi_param {environ_key(name)} {value}" for name, value in fields),
        )
    return block(
        "/",
        f"proxy_pass {quoted(upstream)}",
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        "proxy_set_header Host $http_host",
        *(f"proxy_set_header {name} {value}" for name, value in fields),
    )


def check_keep(names: Iterable[str]) -> None:
    """Refuse names that no field of the app's own has.

    :raises InvalidValueError: the first of them.
    """
    for name in names:
        require(KEEP, "keep", name)


def quoted(value: str) -> str:
    """Return a value as nginx reads it back.

    :raises InvalidValueError: nginx has no way to write it.
    """
    if "$" in value or not value.isprintable():
        raise InvalidValueError(
            "path", value, "rename it: nginx cannot have '$' or control characters"
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def environ_key(name: str) -> str:
    """Return the name of a request's field in CGI and WSGI."""
    return f"HTTP_{name.upper().replace('-', '_')}"


def variable(name: str, kind: str) -> str:
    """Return nginx's variable for a field."""
    return f"${kind}_{name.lower().replace('-', '_')}"


def block(name: str | None, *directives: str) -> str:
    """Return a location's block."""
    # "^~": no regular expression, such as one for PHP, gets the files in its hands.
    modifier = "" if name == "/" or (name or "").startswith("@") else "^~ "
    lines = "".join(f"    {it};\n" for it in directives)
    return f"location {modifier}{name} {{\n{lines}}}\n"
