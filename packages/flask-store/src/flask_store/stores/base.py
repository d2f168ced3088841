"""The base class of all providers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from datetime import datetime
from typing import IO
from typing import TYPE_CHECKING
from typing import BinaryIO
from typing import ClassVar
from typing import Self
from typing import Unpack
from typing import cast

from .. import _names
from .._attributes import Attributes
from .._attributes import SaveOptions
from .._listing import LARGEST_PAGE
from .._listing import Page
from .._listing import check_limit
from .._listing import page
from .._listing import rolled_up
from .._request import body_of
from .._request import check_form
from .._request import content_digest
from .._request import is_body
from .._upload import Upload
from ..config import Config
from ..exceptions import NotFoundError
from ..exceptions import StoreError
from ..file_wrapper import FileWrapper
from ._addresses import Addresses
from ._work import Work


if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

    from .._accept import Accept
    from .._tus.place import Place


class BaseStore(Addresses, Work):
    """Base class of all providers, which implement what raises here.

    Names are relative to ``destination``; the files that come back know their path in
    the whole store.

    :param destination: a folder in the store, or None for its root.
    :param config: the ``STORE_`` keys.
    """

    #: Whether the app serves the files.
    register_route: ClassVar[bool] = False
    #: Whether uploads can be received where the provider keeps them: :meth:`spool`.
    can_spool: ClassVar[bool] = False
    #: The keys without which the provider cannot work.
    REQUIRED_CONFIGURATION: ClassVar[tuple[str, ...]] = ()
    #: Further keys of the provider's own; it finds them in ``config.other``.
    OPTIONAL_CONFIGURATION: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, destination: str | None = None, *, config: Config | None = None
    ) -> None:
        self.config: Config = config or Config()
        self.destination: str = _names.check(destination) if destination else ""

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Set what the provider takes for granted in ``app.config``."""

    def within(self, destination: str | None) -> Self:
        """Return the same provider for a folder of the store, or for its root."""
        if not (destination or self.destination):
            return self
        other = copy.copy(self)
        other.destination = _names.check(destination) if destination else ""
        return other

    def territory(self) -> tuple[str, str] | None:
        """Return which backend holds the files, and what their places start with.

        None where no other store can have the same.
        """
        return None

    # What a provider implements.

    def save(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None = None,
        **options: Unpack[SaveOptions],
    ) -> FileWrapper:
        """Save a file whole, under a name that no other file has.

        :param file: an upload, or a binary stream such as ``request.stream``.
        :param name: the name, with folders or without; by default the client's, of
            which only the last part counts.
        :param options: what the file is to carry, and what has to accept it: see
            :class:`~flask_store._attributes.SaveOptions`.
        :raises InvalidAttributeError: for an attribute that no file can have.
        :raises DigestError: where the bytes are not those that the client announced.
        :raises RefusedError: where an accept hook refuses them; then nothing is left.
        :raises NoFileError: where the form was sent without a file.
        :raises DisconnectedError: where the body or the form ended early.
        :raises InvalidNameError: where ``name`` leads out of the store.
        :raises BackendError: where it cannot be saved; then nothing is left.
        """
        raise NotImplementedError

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading.

        :raises NotFoundError: where there is none.
        """
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Delete a file; it is no error when there is none."""
        raise NotImplementedError

    def size(self, name: str) -> int:
        """Return the number of bytes.

        :raises NotFoundError: where there is no such file.
        """
        raise NotImplementedError

    def modified(self, name: str) -> datetime:
        """Return when a file was written, in UTC.

        :raises NotFoundError: where there is no such file.
        """
        raise NotImplementedError

    def attributes(self, name: str) -> Attributes:
        """Return what a file carries; by default, what its name implies.

        :raises NotFoundError: where there is no such file.
        """
        if not self.exists(name):
            raise NotFoundError(name)
        return Attributes.of(name)

    def list(self, prefix: str = "") -> Iterator[FileWrapper]:
        """Yield the files whose names start with a prefix, sorted by their names."""
        raise NotImplementedError

    def join(self, *parts: str) -> str:
        """Return where the backend keeps a file: its path on disk, or its key."""
        raise NotImplementedError

    def spool(self, label: str) -> IO[bytes]:
        """Return a file in the making, where ``can_spool``.

        :param label: what errors call it.
        """
        raise NotImplementedError

    def uploads_place(self) -> Place:
        """Return where the bytes of uploads that resume wait.

        :raises StoreError: where the provider has no place for them.
        """
        raise StoreError(f"{type(self).__name__} does not support resumable uploads")

    def check(self, *, clean: bool = False) -> Generator[str]:  # noqa: ARG002
        """Try out what saving needs, and yield what there is to say.

        :param clean: remove what killed processes left.
        :raises BackendError: for what does not work.
        """
        yield f"{type(self).__name__}: nothing to check"

    # What comes of that.

    def file(self, name: str) -> FileWrapper:
        """Return a file by its name, whether it is there or not."""
        return FileWrapper(self.within(None), self.full_name(name))

    def copy(self, name: str, to: str) -> FileWrapper:
        """Copy a file, with what it carries, without overwriting another.

        It is as it was accepted, so no hook sees it again.

        :param to: the new name, which becomes unique where it is taken.
        :raises NotFoundError: where there is no such file.
        """
        attributes = self.attributes(name)
        accepting = copy.copy(self)
        accepting.config = dataclasses.replace(self.config, accept=None)
        with self.open(name) as file:
            return accepting.save(file, to, **attributes.options(name, to))

    def move(self, name: str, to: str) -> FileWrapper:
        """Give a file another name, without overwriting another.

        A kill in between leaves it under both names, never under none.

        :param to: the new name, which becomes unique where it is taken.
        :raises NotFoundError: where there is no such file.
        """
        moved = self.copy(name, to)
        self.delete(name)
        return moved

    def delete_prefix(self, prefix: str = "") -> int:
        """Delete all files whose names start with a prefix; return how many.

        Like :meth:`list` it takes names by their beginning: a folder's end with "/".

        :raises ValueError: for all files of the whole store; name a folder.
        """
        self._check_bounded(prefix)
        root = self.within(None)
        count = 0
        for file in self.list(prefix):
            root.delete(file.name)
            count += 1
        return count

    def page(
        self,
        prefix: str = "",
        *,
        delimiter: str | None = "/",
        limit: int = LARGEST_PAGE,
        after: str | None = None,
    ) -> Page:
        """Return a page of the files whose names start with a prefix, sorted.

        :param delimiter: what ends a folder's name; its files are then one entry. None
            lists them all.
        :param limit: the most entries, 1 to 1000. There may be fewer on any page.
        :param after: the ``next`` of the page before.
        """
        check_limit(limit)
        start = f"{self.destination}/{prefix}" if self.destination else prefix
        above = f"{self.destination}/" if self.destination else ""
        entries = self._entries(start, delimiter, after or "")
        return page(entries, above, limit)

    def _entries(
        self, start: str, delimiter: str | None, after: str
    ) -> Iterator[FileWrapper | str]:
        """Yield files and folders, sorted, that come after an entry."""
        return rolled_up(self.within(None).list(start), start, delimiter, after)

    def _check_bounded(self, prefix: str) -> None:
        if not (prefix or self.destination):
            raise ValueError("prefix is '': name the files to delete, or a folder")

    def safe_filename(self, filename: str) -> str:
        """Propose a name for what a client sent, with a short UUID where it is taken.

        Only saving decides, as somebody may be faster.
        """
        name = _names.clean(filename)
        return _names.unique(name) if self.exists(name) else name

    def full_name(self, name: str) -> str:
        """Return a name as the root of the store sees it.

        :raises InvalidNameError: where no file can have it.
        """
        _names.check(name)
        return _names.check(f"{self.destination}/{name}") if self.destination else name

    def servable(self, name: str) -> str | BinaryIO:
        """Return what the app's route sends: a path on disk, or an open file."""
        return self.open(name)

    def place(
        self,
        name: str,
        create: Callable[[str], bool],
        *,
        always_unique: bool = False,
    ) -> str:
        """Create a file under its name, or the first unique one that is free.

        :param name: the name, cleaned.
        :param create: creates the file of a name, unless there is one; tells which.
        :return: the name as the root of the store sees it.
        """
        for candidate in _names.candidates(name, always_unique=always_unique):
            full = self.full_name(candidate)
            if create(full):
                return full
        raise StoreError("unreachable")  # pragma: no cover - candidates never end

    def receive(
        self,
        file: FileStorage | IO[bytes] | None,
        name: str | None,
        options: SaveOptions,
    ) -> Upload:
        """Return what is to be saved, with the store's own accept hook."""
        if file is None:
            check_form()
        if is_body(file):
            options.setdefault("content_digest", content_digest())
            file = body_of(file)
        return Upload.of(file, name, options, cast("Accept | None", self.config.accept))

    def saved(
        self, name: str, size: int, attributes: Attributes | None = None
    ) -> FileWrapper:
        """Return the file that was just saved.

        :param name: its name as the root of the store sees it.
        """
        root = self.within(None)
        return FileWrapper(root, name, size, known_attributes=attributes)
