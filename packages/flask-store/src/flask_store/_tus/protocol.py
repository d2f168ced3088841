"""The tus resumable upload protocol 1.0.0: what requests say, and what is answered.

Section names in the comments are those of the protocol's page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from typing import Literal
from typing import TypeAlias

from werkzeug.datastructures import Headers

from .. import _names


VERSION = "1.0.0"
EXTENSIONS = (
    "creation", "creation-with-upload", "creation-defer-length", "checksum",
    "expiration", "termination", "concatenation",
)  # fmt: skip
#: By the name that clients use; sha1 is the one that every server has to know.
ALGORITHMS = ("sha1", "md5", "sha256", "sha512")
MEDIA_TYPE = "application/offset+octet-stream"
METHODS = ("OPTIONS", "POST", "HEAD", "PATCH", "DELETE")
CHECKSUM_MISMATCH = 460

#: What an authorize hook is asked for.
Step: TypeAlias = Literal["create", "read", "append", "terminate"]
Fields: TypeAlias = Mapping[str, str] | Headers

#: The most that a client may say of one upload, in bytes.
LONGEST_METADATA = 4096
#: The most uploads that one may be made of.
MOST_PARTS = 1000
_NUMBER = re.compile(r"[0-9]{1,15}")
_ID = re.compile(r"[0-9a-f]{32}")


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
    """What the application allows.

    :param max_size: bytes of a whole upload, or None.
    :param expires: seconds after the last byte.
    """

    max_size: int | None = None
    expires: float = 86400.0


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that a body must have (extension Checksum)."""

    algorithm: str
    expected: bytes

    def matches(self, digest: bytes) -> bool:
        """Return whether a body has the checksum."""
        return digest == self.expected

    def start(self) -> Any:
        """Return the hash of nothing yet."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A request for a new upload."""

    length: int | None
    raw_metadata: str
    concat: str
    parts: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Appending:
    """A request that brings bytes.

    :param offset: where they begin.
    :param length: of the whole upload, where this request tells it.
    """

    offset: int
    length: int | None
    checksum: Checksum | None


def method_of(method: str, fields: Fields) -> str:
    """Return the method that counts (X-HTTP-Method-Override)."""
    return fields.get("X-HTTP-Method-Override", method).upper()


def check_version(fields: Fields) -> None:
    """Refuse another version of the protocol (Tus-Resumable)."""
    found = fields.get("Tus-Resumable", "")
    if found != VERSION:
        raise RefusedRequest(412, f"Tus-Resumable is {found!r}: send {VERSION}")


def read_creation(fields: Fields, limits: Limits) -> Creation:
    """Read a request for a new upload (extensions Creation and Concatenation)."""
    concat = fields.get("Upload-Concat", "").strip()
    raw = fields.get("Upload-Metadata", "").strip()
    parse_metadata(raw, strict=True)
    if concat.startswith("final;"):
        if "Upload-Length" in fields or "Upload-Defer-Length" in fields:
            raise RefusedRequest(400, "Upload-Length: leave it out of a final upload")
        parts = tuple(map(id_of, concat.removeprefix("final;").split()))
        if not 0 < len(parts) <= MOST_PARTS:
            raise RefusedRequest(
                400, f"Upload-Concat: name 1 to {MOST_PARTS} uploads, not {len(parts)}"
            )
        return Creation(length=None, raw_metadata=raw, concat=concat, parts=parts)
    if concat not in {"", "partial"}:
        raise RefusedRequest(
            400,
            f"Upload-Concat is {concat[:60]!r}: send 'partial' or 'final;' and URLs",
        )
    length = _length(fields, limits)
    return Creation(length=length, raw_metadata=raw, concat=concat)


def _length(fields: Fields, limits: Limits) -> int | None:
    deferred = fields.get("Upload-Defer-Length")
    if deferred is None:
        length = number("Upload-Length", fields.get("Upload-Length"))
        check_size(length, limits)
        return length
    if deferred != "1":
        raise RefusedRequest(400, f"Upload-Defer-Length is {deferred[:60]!r}: send 1")
    if "Upload-Length" in fields:
        raise RefusedRequest(400, "Upload-Length and Upload-Defer-Length: send one")
    return None


