"""One file of a store."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING
from typing import BinaryIO


if TYPE_CHECKING:
    from ._attributes import Attributes
    from .stores.base import BaseStore


@dataclass(frozen=True, slots=True, eq=False)
class FileWrapper:
    """Stand for one file; its ``str()`` is the relative path.

    :param provider: the provider of the whole store.
    :param name: the path in the store.
    :param known_size: the bytes, where they are known already.
    :param known_modified: the time, where it is known already.
    :param known_attributes: what it carries, where that is known already.
    """

    provider: BaseStore = field(repr=False)
    name: str
    known_size: int | None = field(default=None, repr=False)
    known_modified: datetime | None = field(default=None, repr=False)
    known_attributes: Attributes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the relative path."""
        return self.name

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same file of the same store."""
        if not isinstance(other, FileWrapper):
            return NotImplemented
        return (self.name, self.provider.config) == (other.name, other.provider.config)

    def __hash__(self) -> int:
        """Return what equal files share."""
        return hash((self.name, self.store))

    @property
    def store(self) -> str:
        """The name of its store."""
        return self.provider.config.store

    @property
    def filename(self) -> str:
        """The name without its folder."""
        return self.name.rpartition("/")[2]

    @property
    def size(self) -> int:
        """The number of bytes."""
        if self.known_size is not None:
            return self.known_size
        return self.provider.size(self.name)

    @property
    def modified(self) -> datetime:
        """When the file was written."""
        return self.known_modified or self.provider.modified(self.name)

    @property
    def attributes(self) -> Attributes:
        """The file's type, download name, metadata, checksum and more."""
        return self.known_attributes or self.provider.attributes(self.name)

    @property
    def content_type(self) -> str:
        """The type that the file is sent as."""
        return self.attributes.content_type

    @property
    def download_name(self) -> str:
        """The name of a download: the one that the client gave the file."""
        return self.attributes.download_name

    def relative_path(self) -> str:
        """Return the path in the store, which is what to keep in a database."""
        return self.name

    def absolute_path(self) -> str:
        """Return the path on disk, or the key in the bucket."""
        return self.provider.join(self.name)

    def relative_url(self) -> str:
        """Return the URL without a domain."""
        return self.provider.relative_url(self.name)

    def absolute_url(self) -> str:
        """Return the URL; without ``STORE_DOMAIN`` it may have no domain."""
        return self.provider.absolute_url(self.name)

    def url(
        self, expires: float | None = None, *, download_name: str | None = None
    ) -> str:
        """Return the URL, or one that is signed.

        :param expires: the seconds that a signed one works.
        :param download_name: download the file under this name; only signed URLs can.
        """
        return self.provider.url(self.name, expires, download_name=download_name)

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self.provider.open(self.name)

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.provider.exists(self.name)

    def delete(self) -> None:
        """Delete the file; it is no error when it is gone."""
        self.provider.delete(self.name)

    def copy(self, name: str) -> FileWrapper:
        """Copy the file, with what it carries, without overwriting another.

        :param name: the new name, which becomes unique where it is taken.
        """
        return self.provider.copy(self.name, name)

    def move(self, name: str) -> FileWrapper:
        """Give the file another name, without overwriting another; return it.

        :param name: the new name, which becomes unique where it is taken.
        """
        return self.provider.move(self.name, name)
