"""An upload in pieces, as it is remembered between requests."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from typing import TypeAlias

from .. import _names


#: What an authorize hook is asked for.
Step: TypeAlias = Literal["create", "read", "append", "terminate"]
#: The most that a client may say of one upload, in bytes.
LONGEST_METADATA = 4096
_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[!-+\--~]+")


class RefusedRequest(Exception):  # noqa: N818 - it ends a request, as HTTPException
    """A request that is answered with an error.

    :param status: the HTTP status.
    :param reason: names the field and says what is wrong with it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class MovedError(Exception):
    """Bytes came for an offset at which the upload does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload, as its place remembers it.

    :param id: 32 hexadecimal digits, at random.
    :param owner: whatever the authorize hook returned at the creation.
    :param length: all bytes, or None while the client has not said.
    :param raw_metadata: the ``Upload-Metadata`` field as it was sent.
    :param concat: the ``Upload-Concat`` field as it was sent.
    :param created: when, in seconds since the epoch.
    :param handle: what the place needs to find the bytes.
    :param attempt: the name that the file was last to get; it may have it.
    :param file: the name that the file has, once the upload is finished.
    :param parts: how many parts it was sent in, and 0 until all have come; None for an
        upload by tus.
    """

    id: str
    owner: str
    length: int | None
    raw_metadata: str = ""
    concat: str = ""
    created: float = 0.0
    handle: str = ""
    attempt: str | None = None
    file: str | None = None
    parts: int | None = None

    @property
    def in_parts(self) -> bool:
        """Whether it comes in parts that are numbered, or from an offset on."""
        return self.parts is not None

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata, decoded; bytes that are not UTF-8 are replaced."""
        return parse_metadata(self.raw_metadata)

    @property
    def filename(self) -> str:
        """The client's name for the file, made safe."""
        # By convention: tusd reads the first, Uppy sends the second as well.
        found = self.metadata
        return _names.clean(found.get("filename") or found.get("name"))

    @property
    def partial(self) -> bool:
        """Whether it is only a part of others."""
        return self.concat == "partial"

    @property
    def final(self) -> bool:
        """Whether it is made of others."""
        return self.concat.startswith("final")

    def is_complete(self, offset: int) -> bool:
        """Return whether all bytes are there."""
        return self.length is not None and offset >= self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that the application sets.

    :param max_size: bytes of a whole upload, or None.
    :param expires: seconds after the last byte.
    """

    max_size: int | None = None
    expires: float = 86400.0


def parse_metadata(raw: str, *, strict: bool = False) -> dict[str, str]:
    """Decode an ``Upload-Metadata`` field.

    :param strict: refuse what the protocol does not allow; otherwise leave it out.
    """
    if strict and len(raw) > LONGEST_METADATA:
        raise RefusedRequest(
            400, f"Upload-Metadata: send at most {LONGEST_METADATA} bytes"
        )
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, raw.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            value = None
        if value is not None and key not in found and key.isascii():
            found[key] = value.decode(errors="replace")
        elif strict:
            raise RefusedRequest(
                400,
                f"Upload-Metadata: {key[:60]!r} must appear once, with its value in "
                "Base64",
            )
    return found


def format_metadata(values: Mapping[str, str]) -> str:
    """Return an ``Upload-Metadata`` field.

    :raises RefusedRequest: for keys that it cannot hold, and for too much.
    """
    pairs = []
    for key, value in values.items():
        if not _KEY.fullmatch(key):
            raise RefusedRequest(400, f"metadata: {key[:60]!r} cannot be a key")
        pairs.append(f"{key} {base64.b64encode(value.encode()).decode()}")
    made = ",".join(pairs)
    if len(made) > LONGEST_METADATA:
        raise RefusedRequest(400, f"metadata: send at most {LONGEST_METADATA} bytes")
    return made


def is_id(text: str) -> bool:
    """Return whether a text is an id, and nothing that could be a path."""
    return _ID.fullmatch(text) is not None


def check_size(size: int, limits: Limits) -> None:
    """Refuse what is larger than allowed."""
    if limits.max_size is not None and size > limits.max_size:
        raise RefusedRequest(
            413, f"Upload-Length is {size}: at most {limits.max_size} bytes are allowed"
        )
