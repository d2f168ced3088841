"""The environment, headers and cookies that note what is read of them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.datastructures import ImmutableMultiDict

from ._rules.reads import EVERYTHING


if TYPE_CHECKING:
    from ._reads import Recorder


class Environ(dict[str, Any]):
    """A WSGI environment that notes reads and hands writes on to the server's own."""

    __slots__ = ("_own", "_recorder")

    def __init__(self, own: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(own)
        self._own = own
        self._recorder = recorder

    def __getitem__(self, key: str) -> Any:
        self._recorder.note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._recorder.note(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._recorder.note(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._recorder.note(EVERYTHING)
        return super().__iter__()

    def keys(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().keys()

    def values(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().values()

    def items(self) -> Any:
        self._recorder.note(EVERYTHING)
        return super().items()

    def copy(self) -> Environ:
        """Return a copy that is recorded likewise, and writes to itself alone."""
        return Environ(dict(super().items()), self._recorder)

    __copy__ = copy

    def __or__(self, other: Any) -> Any:
        self._recorder.note(EVERYTHING)
        return super().__or__(other)

    def __eq__(self, other: object) -> bool:
        self._recorder.note(EVERYTHING)
        return super().__eq__(other)

    __hash__ = None

    def __reduce__(self) -> Any:
        self._recorder.note(EVERYTHING)
        return dict, (dict(super().items()),)

    def __setitem__(self, key: str, value: Any) -> None:
        self._recorder.note_made(key)
        super().__setitem__(key, value)
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._own.pop(key, None)

    def pop(self, key: str, *default: Any) -> Any:
        self._recorder.note(key)
        self._own.pop(key, None)
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self._recorder.note(EVERYTHING)
        key, value = super().popitem()
        self._own.pop(key, None)
        return key, value

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._recorder.note(key)
        self._own.setdefault(key, default)
        return super().setdefault(key, default)

    def update(self, *others: Any, **values: Any) -> None:
        for key, value in dict(*others, **values).items():
            self[key] = value

    def __ior__(self, other: Any) -> Environ:  # type: ignore[override]
        self.update(other)
        return self

    def clear(self) -> None:
        super().clear()
        self._own.clear()


class Headers(EnvironHeaders):
    """Headers that look a field up by its name where the inherited ones go over all."""

    def getlist(
        self,
        key: str,
        type: Any = None,  # noqa: A002 - its name
        as_bytes: bool = False,  # noqa: ARG002 - likewise
    ) -> list[Any]:
        found = self.get(key)
        if found is None:
            return []
        if type is None:
            return [found]
        try:
            return [type(found)]
        except ValueError:
            return []


class Cookies(ImmutableMultiDict[str, str]):
    """Cookies that note which of them are read."""

    def __init__(self, cookies: Iterable[tuple[str, str]], recorder: Recorder) -> None:
        super().__init__(cookies)
        self._recorder = recorder

    def __getitem__(self, key: str) -> str:
        self._recorder.note_cookie(key)
        return super().__getitem__(key)

    def get(  # type: ignore[override]
        self,
        key: str,
        default: Any = None,
        type: Any = None,  # noqa: A002 - its name
    ) -> Any:
        self._recorder.note_cookie(key)
        return super().get(key, default, type)

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002 - its name
        self._recorder.note_cookie(key)
        return super().getlist(key, type)

    def __contains__(self, key: object) -> bool:
        self._recorder.note_cookie(str(key))
        return super().__contains__(key)

    def _all(self) -> None:
        self._recorder.note_cookie(EVERYTHING)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def __len__(self) -> int:
        self._all()
        return super().__len__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self, multi: bool = False) -> Any:
        self._all()
        return super().items(multi)

    def lists(self) -> Any:
        self._all()
        return super().lists()

    def listvalues(self) -> Any:
        self._all()
        return super().listvalues()

    def to_dict(self, flat: Any = True) -> Any:
        self._all()
        return super().to_dict(flat)

    def copy(self) -> Any:
        self._all()
        return super().copy()

    def __eq__(self, other: object) -> bool:
        self._all()
        return super().__eq__(other)

    __hash__ = ImmutableMultiDict.__hash__  # type: ignore[assignment]
