"""Attributes: what a stored file carries beside its name and its bytes.

The rule: attributes are always complete, and only what the name does not imply is kept.

=================  ===============================  ==================================
attribute          without a record                 with one
=================  ===============================  ==================================
``content_type``   implied by the extension         said by the app or the accept hook
``download_name``  the last part of the name        the client's name, or the app's
``disposition``    ``inline`` for what is harmless  ``attachment``; never the reverse
``cache_control``  None                             said by the app
``metadata``       empty                            said by the app
``sha256``         None                             made while the bytes passed
=================  ===============================  ==================================

So most files need no record at all, and losing the records, as some backup tools do,
makes no file unreadable. A record is a mapping of the attributes that differ. Where it
lives is up to the store: S3 keeps it as the object's own headers, the local disk in one
extended attribute (``_records.py``), a spool in its journal. Whatever comes back is
checked again, as files and objects may be changed behind the store's back and the
values become headers of responses.

A file's attributes are given to ``save`` and belong to the file from the moment it has
its name: both appear at once. ``copy`` and ``move`` take them along.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from types import NoneType
from typing import TYPE_CHECKING
from typing import Any
from typing import Self
from typing import TypedDict
from urllib.parse import quote

from . import _names
from ._types import Disposition
from ._types import content_type
from ._types import default_disposition
from ._types import is_inline
from .exceptions import InvalidAttributeError


if TYPE_CHECKING:
    from ._accept import Accept

#: Bytes of all keys and values as S3 counts them; it takes 2 KB with ours.
LARGEST_METADATA = 1500
#: Keys of metadata that start so are the store's own.
RESERVED = "flask-store"

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(; ?{_WORD}=({_WORD}|\"[ -!#-\[\]-~]*\"))*"
)
_KEY = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SaveOptions(TypedDict, total=False):
    """The keyword arguments of ``save``; None stands for the default.

    ``content_type`` overrides what the extension implies. ``download_name`` is the name
    of downloads, by default the client's. ``disposition`` is ``"inline"`` or
    ``"attachment"``; what a browser could run is never inline. ``cache_control`` is
    sent with the file. ``metadata`` maps lowercase keys to text. ``sha256`` asks for
    the checksum to be kept. ``content_digest`` is a ``Content-Digest`` field (RFC 9530)
    that the bytes must match; by default the one of the request or the form's part.
    ``accept`` is called before the file gets its name, after the store's own hook.
    """

    content_type: str | None
    download_name: str | None
    disposition: Disposition | None
    cache_control: str | None
    metadata: Mapping[str, str] | None
    sha256: bool
    content_digest: str | None
    accept: Accept | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Everything that a stored file carries.

    :param content_type: what the file is sent as.
    :param download_name: what a download is called.
    :param disposition: whether a browser may show it.
    :param cache_control: what is sent as ``Cache-Control``, or None.
    :param metadata: the app's own, by lowercase key.
    :param sha256: the checksum in lowercase hexadecimal, or None.
    """

    content_type: str
    download_name: str
    disposition: Disposition
    cache_control: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    sha256: str | None = None

    @classmethod
    def of(cls, name: str, record: Mapping[str, Any] | None = None) -> Self:
        """Return the attributes of a file, given its record.

        :param record: what differs from what the name implies; checked already.
        """
        record = record or {}
        mimetype = record.get("content_type") or content_type(name)
        wanted = record.get("disposition") or default_disposition(mimetype)
        values = {
            **record,
            "content_type": mimetype,
            "download_name": record.get("download_name") or _last(name),
            "disposition": wanted if is_inline(mimetype) else "attachment",
        }
        return cls(**values)

    @classmethod
    def load(cls, name: str, data: bytes | None) -> Self:
        """Return the attributes of a file from its record in JSON.

        What cannot be read or used in it is ignored, and the name decides.
        """
        return cls.of(name, usable(parse(data or b"")))

    def record(self, name: str) -> dict[str, Any]:
        """Return what differs from what a name implies."""
        # How a type is sent follows from the type, whoever named that.
        plain = Attributes.of(name)
        implied = {
            "content_type": plain.content_type,
            "download_name": plain.download_name,
            "disposition": default_disposition(self.content_type),
        }
        found = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return {key: it for key, it in found if it and it != implied.get(key)}

    def moved(self, name: str, to: str) -> Attributes:
        """Return the attributes for the same bytes under another name."""
        record = self.record(name)
        return Attributes.of(to, {**record, "content_type": self.content_type})

    def options(self, name: str, to: str) -> SaveOptions:
        """Return what to save the same bytes with under another name."""
        record = self.moved(name, to).record(to)
        made: SaveOptions = {**record, "sha256": "sha256" in record}  # type: ignore[typeddict-item]
        return made


