"""Calls of obstore for a provider, and the meaning of its answers.

obstore's threads do not survive a fork, and a request of the child would wait for ever.
So a process that was forked after its parent had used obstore is told instead.

What a file carries are headers and metadata of its object. Azure allows neither ``-``
nor a digit first in a metadata key; as our keys have no ``_``, it stands for both.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import ParamSpec
from typing import TypeVar
from urllib.parse import quote
from urllib.parse import urlsplit

from ._attributes import Attributes
from ._object_headers import from_headers
from ._object_headers import to_headers
from ._object_headers import to_metadata
from ._offload import off_the_hub
from .exceptions import BackendError
from .exceptions import ConfigError
from .exceptions import MissingDependencyError
from .exceptions import NotFoundError
from .exceptions import SetupError


if TYPE_CHECKING:
    from typing_extensions import Buffer

P = ParamSpec("P")
R = TypeVar("R")

URL = "STORE_OBSTORE_URL"
OPTIONS = "STORE_OBSTORE_OPTIONS"
HEADERS = ("Content-Type", "Content-Disposition", "Cache-Control")


class Backend:
    """A store of obstore's.

    :param url: ``"gs://bucket"`` or ``"az://container"``.
    :param options: the keywords of ``obstore.store.from_url``.
    """

    #: The process that uses obstore.
    _process: ClassVar[int | None] = None

    def __init__(self, url: Any, options: Any) -> None:
        parts = urlsplit(url if isinstance(url, str) else "")
        #: The folder, where it is one.
        self.folder = parts.path if parts.scheme == "file" else None
        if not parts.scheme:
            remedy = "set a URL such as 'gs://bucket' or 'az://container'"
            raise ConfigError(URL, url, remedy)
        if self.folder is None and parts.path.strip("/"):
            raise ConfigError(URL, url, "leave out the path and set STORE_PATH")
        self.url = url
        try:
            from obstore import store
            from obstore.exceptions import BaseError
        except ImportError as error:
            raise MissingDependencyError("obstore", "obstore") from error
        try:
            self._store = store.from_url(url, **options)
        except (BaseError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(OPTIONS, "***", f"obstore reports: {reason}") from None
        self._signs = isinstance(self._store, store.GCSStore | store.S3Store)
        self._signs_plain = isinstance(self._store, store.AzureStore)
        #: Its bucket and account; no secret.
        self.identity = repr(self._store)

    def signs(self, key: str) -> bool:
        """Return whether it signs URLs for a key."""
        # For Azure, obstore signs the quoted key where Azure looks at the plain one.
        return self._signs or (self._signs_plain and quote(key) == key)

    def ask(self, action: str, name: str, verb: str, *args: Any, **options: Any) -> Any:
        """Call a function of obstore, and turn its errors into ours.

        :param action: what is to be done, and ``name`` to what; for errors.
        :raises SetupError: in a process that was forked too late.
        """
        import obstore

        if Backend._process not in {None, os.getpid()}:
            raise SetupError(
                "the parent process has already used obstore: fork before its first use"
            )
        Backend._process = os.getpid()
        call = getattr(obstore, verb)
        return run(action, name, call, self._store, *args, **options)


def run(
    action: str, name: str, call: Callable[P, R], *args: P.args, **options: P.kwargs
) -> R:
    """Call, and turn obstore's errors into ours."""
    from obstore.exceptions import BaseError

    try:
        return off_the_hub(call, *args, **options)
    except FileNotFoundError as error:
        raise NotFoundError(name) from error
    except (BaseError, OSError) as error:
        # What it says has URLs in it.
        raise BackendError(action, name, type(error).__name__) from error


class Reader(io.RawIOBase):
    """Read an object as a file, each time a range of the one that was opened.

    :param fetch: asks for the object with options of ``obstore.get``.
    """

    def __init__(self, name: str, fetch: Callable[..., Any]) -> None:
        self._name = name
        self._fetch = fetch
        self._position = 0
        found = fetch(head=True).meta
        self._size: int = found["size"]
        self._etag: str = found["e_tag"]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is asked before the next read."""
        bases = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._size,
        }
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into a buffer."""
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._size)
        if end <= self._position:
            return 0
        found = self._fetch(range=(self._position, end), if_match=self._etag)
        data = run("read", self._name, found.bytes)
        view[: len(data)] = data
        self._position = end
        return len(data)


def to_fields(attributes: Attributes, name: str) -> dict[str, str]:
    """Return the attributes of an object, in obstore's words."""
    metadata = to_metadata(attributes).items()
    escaped = {_escaped(key): value for key, value in metadata}
    return to_headers(attributes, name) | escaped


def from_fields(name: str, fields: Mapping[str, str]) -> Attributes:
    """Return the attributes of a file, of which obstore told these."""
    headers = {key: fields.get(key) for key in HEADERS}
    metadata = {
        key.removeprefix("_").replace("_", "-"): value
        for key, value in fields.items()
        if key not in HEADERS
    }
    return from_headers(name, headers, metadata)


def _escaped(key: str) -> str:
    escaped = key.replace("-", "_")
    return f"_{escaped}" if escaped[0].isdigit() else escaped
