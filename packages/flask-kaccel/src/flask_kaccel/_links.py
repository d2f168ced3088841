"""Signed links: the name of a file, how to send it, and until when.

The signature is an HMAC with SHA-256 by the app's ``SECRET_KEY``, compared in constant
time; a key in ``SECRET_KEY_FALLBACKS`` still verifies. A link says what is sent and not
to whom: whoever has it gets the file until it expires.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple
from urllib.parse import quote
from urllib.parse import unquote_to_bytes

from itsdangerous import BadData
from itsdangerous import URLSafeSerializer


SALT = "flask-kaccel.link"


class Link(NamedTuple):
    """The content of a signed link.

    :param until: seconds since the epoch.
    """

    filename: str
    until: int
    as_attachment: bool
    download_name: str | None


def _serializer(keys: Sequence[bytes]) -> URLSafeSerializer:
    digest = {"digest_method": hashlib.sha256}
    return URLSafeSerializer(list(keys), salt=SALT, signer_kwargs=digest)


def sign(link: Link, keys: Sequence[bytes]) -> str:
    """Return the token of a link; it needs no quoting in a URL."""
    # A name may have bytes that no text has.
    content = link._replace(filename=quote(os.fsencode(link.filename)))
    token: str | bytes = _serializer(keys).dumps(list(content))
    return token if isinstance(token, str) else token.decode()


def read(token: str, keys: Sequence[bytes]) -> Link | None:
    """Return the link of a token, or ``None`` if it is forged or has expired."""
    try:
        content: Any = _serializer(keys).loads(token)
    except BadData:
        return None
    link = Link(*content)
    link = link._replace(filename=os.fsdecode(unquote_to_bytes(link.filename)))
    return link if time.time() < link.until else None
