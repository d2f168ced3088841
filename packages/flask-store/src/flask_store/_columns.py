"""The life of files that belong to rows: a file lives as long as its row.

The database decides, files follow. A file is written before the row that names it and
deleted after the last row that named it is gone for good, so a row never names a file
that is not there. What a kill leaves is a file without a row, which the sweep finds.

=====================================  ==============================================
the session                            the files
=====================================  ==============================================
flush, with an unsaved upload          saved; the attribute becomes the file
flush, an attribute replaced           the old file is noted
flush, a row deleted                   its files are noted
rollback, of a savepoint too           those saved within are deleted, notes forgotten
release of a savepoint                 nothing yet
commit begins                          notes whose name a row still has are dropped
commit is done                         the noted files are deleted
the COMMIT fails or its answer is lost nothing: it may have happened; see the sweep
close without commit or rollback       as a rollback
=====================================  ==============================================

Each entry of the journal, kept in ``session.info``, knows the transaction that made it.
A savepoint's end is no commit, though SQLAlchemy calls ``after_commit`` for it.
Statements that bypass the session's objects (bulk and Core) move no files.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import TYPE_CHECKING
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm import configure_mappers
from sqlalchemy.orm import registry
from sqlalchemy.orm.exc import ObjectDeletedError

from ._upload import Upload
from .exceptions import StoreError
from .file_wrapper import FileWrapper


if TYPE_CHECKING:
    from ._attributes import SaveOptions
    from .sqlalchemy import FlaskStoreType

logger = logging.getLogger("flask_store")
KEY = "flask_store"
#: The columns of each mapped class that hold files, by attribute.
_mapped: WeakKeyDictionary[Mapper[Any], dict[str, FlaskStoreType]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class Unsaved:
    """An upload with what it is to carry, until the session saves it."""

    upload: Any
    options: SaveOptions


@dataclass(slots=True)
class _Entry:
    """A file that a transaction has saved, or that it gives up.

    :param is_new: whether it was saved.
    :param registry: of the class whose row it is.
    """

    transaction: SessionTransaction | None
    file: FileWrapper
    is_new: bool
    registry: registry


@dataclass(slots=True)
class _Journal:
    """The files that the transactions of a session have saved and replaced."""

    entries: list[_Entry] = field(default_factory=list)
    #: Whether the database may have been asked to commit.
    committing: bool = False


def _journal(session: Session) -> _Journal:
    journal: _Journal = session.info.setdefault(KEY, _Journal())
    return journal


def register(mapper: Mapper[Any], columns: Mapping[str, FlaskStoreType]) -> None:
    """Watch the attributes of a mapped class that hold files."""
    _mapped[mapper] = dict(columns)
    for key in columns:
        # An expired object has to know its old file when it gets another.
        attribute = getattr(mapper.class_, key)
        event.listen(attribute, "set", _check, active_history=True)


def _check(_target: object, value: Any, *_: object) -> None:
    """Refuse at once what cannot be saved, rather than when the session flushes.

    :raises NoFileError: for a form's field without a file; it answers 400.
    """
    if _is_upload(value):
        Upload.of(*_parts(value))


def _is_upload(value: object) -> bool:
    return isinstance(value, Unsaved) or callable(getattr(value, "read", None))


def _parts(value: Any) -> tuple[Any, None, SaveOptions]:
    if isinstance(value, Unsaved):
        return value.upload, None, value.options
    return value, None, {}


def _files_of(target: object) -> dict[str, FlaskStoreType]:
    mapper = inspect(target).mapper
    return _mapped.get(mapper, {})


def _note(session: Session, row: object, file: FileWrapper, *, is_new: bool) -> None:
    transaction = session.get_nested_transaction() or session.get_transaction()
    models = inspect(row).mapper.registry
    _journal(session).entries.append(_Entry(transaction, file, is_new, models))


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, *_: object) -> None:
    for target in [*session.new, *session.dirty]:
        for key, column in _files_of(target).items():
            _flush_attribute(session, target, key, column)
    for target in session.deleted:
        for key in _files_of(target):
            # Load it, as an expired one does not know its file any more; where the row
            # is gone already, so is what it named.
            with session.no_autoflush, contextlib.suppress(ObjectDeletedError):
                getattr(target, key, None)


def _flush_attribute(
    session: Session, target: Any, key: str, column: FlaskStoreType
) -> None:
    value = vars(target).get(key)
    if _is_upload(value):
        if not session.in_transaction():
            session.begin()
        upload, name, options = _parts(value)
        file = column.provider().save(upload, name, **options)
        _note(session, target, file, is_new=True)
        setattr(target, key, file)
    history = inspect(target).attrs[key].history
    for old in history.deleted if history.added else ():
        if isinstance(old, FileWrapper):
            _note(session, target, old, is_new=False)


@event.listens_for(Mapper, "after_delete")
def _after_delete(_mapper: object, _connection: object, target: Any) -> None:
    session = inspect(target).session
    for key in _files_of(target):
        # What the row has, whatever was assigned since.
        history = inspect(target).attrs[key].history
        for file in (*history.unchanged, *history.deleted):
            if isinstance(file, FileWrapper):
                _note(session, target, file, is_new=False)


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    if session.get_nested_transaction() is not None:
        return
    # What the flush of a commit does belongs to the transaction, not to the commit.
    session.flush()
    if KEY not in session.info:
        return
    journal = _journal(session)
    old = [entry for entry in journal.entries if not entry.is_new]
    if old:
        used = _used(session, old)
        journal.entries = [it for it in journal.entries if _key(it) not in used]
    journal.committing = True


def _key(entry: _Entry) -> tuple[registry, str, str]:
    return entry.registry, entry.file.store, entry.file.name


def _columns_of(store: str, models: registry | None = None) -> list[Any]:
    """Return the attributes of mapped classes whose files are in a store.

    :param models: those classes; by default all that there are.
    """
    return [
        getattr(mapper.class_, key)
        for mapper, columns in [*_mapped.items()]
        for key, column in columns.items()
        if column.store == store and models in {None, mapper.registry}
    ]


def _used(
    session: Session, entries: Iterable[_Entry]
) -> set[tuple[registry, str, str]]:
    """Return the keys of those entries whose file a row still has.

    Classes of another registry may belong to another app, with a database of its own.
    """
    names: dict[tuple[registry, str], list[str]] = {}
    for entry in entries:
        of = names.setdefault((entry.registry, entry.file.store), [])
        of.append(entry.file.name)
    found = set()
    with session.no_autoflush:
        for (models, store), wanted in names.items():
            for column in _columns_of(store, models):
                rows = session.scalars(select(column).where(column.in_(wanted)))
                found |= {(models, store, str(file)) for file in rows}
    return found


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    # It is called for the release of a savepoint, too, which is no commit.
    if session.get_nested_transaction() is None and KEY in session.info:
        journal: _Journal = session.info.pop(KEY)
        _delete(entry.file for entry in journal.entries if not entry.is_new)


@event.listens_for(Session, "after_soft_rollback")
def _after_soft_rollback(session: Session, ended: SessionTransaction) -> None:
    if KEY not in session.info:
        return
    journal = _journal(session)
    within = [it for it in journal.entries if _is_within(it.transaction, ended)]
    journal.entries = [it for it in journal.entries if it not in within]
    if not journal.committing:
        _delete(entry.file for entry in within if entry.is_new)


def _is_within(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None and KEY in session.info:
        # Closed: no commit and no rollback was seen.
        journal: _Journal = session.info.pop(KEY)
        if not journal.committing:
            _delete(entry.file for entry in journal.entries if entry.is_new)


def _delete(files: Iterable[FileWrapper]) -> None:
    for file in files:
        try:
            file.delete()
        except Exception:
            # The database has decided; the sweep will find it.
            logger.exception("%s belongs to no row, but could not be deleted", file)


def orphans(
    session: Session, listed: Iterable[FileWrapper], store: str, older: timedelta
) -> Iterator[FileWrapper]:
    """Yield the files that no row of any mapped class names.

    Files are listed first and rows read then: the other way round, what is committed
    in between would look like an orphan.

    :param older: the age at which no open transaction can have saved a file.
    :raises StoreError: where no mapped class has a column of files.
    """
    before = datetime.now(UTC) - older
    files = {it.name: it for it in listed if it.modified < before}
    configure_mappers()
    if not (columns := _columns_of(store)):
        raise StoreError(
            "no mapped class has a FlaskStoreType: import the models first"
        )
    for column in columns:
        for file in session.scalars(select(column).where(column.is_not(None))):
            files.pop(str(file), None)
    yield from files.values()
