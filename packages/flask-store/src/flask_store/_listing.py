"""Pages of a listing: some files, the folders between them, and where to go on.

Names are sorted by code point, as S3 sorts keys, and a folder counts as one entry: the
part of a name up to and with the first delimiter behind the prefix. Where to go on is
the last entry of a page, or what the server gave for it, so it stays right when files
come and go between two pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from .file_wrapper import FileWrapper

#: Entries of a page, as S3 has it.
LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing.

    :param files: files, sorted by name.
    :param folders: folders, sorted, as ``prefix`` takes them.
    :param next: what to pass as ``after`` for the next page; None at the end.
    """

    files: list[FileWrapper]
    folders: list[str]
    next: str | None


def check_limit(limit: int) -> None:
    """Refuse a page without entries, or larger than S3 gives."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"limit is {limit!r}: use 1 to {LARGEST_PAGE}")


def rolled_up(
    files: Iterable[FileWrapper], start: str, delimiter: str | None, after: str
) -> Iterator[FileWrapper | str]:
    """Yield the entries that come after one, with folders instead of their files.

    :param start: the prefix, as the root of the store sees it.
    """
    last = None
    for file in files:
        rest = file.name.removeprefix(start)
        head, found, _ = rest.partition(delimiter) if delimiter else ("", "", "")
        entry = start + head + found if found else file.name
        if entry > after and entry != last:
            yield entry if found else file
        last = entry


def page(entries: Iterable[FileWrapper | str], above: str, limit: int) -> Page:
    """Return the first entries as a page.

    :param above: what the names of folders lose: the provider's own folder.
    """
    made = Page([], [], None)
    last = None
    for entry in entries:
        if len(made.files) + len(made.folders) == limit:
            return Page(made.files, made.folders, last)
        if isinstance(entry, str):
            made.folders.append(entry.removeprefix(above))
        else:
            made.files.append(entry)
        last = str(entry)
    return made
