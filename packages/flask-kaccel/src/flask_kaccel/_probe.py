"""The questions of ``flask kaccel check``, answered at the edge.

A request with ``X-Kaccel-Check`` gets that field back with the name of who answered:
``flask`` if the app did, ``handed`` if the app left the answer to the front. nginx
drops the second one unless the printed block gives it back, so that a reply without any
did not come through that block. None of this is a secret.

A signed value learns more. ``flask`` is followed by the path that has reached the app,
which is an internal one if the front has no block for it. And the front can be asked
for something that is not there, ``missing``, or for the file's ``directory``, which no
view would ask for: the front's errors are part of what has to be right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Literal
from urllib.parse import quote

from itsdangerous import BadSignature
from itsdangerous import TimestampSigner

from ._body import FileBody
from ._body import RedirectBody
from ._delivery import Reply
from ._fields import CHECK_HEADER
from ._state import State


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Probe = Literal["file", "missing", "directory"]
CHECK_KEY = f"HTTP_{CHECK_HEADER.upper().replace('-', '_')}"
SALT = "flask-kaccel.check"
MAX_AGE_SECONDS = 300
FLASK, HANDED = "flask", "handed"
NAMING = ("X-Accel-Redirect", "X-Sendfile")


def question(state: State, probe: Probe) -> str:
    """Return the field's value for a probe; without a key it is not signed."""
    keys = _keys(state)
    return TimestampSigner(keys, SALT).sign(probe).decode() if keys else probe


def can_sign(state: State) -> bool:
    """Return whether there is a key, so that every probe is answered."""
    return bool(_keys(state))


def probed(
    state: State,
    environ: WSGIEnvironment,
    reply: Reply,
    body: FileBody | RedirectBody | None,
) -> Reply:
    """Return a reply that says who answered, and asks the front for the probe."""
    status, headers, chunks = reply
    probe = _signed(state, environ[CHECK_KEY])
    if body is None or not any(name in NAMING for name, _ in headers):
        seen = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        path = f" {quote(seen, encoding='latin-1')}" if probe else ""
        return status, [*headers, (CHECK_HEADER, f"{FLASK}{path}")], chunks
    if probe and isinstance(body, FileBody):
        headers = [
            (name, _amended(value, probe) if name in NAMING else value)
            for name, value in headers
        ]
    return status, [*headers, (CHECK_HEADER, HANDED)], chunks


def _keys(state: State) -> list[bytes]:
    secret = state.config.secret
    return state.keys() or ([secret.encode()] if secret else [])


def _signed(state: State, value: str) -> str | None:
    keys = _keys(state)
    if not keys:
        return None
    try:
        signed = TimestampSigner(keys, SALT).unsign(value, MAX_AGE_SECONDS)
    except BadSignature:
        return None
    return signed.decode()


def _amended(name: str, probe: str) -> str:
    if probe == "missing":
        return f"{name}/missing"  # nothing lies below a file
    if probe == "directory":
        return f"{name.rpartition('/')[0]}/."
    return name
