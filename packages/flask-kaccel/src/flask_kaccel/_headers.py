"""The field values of a file response, and the rules that their arguments obey."""

from __future__ import annotations

import mimetypes
import os
import re
from datetime import UTC
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from werkzeug.http import http_date
from werkzeug.utils import get_content_type

from ._disposition import content_disposition
from ._fields import HeaderList
from ._settings import Rule
from ._settings import satisfies
from .exceptions import InvalidValueError


UNKNOWN_TYPE = "application/octet-stream"
DEFAULT_CHARSET = "utf-8"
#: nginx drops Content-Encoding, so the type has to describe the bytes.
ENCODED_TYPES = {
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
PREFIX = re.compile(r"/(?:[\w-][\w.~-]*/)+", re.ASCII)
CHARSET = re.compile(r"[a-z0-9][\w.:+-]*", re.ASCII | re.IGNORECASE)
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?: *;[ -~]*)?", re.ASCII)
NAMED_LOCATION = re.compile(r"@[\w.-]+", re.ASCII)
INTERNAL_URI = re.compile(
    r"(?P<path>/(?!/)(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)"
    r"(?:\?(?:[\w.~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*)?",
    re.ASCII | re.IGNORECASE,
)


def is_internal_uri(value: object) -> bool:
    """Return whether nginx takes a value of ``X-Accel-Redirect`` for what it says.

    It drops broken escapes without a word, and refuses dot segments only after it
    has decoded them.
    """
    if not isinstance(value, str):
        return False
    if NAMED_LOCATION.fullmatch(value):
        return True
    match = INTERNAL_URI.fullmatch(value)
    if match is None:
        return False
    path = unquote_to_bytes(match["path"])
    return b"\0" not in path and not {b".", b".."} & set(path.split(b"/"))


def is_count(value: object) -> bool:
    """Return whether a value is an integer from 0, which ``True`` is not."""
    return type(value) is int and value >= 0


BUFFERING = satisfies(
    lambda value: value is None or isinstance(value, bool),
    "True, False, or None for nginx's own setting",
)
CHARSET_NAME = satisfies(
    lambda value: (
        value is None or (isinstance(value, str) and CHARSET.fullmatch(value))
    ),
    "the name of a charset, such as 'utf-8', or None for none",
)
EXPIRES = satisfies(
    lambda value: value is None or is_count(value) or isinstance(value, datetime),
    "whole seconds, 0 to forbid caching, a datetime, or None for nginx's own setting",
)
INTERNAL_PREFIX = satisfies(
    lambda value: isinstance(value, str) and PREFIX.fullmatch(value),
    "the path of an internal location, such as '/protected/', which starts and ends "
    "with a slash and needs no percent-encoding",
)
FLAG = satisfies(lambda value: isinstance(value, bool), "True or False")
PATH = satisfies(
    lambda value: isinstance(os.fspath(value), str), "a path as a string or a Path"
)
FILE_NAME = satisfies(
    lambda value: isinstance(value, str), "a name, such as 'report.pdf'"
)
MIMETYPE = satisfies(
    lambda value: isinstance(value, str) and MEDIA_TYPE.fullmatch(value),
    "a media type, such as 'text/html'",
)
AGE = satisfies(
    lambda value: value is None or type(value) is int, "whole seconds, or None"
)
MOMENT = satisfies(http_date, "a datetime, or seconds since the epoch")
SECONDS = satisfies(
    lambda value: is_count(value) and value > 0, "whole seconds, 1 or more"
)
LIMIT = satisfies(
    lambda value: value is None or is_count(value),
    "whole bytes per second, 0 for no limit, or None for nginx's own setting",
)
REDIRECT = satisfies(
    is_internal_uri,
    "a percent-encoded path of an internal location, such as '/protected/a.txt', "
    "a named location, such as '@files', or a URL in KACCEL_MAPPINGS",
)


def require(rule: Rule, argument: str, value: object) -> None:
    """Refuse a wrong argument.

    :raises InvalidValueError: names the argument, the value and the remedy.
    """
    try:
        rule.check(value)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InvalidValueError(argument, value, f"give {rule.words}") from None


