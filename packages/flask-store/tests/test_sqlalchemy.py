"""Files in columns: they live as long as their rows."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store import FileWrapper
from flask_store import NoFileError
from flask_store import Provider
from flask_store import RefusedError
from flask_store import Store
from flask_store import StoreError
from flask_store.stores import BaseStore


sqlalchemy = pytest.importorskip("sqlalchemy")

from sqlalchemy import Engine  # noqa: E402
from sqlalchemy import ForeignKey  # noqa: E402
from sqlalchemy import create_engine  # noqa: E402
from sqlalchemy import event  # noqa: E402
from sqlalchemy import insert  # noqa: E402
from sqlalchemy import select  # noqa: E402
from sqlalchemy import text  # noqa: E402
from sqlalchemy import update  # noqa: E402
from sqlalchemy.exc import IntegrityError  # noqa: E402
from sqlalchemy.exc import OperationalError  # noqa: E402
from sqlalchemy.exc import StatementError  # noqa: E402
from sqlalchemy.orm import DeclarativeBase  # noqa: E402
from sqlalchemy.orm import Mapped  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402
from sqlalchemy.orm import mapped_column  # noqa: E402
from sqlalchemy.orm import relationship  # noqa: E402

from flask_store.sqlalchemy import FlaskStoreType  # noqa: E402
from flask_store.sqlalchemy import attach  # noqa: E402
from flask_store.sqlalchemy import sweep  # noqa: E402


class Base(DeclarativeBase):
    type_annotation_map = {FileWrapper: FlaskStoreType("rows")}  # noqa: RUF012


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    users: Mapped[list[User]] = relationship(cascade="all, delete-orphan")


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    picture: Mapped[FileWrapper | None] = mapped_column(FlaskStoreType("rows/pictures"))
    scan: Mapped[FileWrapper | None]
    owner: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}  # noqa: RUF012


class Letter(Base):
    __tablename__ = "letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[FileWrapper | None] = mapped_column(
        FlaskStoreType("rows", store="private")
    )


class Admin(User):
    __mapper_args__ = {"polymorphic_identity": "admin"}  # noqa: RUF012


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[BaseStore]:
    """A local store, in an app's context."""
    app = Flask(__name__)
    private = {"PATH": str(tmp_path / "private"), "FSYNC": False}
    app.config.update(
        STORE_PATH=str(tmp_path / "files"),
        STORE_FSYNC=False,
        STORES={"private": private},
    )
    store = Store(app)
    with app.app_context():
        yield store.Provider()