def check_size(size: int, limits: Limits) -> None:
    """Refuse what is larger than allowed."""
    if limits.max_size is not None and size > limits.max_size:
        raise RefusedRequest(
            413, f"Upload-Length is {size}: at most {limits.max_size} bytes are allowed"
        )


def read_appending(fields: Fields, upload: Upload, limits: Limits) -> Appending:
    """Read a request that brings bytes (PATCH)."""
    check_media_type(fields)
    offset = number("Upload-Offset", fields.get("Upload-Offset"))
    length = None
    if "Upload-Length" in fields:
        length = number("Upload-Length", fields["Upload-Length"])
        if upload.length is not None and length != upload.length:
            # Once it is known it never changes (Upload-Defer-Length).
            raise RefusedRequest(
                400, f"Upload-Length is {length}: it was {upload.length} before"
            )
        check_size(length, limits)
    if upload.final:
        raise RefusedRequest(403, "Upload-Concat: a final upload takes no bytes")
    return Appending(offset=offset, length=length, checksum=read_checksum(fields))


def check_media_type(fields: Fields) -> None:
    """Refuse a body of another type."""
    found = fields.get("Content-Type", "").partition(";")[0].strip().lower()
    if found != MEDIA_TYPE:
        raise RefusedRequest(415, f"Content-Type is {found[:60]!r}: send {MEDIA_TYPE}")


def read_checksum(fields: Fields) -> Checksum | None:
    """Return the checksum that the body must have, if the client gave one."""
    found = fields.get("Upload-Checksum")
    if found is None:
        return None
    algorithm, _, encoded = found.partition(" ")
    if algorithm not in ALGORITHMS:
        raise RefusedRequest(
            400, f"Upload-Checksum: use one of {', '.join(ALGORITHMS)}"
        )
    try:
        expected = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedRequest(400, "Upload-Checksum: encode it in Base64") from None
    return Checksum(algorithm, expected)


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
                f"Upload-Metadata: {key[:60]!r} must come once, with its value in "
                "Base64",
            )
    return found


def number(name: str, value: str | None) -> int:
    """Return a field's number of bytes."""
    if value is None or not _NUMBER.fullmatch(value):
        raise RefusedRequest(
            400, f"{name} is {(value or '')[:60]!r}: send a number of bytes"
        )
    return int(value)


def id_of(url: str) -> str:
    """Return the upload that an absolute or relative URL names."""
    found = url.rstrip("/").rpartition("/")[2]
    if not is_id(found):
        raise RefusedRequest(400, f"Upload-Concat: {url[:60]!r} is no upload's URL")
    return found


def is_id(text: str) -> bool:
    """Return whether a text is an id, and nothing that could be a path."""
    return _ID.fullmatch(text) is not None


def total(uploads: Iterable[tuple[Upload, int]], owner: str) -> int:
    """Return the bytes of the parts of a final upload, each with its offset."""
    size = 0
    for upload, offset in uploads:
        if not upload.partial or upload.owner != owner:
            raise RefusedRequest(
                400, f"Upload-Concat: {upload.id} is no partial upload"
            )
        if not upload.is_complete(offset):
            raise RefusedRequest(400, f"Upload-Concat: {upload.id} is not complete")
        size += offset
    return size


def told(upload: Upload, appending: Appending) -> Upload:
    """Return the upload with the length that a request told."""
    if appending.length is None or upload.length is not None:
        return upload
    return replace(upload, length=appending.length)


def option_fields(limits: Limits) -> dict[str, str]:
    """Return what OPTIONS answers."""
    found = {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    if limits.max_size is not None:
        found["Tus-Max-Size"] = str(limits.max_size)
    return found


def state_fields(upload: Upload, offset: int) -> dict[str, str]:
    """Return what HEAD answers."""
    found = {"Cache-Control": "no-store", "Upload-Offset": str(offset)}
    if upload.length is None:
        found["Upload-Defer-Length"] = "1"
    else:
        found["Upload-Length"] = str(upload.length)
    if upload.raw_metadata:
        found["Upload-Metadata"] = upload.raw_metadata
    if upload.concat:
        found["Upload-Concat"] = upload.concat
    return found


def expiry_fields(touched: float, limits: Limits) -> dict[str, str]:
    """Return when an unfinished upload expires (extension Expiration)."""
    return {"Upload-Expires": formatdate(touched + limits.expires, usegmt=True)}