def path_text(argument: str, path: str | os.PathLike[str]) -> str:
    """Return a path as a string.

    :raises InvalidValueError: it is none.
    """
    if type(path) is str:
        return path
    require(PATH, argument, path)
    return os.fspath(path)


def accel_headers(
    *,
    buffering: bool | None = None,
    expires: int | datetime | None = None,
    limit: int | None = None,
) -> list[tuple[str, str]]:
    """Return the ``X-Accel-*`` headers that change nginx's own settings.

    :param buffering: ``False`` makes nginx pass on what the app sends at once.
    :param expires: for how many seconds, or until when, nginx's cache keeps it.
    :param limit: bytes per second.
    :raises InvalidValueError: a value that nginx would ignore.
    """
    headers = []
    if buffering is not None:
        require(BUFFERING, "buffering", buffering)
        headers.append(("X-Accel-Buffering", "yes" if buffering else "no"))
    if expires is not None:
        require(EXPIRES, "expires", expires)
        headers.append(("X-Accel-Expires", expires_value(expires)))
    if limit is not None:
        require(LIMIT, "limit", limit)
        headers.append(("X-Accel-Limit-Rate", str(limit)))
    return headers


def file_settings(
    buffering: bool | None, expires: int | datetime | None, limit: int | None
) -> HeaderList:
    """Return the ``X-Accel-*`` headers of a file, which nginx buffers unless told."""
    told = None if buffering is True else buffering
    return accel_headers(buffering=told, expires=expires, limit=limit)


def expires_value(expires: int | datetime) -> str:
    """Return seconds, or a moment, in which UTC is meant where no zone is named."""
    if not isinstance(expires, datetime):
        return str(expires)
    aware = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    return f"@{max(int(aware.timestamp()), 0)}"


def guess_mimetype(name: str) -> str:
    """Return the type of a file's bytes by its name."""
    stem, _, last = name.rpartition(".")
    suffix = f".{last}"
    known = mimetypes.types_map.get(suffix) if mimetypes.inited else None
    if (
        known is not None
        and stem[:1] not in ("", ".")
        and suffix not in mimetypes.suffix_map
        and suffix not in mimetypes.encodings_map
    ):
        return known  # what the function below would find, at a tenth of its cost
    # The function reads a scheme before a colon, which a file name does not have.
    mimetype, encoding = mimetypes.guess_type(name.replace(":", "_"))
    if encoding is not None:
        return ENCODED_TYPES.get(encoding, UNKNOWN_TYPE)
    return mimetype or UNKNOWN_TYPE


@lru_cache(1024)
def content_type(mimetype: str, charset: str | None) -> str:
    """Return a type with the charset where the type is one of text."""
    if charset is None or ";" in mimetype:
        return mimetype
    return get_content_type(mimetype, charset)


def file_headers(
    name: str, mimetype: str, charset: str | None, max_age: int | None, *, save: bool
) -> HeaderList:
    """Return the fields of a file's response.

    :param save: whether browsers save the file instead of showing it.
    :raises InvalidValueError: a value that no field could have.
    """
    try:
        return _file_headers(name, mimetype, charset, max_age, save)
    except TypeError:  # what cannot be hashed is wrong too
        return _file_headers.__wrapped__(name, mimetype, charset, max_age, save)


@lru_cache(1024)
def _file_headers(
    name: str, mimetype: str, charset: str | None, max_age: int | None, save: bool
) -> HeaderList:
    require(MIMETYPE, "mimetype", mimetype)
    require(CHARSET_NAME, "charset", charset)
    require(AGE, "max_age", max_age)
    require(FLAG, "as_attachment", save)
    return (
        ("Content-Type", content_type(mimetype, charset)),
        ("Content-Disposition", content_disposition(name, as_attachment=save)),
        ("Cache-Control", cache_control(max_age)),
    )


def cache_control(max_age: int | None) -> str:
    """Return how long clients may keep the file, as Flask's own ``send_file`` does.

    :param max_age: seconds; ``None`` makes them ask every time.
    """
    if max_age is None:
        return "no-cache"
    return f"public, max-age={max_age}" if max_age > 0 else "no-cache, max-age=0"