def dump(record: Mapping[str, Any]) -> bytes:
    """Return a record in JSON, as short as it can be; at most 3 KB."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def parse(data: bytes) -> dict[str, Any]:
    """Return a record from its JSON; an empty one where that is none."""
    try:
        record = json.loads(data)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of the attributes that were given.

    :raises InvalidAttributeError: for the first that cannot be kept.
    """
    record = {}
    for key, check in _RULES.items():
        value = given.get(key)
        if value is not None:
            try:
                record[key] = check(value)
            except (AttributeError, TypeError, ValueError) as error:
                remedy = str(error) if type(error) is ValueError else "use text"
                raise InvalidAttributeError(key, value, remedy) from None
    return record


def usable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return those entries of a record that can be used."""
    kept: dict[str, Any] = {}
    for key in record:
        with contextlib.suppress(InvalidAttributeError):
            kept |= checked({key: record[key]})
    return kept


def check_disposition(record: Mapping[str, Any], mimetype: str) -> None:
    """Refuse to show what a browser could run in the site's name."""
    if record.get("disposition") == "inline" and not is_inline(mimetype):
        reason = f"{mimetype} could run in a browser; use 'attachment'"
        raise InvalidAttributeError("disposition", "inline", reason)


def check_signed(expires: float | None, value: str | None) -> str | None:
    """Return the name that a signed URL gives to a download, if it has one.

    :param expires: the seconds that it works; None for a URL that is not signed.
    """
    if type(expires) not in {int, float, NoneType}:
        raise InvalidAttributeError("expires", expires, "give seconds, such as 3600")
    if value is not None and expires is None:
        reason = "a URL with download_name is signed; pass expires= too"
        raise InvalidAttributeError("download_name", value, reason)
    name: str | None = checked({"download_name": value}).get("download_name")
    return name


def original_name(filename: str | None, name: str) -> str | None:
    """Return what downloads of a client's file are called, if that is a name.

    It has the extension of the stored name, which the app may have checked.

    :param filename: what the client calls it.
    :param name: what it is to be called in the store.
    """
    if not filename or (cleaned := _names.clean(filename)) == _names.UNNAMED:
        return None
    stem, extension = _names.split_extension(cleaned)
    stored = _names.split_extension(_last(name))[1]
    return cleaned if extension.lower() == stored.lower() else stem + stored


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _mimetype(value: str) -> str:
    if len(value) > 255 or not _CONTENT_TYPE.fullmatch(value):
        raise ValueError("use a type such as 'image/png'")
    return value


def _download_name(value: str) -> str:
    cleaned = _names.clean(value)
    if cleaned != value:
        raise ValueError(f"use a plain file name, such as {cleaned!r}")
    return value


def _disposition(value: str) -> str:
    if value not in {"inline", "attachment"}:
        raise ValueError("use 'inline' or 'attachment'")
    return value


def _cache_control(value: str) -> str:
    if len(value) > 256 or not _PRINTABLE.fullmatch(value):
        raise ValueError("use directives such as 'private, max-age=60'")
    return value


def _metadata(value: Mapping[str, str]) -> dict[str, str]:
    size = 0
    for key, text in value.items():
        if not _KEY.fullmatch(key) or key.startswith(RESERVED):
            raise ValueError(f"use a-z, 0-9 and '-' in keys, not {key!r}")
        if not text.isprintable() or text != text.strip():
            raise ValueError(
                f"use printable text for {key!r}, without leading or trailing spaces"
            )
        size += len(key) + len(quote(text, safe=""))
    if size > LARGEST_METADATA:
        raise ValueError(f"use {LARGEST_METADATA} bytes at most, percent-encoded")
    return dict(value)


def _sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError("use 64 lowercase hexadecimal digits")
    return value


#: How each attribute is checked; what it raises says what to do.
_RULES: dict[str, Callable[[Any], Any]] = {
    "content_type": _mimetype,
    "download_name": _download_name,
    "disposition": _disposition,
    "cache_control": _cache_control,
    "metadata": _metadata,
    "sha256": _sha256,
}
