"""The fate of every field of a response whose file a server in front sends.

The app answers with fields and no body; the server in front, the front for short,
opens the file and answers the client. Three parties can then disagree on a field: the
app that set it, the front that sends the file, and the front's own error page if the
file has gone in the meantime. This module holds the one table of who wins. The edge
(:mod:`flask_kaccel._edge`) applies it to responses, the printed configuration
(:mod:`flask_kaccel._nginx`) and ``flask kaccel check`` read it too.

=========== ===========================================================================
fate        meaning
=========== ===========================================================================
NATIVE      Every front passes the app's field on by itself.
CARRIED     It describes the file, so no error may have it, but nginx would leave it on
            its own 403 and 404. It travels as ``X-Kaccel-<name>``, and the printed
            block gives it back under its name, without ``always``: with 200, 206, 304.
RESTORED    It protects the page or describes the request, errors included. nginx drops
            it; the printed block gives it back with ``always``.
REPLACED    Whoever sends the file makes it from the file. The app's own is not sent,
            unless the front would make none that is good (``Front.validators``).
BLOCKING    nginx would drop it, and the bytes would be wrong without it: the app sends
            such a file itself.
(no row)    nginx drops it; name it with ``--keep`` to have it RESTORED.
=========== ===========================================================================

A field that the app has set twice cannot be restored as two lines: before 1.23 nginx
reads the first line alone. If its grammar is a list (RFC 9110, 5.6.1) the lines are
joined by a comma (RFC 9110, 5.3); of a single value the last line counts.

Fronts other than nginx pass on all fields, in all their lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from enum import Enum


HeaderList = Sequence[tuple[str, str]]
#: The front proves with it that it is the front.
SECRET_HEADER = "X-Kaccel-Secret"  # noqa: S105 - the name of a header
#: ``flask kaccel check`` asks with it; the reply has it with the name of who answered.
CHECK_HEADER = "X-Kaccel-Check"
#: nginx closes its connection to the app over any other length.
NO_LENGTH = ("Content-Length", "0")


class Fate(Enum):
    """The fate of a field; the module's table has the meanings."""

    NATIVE = "native"
    CARRIED = "carried"
    RESTORED = "restored"
    REPLACED = "replaced"
    BLOCKING = "blocking"


@dataclass(frozen=True, slots=True)
class Field:
    """A row of the table.

    :param joined: whether the value is a list, so that several lines make one.
    """

    name: str
    fate: Fate
    joined: bool = False
    #: The name under which the app sends it to nginx.
    carrier: str = field(init=False)

    def __post_init__(self) -> None:
        carried = self.fate is Fate.CARRIED
        carrier = f"X-Kaccel-{self.name}" if carried else self.name
        object.__setattr__(self, "carrier", carrier)

    @property
    def of_the_file(self) -> bool:
        """Whether it describes the file, so that no error may have it."""
        return self.fate not in (Fate.RESTORED, Fate.NATIVE) or (
            self.name == "Content-Type"
        )


def _rows(fate: Fate, names: str, *, joined: bool = False) -> list[Field]:
    return [Field(name, fate, joined) for name in names.split()]


TABLE: tuple[Field, ...] = (
    *_rows(Fate.NATIVE, "Content-Type Set-Cookie"),
    *_rows(Fate.CARRIED, "Cache-Control", joined=True),
    *_rows(Fate.CARRIED, "Content-Disposition Expires"),
    *_rows(Fate.REPLACED, "Accept-Ranges Content-Length ETag Last-Modified"),
    *_rows(Fate.BLOCKING, "Content-Encoding Content-Range"),
    *_rows(
        Fate.RESTORED,
        "Access-Control-Expose-Headers Content-Language Content-Security-Policy "
        "Content-Security-Policy-Report-Only Link Permissions-Policy Referrer-Policy "
        "Reporting-Endpoints Server-Timing Timing-Allow-Origin Vary X-Robots-Tag",
        joined=True,
    ),
    *_rows(
        Fate.RESTORED,
        "Access-Control-Allow-Credentials Access-Control-Allow-Origin "
        "Cross-Origin-Embedder-Policy Cross-Origin-Opener-Policy "
        "Cross-Origin-Resource-Policy Strict-Transport-Security "
        f"X-Content-Type-Options X-Frame-Options {CHECK_HEADER}",
    ),
)
FIELDS: dict[str, Field] = {field.name.lower(): field for field in TABLE}
CARRIED = tuple(field for field in TABLE if field.fate is Fate.CARRIED)
RESTORED = tuple(field for field in TABLE if field.fate is Fate.RESTORED)
BLOCKING = frozenset(
    name for name, field in FIELDS.items() if field.fate is Fate.BLOCKING
)
REPLACED = frozenset(
    name for name, field in FIELDS.items() if field.fate is Fate.REPLACED
)


@dataclass(frozen=True, slots=True)
class Front:
    """A kind of server that sends files by a response field.

    :param field: the field that names the file.
    :param drops: whether the table applies: fields are dropped, and carried.
    :param validators: whether the app's ETag and Last-Modified are the ones to send.
    :param methods: those that it answers with a file.
    """

    field: str
    drops: bool
    validators: bool
    methods: frozenset[str] = frozenset({"GET", "HEAD"})


FRONTS: dict[str, Front] = {
    "nginx": Front(
        "X-Accel-Redirect",
        drops=True,
        validators=False,
        methods=frozenset({"GET", "HEAD", "POST"}),
    ),
    "caddy": Front("X-Accel-Redirect", drops=False, validators=False),
    # mod_xsendfile would give every file the same ETag.
    "x-sendfile": Front("X-Sendfile", drops=False, validators=True),
}


def is_internal(name: str) -> bool:
    """Return whether a field is between the app and the front alone."""
    return name.lower().startswith(("x-accel-", "x-sendfile", "x-kaccel-"))


def hidden(headers: HeaderList, allowed: HeaderList) -> list[str]:
    """Return the internal fields of an ordinary response that nobody has allowed.

    ``X-Accel-Buffering`` opens no file, and streams of any library have it.
    """
    return [
        name
        for name, value in headers
        if name[:2] in ("X-", "x-")
        and is_internal(name)
        and name.lower() != "x-accel-buffering"
        and (name, value) not in allowed
    ]


def is_blocked(headers: HeaderList) -> bool:
    """Return whether a field keeps the file from being handed over."""
    return not BLOCKING.isdisjoint([name.lower() for name, _ in headers])


def without_file(headers: HeaderList) -> list[tuple[str, str]]:
    """Return the fields that an error may have: those that do not describe the file."""
    return [
        (name, value)
        for name, value in headers
        if (field := FIELDS.get(name.lower())) is None or not field.of_the_file
    ]


def handed_over(
    headers: HeaderList, front: Front, target: HeaderList
) -> list[tuple[str, str]]:
    """Return the fields of a response that lets the front send the file.

    :param target: the fields that name the file, and validators if the front needs
        the app's.
    """
    lines: dict[str, tuple[str, str]] = {}
    others: list[tuple[str, str]] = []
    drops = front.drops
    for name, value in headers:
        key = name.lower()
        field = FIELDS.get(key)
        if field is None:
            if key[:2] == "x-" and is_internal(key):
                continue
        elif key in REPLACED:
            continue
        if not drops or key == "set-cookie":
            others.append((name, value))
        elif field is None or field.joined:
            line = f"{lines[key][1]}, {value}" if key in lines else value
            lines[key] = (field.carrier if field else name, line)
        else:
            lines[key] = (field.carrier, value)
    return [*lines.values(), *others, *target, NO_LENGTH]