def open_engine(path: Path) -> Engine:
    """Return SQLite with savepoints that are real."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def manual(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=OFF")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with the tables."""
    engine = open_engine(tmp_path / "rows.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine, provider: BaseStore) -> Iterator[Session]:
    """A session."""
    with Session(engine) as session:
        yield session


def picture(content: bytes = b"x", name: str = "a.png") -> Any:
    """Return an upload."""
    return FileStorage(io.BytesIO(content), name)


def state(session: Session, provider: BaseStore) -> tuple[set[str], set[str]]:
    """Return the names that rows have, and the files that there are."""
    with Session(session.get_bind()) as other:
        rows = {
            str(file)
            for column in (User.picture, User.scan)
            for file in other.scalars(select(column).where(column.is_not(None)))
        }
    return rows, {str(file) for file in provider.list()}


def saved(session: Session, **files: Any) -> User:
    """Return a row that is committed."""
    user = User(**files)
    session.add(user)
    session.commit()
    return user


def test_life(session: Session, provider: BaseStore) -> None:
    """A file is saved with its row, replaced with it, and deleted with it."""
    user = User(picture=picture(b"one"), scan=picture(b"two"))
    session.add(user)
    session.flush()
    assert isinstance(user.picture, FileWrapper)
    assert str(user.picture) == "rows/pictures/a.png"
    session.commit()
    assert state(session, provider) == ({"rows/pictures/a.png", "rows/a.png"},) * 2
    user.picture = picture(b"three")
    session.commit()
    rows, files = state(session, provider)
    assert rows == files
    assert "rows/pictures/a.png" not in files
    kept: FileWrapper | None = user.picture
    assert kept is not None
    with kept.open() as file:
        assert file.read() == b"three"
    user.scan = None
    session.commit()
    assert len(state(session, provider)[1]) == 1
    session.delete(user)
    session.commit()
    assert state(session, provider) == (set(), set())


def test_rollback(session: Session, provider: BaseStore) -> None:
    """A rollback leaves what was there before."""
    user = saved(session, picture=picture())
    before = state(session, provider)
    user.picture = picture(b"new")
    session.add(User(picture=picture(b"other")))
    session.flush()
    assert len(state(session, provider)[1]) == 3
    session.rollback()
    assert state(session, provider) == before
    session.delete(user)
    session.flush()
    session.rollback()
    assert state(session, provider) == before


@pytest.mark.parametrize("explicit", [True, False], ids=["flush", "commit"])
def test_integrity_error(session: Session, provider: BaseStore, explicit: bool) -> None:
    """A row that the database refuses leaves no file."""
    saved(session, name="a")
    session.add(User(name="a", picture=picture()))
    with pytest.raises(IntegrityError, match="UNIQUE"):
        session.flush() if explicit else session.commit()
    session.rollback()
    assert state(session, provider) == (set(), set())
    saved(session, name="b", picture=picture())
    assert state(session, provider) == ({"rows/pictures/a.png"},) * 2


@pytest.mark.parametrize("outer", ["commit", "rollback", "close"])
@pytest.mark.parametrize("inner", ["commit", "rollback"])
@pytest.mark.parametrize("act", ["add", "replace", "delete"])
def test_savepoints(
    session: Session, provider: BaseStore, outer: str, inner: str, act: str
) -> None:
    """The end of a savepoint decides nothing that its transaction does not."""
    user = saved(session, picture=picture(b"old"))
    nested = session.begin_nested()
    if act == "delete":
        session.delete(user)
    elif act == "replace":
        user.picture = picture(b"new")
    else:
        session.add(User(picture=picture(b"new")))
    session.flush()
    getattr(nested, inner)()
    getattr(session, outer)()
    rows, files = state(session, provider)
    assert rows == files
    done = inner == outer == "commit"
    assert len(rows) == {"add": 2, "replace": 1, "delete": 0}[act] if done else 1


def test_close(session: Session, provider: BaseStore) -> None:
    """A session that is closed without a commit leaves nothing."""
    session.add(User(picture=picture()))
    session.flush()
    session.close()
    assert state(session, provider) == (set(), set())


def test_shared_file(session: Session, provider: BaseStore) -> None:
    """A file that another row has, too, stays until that is gone."""
    one = saved(session, picture=picture())
    two = saved(session, scan=one.picture)
    session.delete(one)
    session.commit()
    assert state(session, provider) == ({"rows/pictures/a.png"},) * 2
    session.delete(two)
    session.commit()
    assert state(session, provider) == (set(), set())


def test_moved_between_attributes(session: Session, provider: BaseStore) -> None:
    """A file that goes to another attribute in one transaction stays."""
    user = saved(session, picture=picture())
    user.scan, user.picture = user.picture, None
    session.commit()
    assert state(session, provider) == ({"rows/pictures/a.png"},) * 2


def test_expired(session: Session, provider: BaseStore) -> None:
    """An object that was not loaded again knows its file."""
    user = saved(session, picture=picture())
    session.expire(user)
    user.picture = picture(b"new", "b.png")
    session.commit()
    assert state(session, provider) == ({"rows/pictures/b.png"},) * 2
    session.expire(user)
    session.delete(user)
    session.commit()
    assert state(session, provider) == (set(), set())


def test_cascades_and_subclasses(session: Session, provider: BaseStore) -> None:
    """Rows that go with another row, or with its list, take their files along."""
    owner = Owner(users=[User(picture=picture()), Admin(picture=picture())])
    session.add(owner)
    session.commit()
    assert len(state(session, provider)[1]) == 2
    owner.users.pop()
    session.commit()
    assert len(state(session, provider)[1]) == 1
    session.delete(owner)
    session.commit()
    assert state(session, provider) == (set(), set())


def test_refused_at_once(session: Session, provider: BaseStore) -> None:
    """A form without a file is the client's error, where it is assigned."""
    with pytest.raises(NoFileError, match="No file was sent"):
        User(picture=picture(b"", ""))
    with pytest.raises(TypeError, match="takes an upload or a binary stream"):
        User(picture=io.StringIO("text"))


def test_attach(session: Session, provider: BaseStore) -> None:
    """An upload can be assigned with what it is to carry."""

    def refuse(_: object) -> None:
        raise RefusedError("No.")

    user = User(picture=attach(picture(), metadata={"owner": "1"}, sha256=True))
    session.add(user)
    session.commit()
    assert user.picture is not None
    assert user.picture.attributes.metadata == {"owner": "1"}
    user.picture = attach(picture(b"bad"), accept=refuse)
    with pytest.raises(RefusedError, match="No"):
        session.commit()
    session.rollback()
    assert state(session, provider) == ({"rows/pictures/a.png"},) * 2


@pytest.mark.parametrize(
    "statement",
    [
        lambda upload: insert(User).values(picture=upload),
        lambda upload: update(User).values(picture=upload),
        lambda upload: select(User).where(User.picture == upload),
    ],
    ids=["insert", "update", "select"],
)
def test_statements(session: Session, provider: BaseStore, statement: Any) -> None:
    """A statement never saves a file; it refuses an upload."""
    saved(session, name="a")
    with pytest.raises(StatementError, match="a statement takes a stored file"):
        session.execute(statement(picture()))
    session.rollback()
    assert state(session, provider) == (set(), set())


def test_paths_and_files(session: Session, provider: BaseStore) -> None:
    """A stored file and its path can be assigned, and compared."""
    file = provider.save(io.BytesIO(b"x"), "rows/kept.png")
    user = saved(session, picture=file)
    assert session.scalar(select(User).where(User.picture == file)) is user
    assert session.scalar(select(User).where(User.picture == str(file))) is user
    user.picture = provider.file(str(file))
    assert not session.is_modified(user)
    session.commit()
    assert file.exists()


def test_lost_answer(session: Session, provider: BaseStore, engine: Engine) -> None:
    """A COMMIT that may have happened deletes nothing; the sweep finds what is left."""
    user = saved(session, picture=picture(b"old", "old.png"))

    def lose(_: object) -> None:
        raise OperationalError("COMMIT", None, OSError("the answer was lost"))

    user.picture = picture(b"new", "new.png")
    event.listen(engine, "commit", lose)
    with pytest.raises(OperationalError, match="the answer was lost"):
        session.commit()
    event.remove(engine, "commit", lose)
    session.rollback()
    rows, files = state(session, provider)
    assert rows == {"rows/pictures/old.png"}
    assert files == {"rows/pictures/old.png", "rows/pictures/new.png"}
    age = timedelta(0)
    assert [str(it) for it in sweep(session, "rows/")] == []
    assert [str(it) for it in sweep(session, "rows/", older=age)] == [
        "rows/pictures/new.png"
    ]
    assert state(session, provider)[1] == files
    list(sweep(session, "rows/", older=age, delete=True))
    assert state(session, provider)[1] == rows


def change(session: Session, rng: random.Random, names: list[str]) -> None:
    """Do something at random."""
    users = list(session.scalars(select(User)))
    user = rng.choice(users) if users else None
    match rng.randrange(6):
        case 0 | 1:
            session.add(User(name=rng.choice(names), picture=picture(os.urandom(4))))
        case 2 if user:
            user.picture = picture(os.urandom(4))
        case 3 if user:
            session.delete(user)
        case 4 if user:
            user.scan = None if user.scan else picture()
        case 5 if user:
            user.scan = user.picture
    if rng.random() < 0.5:
        session.flush()


def changes(session: Session, rng: random.Random, depth: int = 0) -> None:
    """Change at random, in savepoints that end at random."""
    names = [str(number) for number in range(8)]
    for _ in range(rng.randrange(1, 5)):
        if depth < 3 and rng.random() < 0.3:
            nested = session.begin_nested()
            try:
                changes(session, rng, depth + 1)
                nested.commit() if rng.random() < 0.6 else nested.rollback()
            except IntegrityError:
                nested.rollback()
        else:
            change(session, rng, names)


# SQLAlchemy's own, with plain columns too: a savepoint that is rolled back revives rows
# that were added and deleted in it.
@pytest.mark.filterwarnings("ignore:Identity map already had:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("seed", range(4))
def test_random_sessions(engine: Engine, provider: BaseStore, seed: int) -> None:
    """After every session files and rows are the same."""
    rng = random.Random(seed)
    for _ in range(30):
        session = Session(engine, autoflush=rng.random() < 0.5)
        try:
            changes(session, rng)
            getattr(session, rng.choice(["commit", "commit", "rollback", "close"]))()
        except IntegrityError:
            session.rollback()
        session.close()
        rows, files = state(session, provider)
        assert rows == files


KILLED = """
import os, random, signal, sys
from pathlib import Path
from flask import Flask
from sqlalchemy.orm import Session
from flask_store import Store
sys.path.insert(0, sys.argv[2])
import test_sqlalchemy as tests

app = Flask(__name__)
app.config.update(STORE_PATH=sys.argv[1] + "/files", STORE_FSYNC=False)
Store(app)


def work(told):
    engine, rng = tests.open_engine(Path(sys.argv[1], "rows.db")), random.Random()
    with app.app_context():
        while True:
            with Session(engine) as session:
                try:
                    tests.changes(session, rng)
                    session.commit()
                except tests.IntegrityError:
                    session.rollback()
            os.write(told, b".")


for number in range(1, 13 if os.environ.get("LONG_TESTS") else 5):
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        work(told)
    for _ in range(number):
        assert os.read(heard, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_kills(session: Session, provider: BaseStore, tmp_path: Path) -> None:
    """Whenever a process is killed, no row names a file that is not there."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(command, check=True, timeout=110)
    rows, files = state(session, provider)
    assert rows
    assert rows <= files
    list(sweep(session, "rows/", older=timedelta(0), delete=True))
    assert state(session, provider) == (rows, rows)


def test_sweep_command(session: Session, provider: BaseStore, engine: Engine) -> None:
    """The command lists, and deletes only when it is told to."""
    from flask import current_app

    saved(session, picture=picture())
    for name in ("rows/left.png", "other/left.png"):
        provider.save(io.BytesIO(b"x"), name)
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]
    runner = app.test_cli_runner()
    arguments = ["store", "sweep", "rows/", "--days", "0"]
    assert "use --session" in runner.invoke(args=arguments).output
    assert (
        "there is no 'bad:name'"
        in runner.invoke(args=[*arguments, "--session=bad:name"]).output
    )

    class Extension:
        """The part of Flask-SQLAlchemy in an app."""

        session = staticmethod(lambda: Session(engine))

    app.extensions["sqlalchemy"] = Extension
    output = runner.invoke(args=arguments).output
    assert [line.split()[-1] for line in output.splitlines()] == ["rows/left.png"]
    assert provider.exists("rows/left.png")
    runner.invoke(args=[*arguments, "--delete"])
    assert not provider.exists("rows/left.png")
    assert provider.exists("rows/pictures/a.png")
    assert provider.exists("other/left.png")


def test_sweep_needs_models() -> None:
    """Without an imported model every file would be an orphan: refused."""
    code = (
        "from sqlalchemy import create_engine\n"
        "from sqlalchemy.orm import Session\n"
        "from flask import Flask\n"
        "from flask_store import Store\n"
        "from flask_store.sqlalchemy import sweep\n"
        "app = Flask('x')\n"
        "app.config['STORE_PROVIDER'] = 'flask_store.stores.memory.MemoryStore'\n"
        "Store(app)\n"
        "with app.app_context():\n"
        "    list(sweep(Session(create_engine('sqlite://')), 'rows/'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{StoreError.__name__}: no mapped class has a" in ended.stderr


def test_column_of_a_named_store(session: Session, provider: BaseStore) -> None:
    """A column's files are in its own store, whose name no row has."""
    ours = provider.save(picture(b"ours"), "rows/a.png")
    letter = Letter(scan=picture(b"theirs"))
    session.add(letter)
    session.commit()
    private = Provider(store="private")
    assert (letter.scan and letter.scan.store, str(letter.scan)) == (
        "private",
        "rows/a.png",
    )
    statement = text("SELECT scan FROM letter")
    assert session.execute(statement).scalar_one() == "rows/a.png"
    with private.open("rows/a.png") as file:
        assert file.read() == b"theirs"
    left = private.save(picture(b"left"), "rows/b.png")
    orphans = sweep(session, "rows/", store="private", older=timedelta(0), delete=True)
    assert list(orphans) == [left]
    session.delete(letter)
    session.commit()
    assert list(private.list()) == []
    assert ours.exists()


def make_app(path: Path) -> tuple[Store, Any, Engine]:
    """Return an app's store, its model and its database; all call theirs the same."""

    class Models(DeclarativeBase):
        pass

    class User(Models):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture: Mapped[FileWrapper | None] = mapped_column(FlaskStoreType("rows"))

    app = Flask(path.name)
    app.config.update(STORE_PATH=str(path / "files"), STORE_FSYNC=False)
    engine = open_engine(path / "rows.db")
    Models.metadata.create_all(engine)
    return Store(app), (app, User), engine


def test_apps_in_one_process(tmp_path: Path) -> None:
    """Each app has stores, models and a database of its own, under the same names."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(make_app(tmp_path / name))
    sessions = []
    for store, (app, user), engine in made:
        with app.app_context():
            session = Session(engine)
            session.add(user(picture=picture(app.name.encode())))
            session.commit()
            sessions.append((session, session.scalars(select(user)).one()))
            assert [str(file) for file in store.Provider().list()] == ["rows/a.png"]
    for (store, (app, _), engine), (session, row) in zip(made, sessions, strict=True):
        with app.app_context():
            session.delete(row)
            session.commit()
            session.close()
            assert [str(file) for file in store.Provider().list()] == []
        engine.dispose()


def test_models_without_a_table(
    engine: Engine, session: Session, provider: BaseStore
) -> None:
    """Models of another registry are not asked: their tables may be elsewhere."""

    class Others(DeclarativeBase):
        pass

    class Elsewhere(Others):
        __tablename__ = "elsewhere"
        id: Mapped[int] = mapped_column(primary_key=True)
        scan: Mapped[FileWrapper | None] = mapped_column(FlaskStoreType("rows"))

    Elsewhere()
    user = User(picture=picture())
    session.add(user)
    session.commit()
    session.delete(user)
    session.commit()
    assert list(provider.list()) == []
    Others.registry.dispose()


def test_models_that_are_gone(tmp_path: Path) -> None:
    """Models that were garbage-collected are forgotten."""
    import gc

    for number in range(3):
        path = tmp_path / str(number)
        path.mkdir()
        store, (app, user), engine = make_app(path)
        with app.app_context(), Session(engine) as session:
            row = user(picture=picture())
            session.add(row)
            session.commit()
            session.delete(row)
            session.commit()
            assert list(store.Provider().list()) == []
        engine.dispose()
        del store, app, user, row
        gc.collect()
