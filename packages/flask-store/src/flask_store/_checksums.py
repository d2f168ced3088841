"""Checksums that are made while bytes pass, and compared with what a client said."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import IO

from werkzeug.http import parse_dict_header

from .exceptions import DigestError


#: The algorithms of RFC 9530, section 5, that are not deprecated.
ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
CHUNK = 256 * 1024


class Checksums:
    """The checksums of one save; without any wanted it costs nothing.

    :param sha256: whether the app wants to keep one.
    :param expected: a ``Content-Digest`` field, or None.
    :raises DigestError: for a field that is malformed.
    """

    def __init__(self, *, sha256: bool = False, expected: str | None = None) -> None:
        self._expected = parse(expected) if expected else {}
        wanted = {*self._expected, *(("sha256",) if sha256 else ())}
        self._hashes = {name: hashlib.new(name) for name in wanted}
        self._made = not wanted

    def __bool__(self) -> bool:
        """Return whether bytes have to pass."""
        return not self._made

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        for made in self._hashes.values():
            made.update(data)

    def read(self, body: IO[bytes]) -> None:
        """Take in a whole stream that can be read again, unless that was done."""
        if self._made:
            return
        body.seek(0)
        while data := body.read(CHUNK):
            self.update(data)
        self._made = True

    def finish(self) -> None:
        """Note that all bytes have passed."""
        self._made = True

    def check(self) -> None:
        """Compare with what the client said.

        :raises DigestError: where other bytes arrived.
        """
        for name, expected in self._expected.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise DigestError(
                    f"The {name} of the body does not match the announced one."
                )

    @property
    def sha256(self) -> str | None:
        """The checksum in hexadecimal, where it was made."""
        made = self._hashes.get("sha256")
        return made.hexdigest() if made else None


def parse(header: str) -> dict[str, bytes]:
    """Return the digests of a ``Content-Digest`` field that can be checked.

    RFC 9530, section 2: a dictionary of byte sequences, each between colons. A
    recipient may ignore algorithms, here all but SHA-256 and SHA-512.

    :raises DigestError: for one that is malformed.
    """
    found = {}
    for key, value in parse_dict_header(header).items():
        if key.lower() not in ALGORITHMS:
            continue
        name = ALGORITHMS[key.lower()]
        text = (value or "").partition(";")[0].strip()
        try:
            digest = base64.b64decode(text[1:-1], validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        colons = len(text) > 2 and text[0] == text[-1] == ":"
        if not colons or len(digest) != hashlib.new(name).digest_size:
            raise DigestError(f"Content-Digest: {key} must be base64 between colons.")
        found[name] = digest
    return found
