"""Rules for file names: which are allowed, and how others are made safe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import shortuuid

from .exceptions import InvalidNameError


#: What every common file system takes, in bytes; a unique part must still fit.
LONGEST_PART = 255
UNIQUE_LENGTH = 1 + 22
LONGEST_NAME = LONGEST_PART - UNIQUE_LENGTH
LONGEST_EXTENSION = 32
#: What S3 takes as a key, less room for the unique part.
LONGEST_PATH = 1024 - UNIQUE_LENGTH
UNNAMED = "file"

#: Joiners that emoji and Persian need, though they are format characters.
_JOINERS = "\u200c\u200d"
#: Control characters, lone surrogates, and Windows' separator.
_IMPOSSIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")
_RESERVED_PART = re.compile(r"(?:^|/)(?:[./]|\Z)")
#: What Windows refuses in a name.
_REFUSED = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])(?![^. ])", re.IGNORECASE
)


def clean(filename: str | None) -> str:
    """Return what a client called its file as one safe name.

    It keeps letters of every script, and loses folders, control and direction
    characters, what Windows refuses, leading dots and dashes, and what is too long.

    :param filename: what the client sent, which may be a path or a URL.
    """
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    name = unicodedata.normalize("NFC", name)
    name = " ".join(_REFUSED.sub("_", _printable(name)).split())
    name = name.lstrip(" .-").rstrip(" .")
    if _DEVICE.match(name):
        name = f"_{name}"
    return _shorten(name) or UNNAMED


def clean_path(path: str) -> str:
    """Return a name that the application chose, each of its parts cleaned.

    :param path: a name, or a path such as ``"avatars/me.png"``.
    :raises InvalidNameError: for a path that leaves its folder.
    """
    folder, slash, name = check(path).rpartition("/")
    parts = [clean(part) for part in folder.split("/")] if slash else []
    return "/".join([*parts, clean(name)])


def check(path: str) -> str:
    """Return a path within the store as it is.

    :raises InvalidNameError: where it is absolute, empty, hidden or leaves the store.
    """
    if not path or path.startswith("/"):
        raise InvalidNameError(path, "it must be relative to the store")
    if _IMPOSSIBLE.search(path):
        raise InvalidNameError(path, "it has a character that is not allowed in names")
    # Names that start with a dot are the stores' own: "..", and files in the making.
    if _RESERVED_PART.search(path):
        raise InvalidNameError(path, "a part is empty or starts with a dot")
    whole = path.encode()
    if len(whole) > LONGEST_PART:
        if any(len(part) > LONGEST_PART for part in whole.split(b"/")):
            raise InvalidNameError(path, f"a part is longer than {LONGEST_PART} bytes")
        if len(whole) > LONGEST_PATH:
            raise InvalidNameError(path, f"it is longer than {LONGEST_PATH} bytes")
    return path


def is_valid(path: str) -> bool:
    """Return whether a file of a store can have a path as its name."""
    try:
        check(path)
    except InvalidNameError:
        return False
    return True


def unique(path: str) -> str:
    """Return a path with a short UUID before its extension, in the same folder."""
    folder, slash, name = path.rpartition("/")
    stem, extension = split_extension(name)
    return f"{folder}{slash}{stem}_{shortuuid.uuid()}{extension}"


def candidates(path: str, *, always_unique: bool = False) -> Iterator[str]:
    """Yield names to try, the first as asked for and the others unique.

    :param always_unique: do not try the name itself.
    """
    if not always_unique:
        yield path
    while True:
        yield unique(path)


def split_extension(name: str) -> tuple[str, str]:
    """Split a file's name before its last dot."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem else (name, "")


def _printable(name: str) -> str:
    """Drop control, format, surrogate and private characters; keep spaces as such."""
    if name.isascii() and name.isprintable():
        return name
    kept = []
    for char in name:
        category = unicodedata.category(char)
        if category[0] == "Z" or char in "\t\n\r":
            kept.append(" ")
        elif category not in {"Cc", "Cf", "Cs", "Co"} or char in _JOINERS:
            kept.append(char)
    return "".join(kept)


def _shorten(name: str) -> str:
    """Cut the stem, not the extension, between characters."""
    stem, extension = split_extension(name)
    if len(extension.encode()) > LONGEST_EXTENSION:
        stem, extension = name, ""
    room = LONGEST_NAME - len(extension.encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .")
    return stem + extension
