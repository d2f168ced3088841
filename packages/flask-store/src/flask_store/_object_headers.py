"""Attributes as the headers of an object, as S3 and its kind keep them.

A client writes any Unicode: values of metadata are percent-encoded, as S3 clients send
nothing but ASCII, and the name of downloads is a ``filename*`` (RFC 6266, RFC 8187).
What the object's headers say is what S3 sends to browsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from urllib.parse import unquote

from werkzeug.http import parse_options_header

from . import _attributes
from ._attributes import Attributes


#: The metadata that holds the checksum.
SHA256 = "flask-store-sha256"
CHARSET = "; charset=utf-8"
#: What RFC 8187 lets stand in ``filename*`` as it is.
_SAFE = "!#$&+-.^_`|~"


def content_disposition(disposition: str, download_name: str | None) -> str:
    """Return a ``Content-Disposition`` field, which ASCII can hold."""
    if download_name is None:
        return disposition
    plain = "".join(
        char if " " <= char <= "~" and char not in '"\\%' else "_"
        for char in download_name
    )
    made = f'{disposition}; filename="{plain}"'
    if plain == download_name:
        return made
    return f"{made}; filename*=UTF-8''{quote(download_name, safe=_SAFE)}"


def to_headers(attributes: Attributes, name: str) -> dict[str, str]:
    """Return the headers of an object, but for its metadata.

    :param name: the object's name, which downloads have without a header.
    """
    record = attributes.record(name)
    made = {"Content-Type": _with_charset(attributes.content_type)}
    if "download_name" in record or attributes.disposition == "attachment":
        made["Content-Disposition"] = content_disposition(
            attributes.disposition, record.get("download_name")
        )
    if attributes.cache_control:
        made["Cache-Control"] = attributes.cache_control
    return made


def _with_charset(mimetype: str) -> str:
    """Name the charset of a text, as Werkzeug does for the files that it sends."""
    bare = mimetype.startswith("text/") and "charset=" not in mimetype
    return mimetype + CHARSET * bare


def to_metadata(attributes: Attributes) -> dict[str, str]:
    """Return the metadata of an object."""
    made = {
        key: quote(value, safe=" !#$&'()*+,/:;=?@[]-._~")
        for key, value in attributes.metadata.items()
    }
    return made | ({SHA256: attributes.sha256} if attributes.sha256 else {})


def from_headers(
    name: str, headers: Mapping[str, str | None], metadata: Mapping[str, str]
) -> Attributes:
    """Return the attributes of an object; what cannot be used is left out."""
    field = headers.get("Content-Disposition") or ""
    disposition, parameters = parse_options_header(field)
    mimetype = (headers.get("Content-Type") or "").removesuffix(CHARSET)
    record: dict[str, Any] = {
        "content_type": mimetype or None,
        "disposition": disposition or None,
        "download_name": parameters.get("filename"),
        "cache_control": headers.get("Cache-Control"),
        "sha256": metadata.get(SHA256),
        "metadata": {
            key: unquote(value)
            for key, value in metadata.items()
            if not key.startswith(_attributes.RESERVED)
        },
    }
    return Attributes.of(name, _attributes.usable(record))


def from_head(name: str, head: Mapping[str, Any]) -> Attributes:
    """Return the attributes of an object as boto3 tells of it."""
    headers = {
        "Content-Type": head.get("ContentType"),
        "Content-Disposition": head.get("ContentDisposition"),
        "Cache-Control": head.get("CacheControl"),
    }
    return from_headers(name, headers, head["Metadata"])
