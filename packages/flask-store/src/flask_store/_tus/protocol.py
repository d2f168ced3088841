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
from typing import TypeAlias

from werkzeug.datastructures import Headers

from .upload import Limits
from .upload import RefusedRequest
from .upload import Upload
from .upload import check_size
from .upload import is_id
from .upload import parse_metadata


VERSION = "1.0.0"
EXTENSIONS = (
    "creation", "creation-with-upload", "creation-defer-length", "checksum",
    "expiration", "termination", "concatenation",
)  # fmt: skip
#: By the name that clients use; sha1 is the one that every server has to know.
ALGORITHMS = ("sha1", "md5", "sha256", "sha512")
MEDIA_TYPE = "application/offset+octet-stream"
#: What the routes take: the method that counts may be another one.
METHODS = ("OPTIONS", "GET", "POST", "HEAD", "PATCH", "PUT", "DELETE")
CHECKSUM_MISMATCH = 460

Fields: TypeAlias = Mapping[str, str] | Headers

#: The most uploads that one may be made of.
MOST_PARTS = 1000
_NUMBER = re.compile(r"[0-9]{1,15}")


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
        raise RefusedRequest(
            400, f"Upload-Concat: {url[:60]!r} is not the URL of an upload"
        )
    return found


def total(uploads: Iterable[tuple[Upload, int]], owner: str) -> int:
    """Return the bytes of the parts of a final upload, each with its offset."""
    size = 0
    for upload, offset in uploads:
        if not upload.partial or upload.owner != owner:
            raise RefusedRequest(
                400, f"Upload-Concat: {upload.id} is not a partial upload"
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
