"""Saving on a local disk: whole or not at all, and never over another file."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage

from flask_store import BackendError
from flask_store import FileWrapper
from flask_store import InvalidNameError
from flask_store import NotFoundError
from flask_store import Store
from flask_store import _spool as spool_module
from flask_store._spool import HIDDEN_PREFIX
from flask_store._spool import Spool
from flask_store._upload import LARGE
from flask_store.config import Config
from flask_store.stores.local import LocalStore


MIB = 1 << 20


@pytest.fixture
def provider(tmp_path: Path) -> LocalStore:
    """A store in a temporary folder."""
    return LocalStore(config=Config(path=str(tmp_path / "uploads")))


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without unnamed files."""
    monkeypatch.delattr("os.O_TMPFILE", raising=False)


def form(data: bytes, filename: str) -> dict[str, Any]:
    """Return the arguments that post a form with one file."""
    head = f'--b\r\nContent-Disposition: form-data; name="afile"; filename="{filename}"'
    body = head.encode() + b"\r\n\r\n" + data + b"\r\n--b--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=b"}


def files_below(root: Path) -> list[Path]:
    """Return all files, hidden ones too."""
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.usefixtures("named")
def test_without_unnamed_files(provider: LocalStore) -> None:
    """On systems without unnamed files, a hidden one is used."""
    saved = [provider.save(io.BytesIO(b"content"), "a.txt") for _ in range(2)]
    assert len({str(file) for file in saved}) == 2
    assert len(files_below(provider.root)) == 2
    for file in saved:
        assert Path(file.absolute_path()).read_bytes() == b"content"


def test_file_system_without_unnamed_files(
    provider: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on file systems without them."""
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "refused")
        return real(path, flags, mode)

    provider.save(io.BytesIO(b""), "first.txt")
    monkeypatch.setattr("os.open", refuse)
    with provider.save(io.BytesIO(b"content"), "a.txt").open() as file:
        assert file.read() == b"content"
    assert len(files_below(provider.root)) == 2


@pytest.mark.parametrize("data", [b"", b"small", b"x" * 2 * LARGE])
@pytest.mark.parametrize("kind", ["memory", "werkzeug", "file", "pipe"])
def test_sources(provider: LocalStore, tmp_path: Path, data: bytes, kind: str) -> None:
    """Whatever holds the bytes, all of them are saved."""
    with contextlib.ExitStack() as stack:
        stream: Any = io.BytesIO(data)
        if kind == "werkzeug":
            stream = stack.enter_context(tempfile.SpooledTemporaryFile(LARGE))
            stream.write(data)
        elif kind == "file":
            (tmp_path / "source").write_bytes(data)
            stream = stack.enter_context((tmp_path / "source").open("rb"))
            stream.read(3)
        elif kind == "pipe":
            reading, writing = os.pipe()
            feeder = threading.Thread(target=feed, args=(writing, data))
            feeder.start()
            stack.callback(feeder.join)
            stream = stack.enter_context(os.fdopen(reading, "rb"))
        file = provider.save(stream, "a.bin")
    with file.open() as saved:
        assert saved.read() == data
    assert file.size == len(data)


def feed(descriptor: int, data: bytes) -> None:
    """Write to a pipe and close it."""
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


@pytest.mark.parametrize("failure", [errno.EINVAL, errno.ENOTSOCK])
def test_without_sendfile(
    provider: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: int,
) -> None:
    """If the kernel cannot copy between files, the process copies the bytes."""

    def fail(*_: object) -> int:
        raise OSError(failure, "refused")

    monkeypatch.setattr("os.sendfile", fail)
    data = os.urandom(2 * LARGE)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as stream:
        file = provider.save(stream, "a.bin")
    assert Path(file.absolute_path()).read_bytes() == data


def test_umask(provider: LocalStore) -> None:
    """Files have the mode that the process's umask gives."""
    before = os.umask(0o027)
    try:
        file = provider.save(io.BytesIO(b""), "a.txt")
    finally:
        os.umask(before)
    assert Path(file.absolute_path()).stat().st_mode & 0o777 == 0o640


def test_folder_in_the_way(provider: LocalStore) -> None:
    """A folder takes a name like a file does, and is none."""
    provider.save(io.BytesIO(b""), "a/b.txt")
    file = provider.save(io.BytesIO(b""), "a")
    assert str(file).startswith("a_")
    assert not provider.exists("a")
    provider.delete("a")
    for verb in (provider.open, provider.size, provider.modified, provider.servable):
        with pytest.raises(NotFoundError, match="'a' is not in the store"):
            verb("a")


def test_file_in_the_way(provider: LocalStore) -> None:
    """Nothing can be saved in a file."""
    provider.save(io.BytesIO(b""), "a")
    with pytest.raises(InvalidNameError, match="'a' already exists and is not a f"):
        provider.save(io.BytesIO(b""), "a/b.txt")
    assert not provider.exists("a/b.txt")
    assert list(provider.list("a/")) == []


def test_dangling_link_is_not_followed(provider: LocalStore, tmp_path: Path) -> None:
    """A link under the wanted name is not written through."""
    provider.root.mkdir()
    (provider.root / "a.txt").symlink_to(tmp_path / "elsewhere")
    file = provider.save(io.BytesIO(b"x"), "a.txt")
    assert str(file) != "a.txt"
    assert not (tmp_path / "elsewhere").exists()


def test_link_out_of_the_store(provider: LocalStore, tmp_path: Path) -> None:
    """A link that somebody planted shows nothing of what it leads to."""
    provider.root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (provider.root / "a.txt").symlink_to(tmp_path / "secret.txt")
    assert not provider.exists("a.txt")
    assert list(provider.list()) == []
    for read in (provider.open, provider.size, provider.modified, provider.servable):
        with pytest.raises(NotFoundError, match=r"a\.txt"):
            read("a.txt")
    provider.delete("a.txt")
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_folder_removed(provider: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that vanishes, even before the last step, is made again."""
    provider.save(io.BytesIO(b""), "a/b.txt")
    real = Spool.settle

    def remove(self: Spool, *, durable: bool) -> None:
        real(self, durable=durable)
        if (provider.root / "a").exists():
            (provider.root / "a" / "b.txt").unlink()
            (provider.root / "a").rmdir()

    monkeypatch.setattr(Spool, "settle", remove)
    # The upload waits in the root, so that its folder can go.
    with provider.spool("x") as spooled:
        spooled.write(b"content")
        file = provider.save(FileStorage(spooled, "x"), "a/c.txt")
    assert Path(file.absolute_path()).read_bytes() == b"content"


def test_other_file_system(
    provider: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that was received on another file system is copied."""
    real = os.link
    refused: list[Any] = []

    def refuse_once(*args: Any, **options: Any) -> None:
        if not refused:
            refused.append(args)
            raise OSError(errno.EXDEV, "other file system")
        real(*args, **options)

    monkeypatch.setattr("os.link", refuse_once)
    with provider.spool("x") as spooled:
        spooled.write(b"content")
        file = provider.save(FileStorage(spooled, "x"), "c.txt")
    assert refused
    assert Path(file.absolute_path()).read_bytes() == b"content"


def content_of(file: FileWrapper) -> bytes:
    """Return what is in a stored file."""
    with file.open() as stream:
        return stream.read()


@pytest.fixture(params=["renameat2", "placeholder"])
def no_links(
    request: pytest.FixtureRequest, named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system such as exFAT: without hard links, or exclusive renames."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "refused")

    monkeypatch.setattr("os.link", refuse)
    if request.param == "placeholder":
        monkeypatch.setattr(spool_module, "_libc", lambda: None)


@pytest.mark.usefixtures("no_links")
def test_no_hard_links(provider: LocalStore) -> None:
    """Without hard links files are saved all the same, and overwrite nothing."""
    first = provider.save(io.BytesIO(b"first"), "in/a.txt", metadata={"a": "b"})
    second = provider.save(io.BytesIO(b"second"), "in/a.txt")
    assert content_of(first) == b"first"
    assert first.attributes.metadata == {"a": "b"}
    assert second.name.startswith("in/a_")
    with provider.spool("x") as spooled:
        spooled.write(b"third")
        third = provider.save(FileStorage(spooled, "x"), "a.txt")
    moved = third.move("in/a.txt")
    assert moved.name.startswith("in/a_")
    assert content_of(moved) == b"third"
    assert "files can be saved" in next(provider.check())
    assert len(files_below(provider.root)) == 3


@pytest.mark.usefixtures("no_links")
def test_one_wins_without_hard_links(provider: LocalStore) -> None:
    """Of many saves under one name, each gets a file of its own."""
    data = [b"%d" % number for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda it: provider.save(io.BytesIO(it), "a.txt"), data))
    assert len({file.name for file in files}) == len(data)
    for file, content in zip(files, data, strict=True):
        assert content_of(file) == content
    assert len(files_below(provider.root)) == len(data)


@pytest.mark.usefixtures("no_links")
def test_link_refused(provider: LocalStore) -> None:
    """The error of a rename is reported, and nothing is kept."""
    provider.root.mkdir()
    with provider.spool("x") as spooled:
        spooled.write(b"x")
        (hidden,) = files_below(provider.root)
        hidden.unlink()
        with pytest.raises(BackendError, match="No such file") as caught:
            provider.save(FileStorage(spooled, "x"), "a.txt")
    assert (caught.value.action, caught.value.name) == ("save", "a.txt")
    assert str(provider.root) not in str(caught.value)
    assert files_below(provider.root) == []


# Uploads that are received where they are to stay.


def test_spool_is_linked(provider: LocalStore) -> None:
    """A spooled upload becomes the file; its stream can be read, not written."""
    with provider.spool("a.txt") as spooled:
        spooled.write(b"content, and more")
        spooled.truncate(len(b"content"))
        inode = os.fstat(spooled.fileno()).st_ino
        upload = FileStorage(spooled, "a.txt")
        file = provider.save(upload)
        assert Path(file.absolute_path()).stat().st_ino == inode
        assert spooled.seek(0) == 0
        assert spooled.read() == b"content"
        with pytest.raises(io.UnsupportedOperation, match="the store's now"):
            spooled.write(b"changed")
        with pytest.raises(io.UnsupportedOperation, match="the store's now"):
            spooled.truncate(0)
        again = provider.save(upload)
    assert Path(file.absolute_path()).read_bytes() == b"content"
    assert Path(again.absolute_path()).read_bytes() == b"content"
    assert Path(again.absolute_path()).stat().st_ino != inode


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_spooling_request(tmp_path: Path, size: int) -> None:
    """Large uploads are received in the store's folder, small ones in memory."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "uploads")

    class OwnRequest(app.request_class):  # type: ignore[name-defined,misc] # a variable
        """The app's own kind of request."""

        own = True

    app.request_class = OwnRequest
    store = Store(app, spool=True)

    @app.post("/")
    def save() -> dict[str, Any]:
        assert request.own  # type: ignore[attr-defined] # its own
        upload = request.files["afile"]
        held = getattr(upload.stream, "current", upload.stream)
        spooled = isinstance(held, Spool)
        file = store.Provider().save(upload)
        return {"spooled": spooled, "name": str(file), "size": file.size}

    answer = app.test_client().post("/", **form(b"x" * size, "../ä.txt")).json
    assert answer == {"spooled": size > MIB, "name": "ä.txt", "size": size}
    assert (tmp_path / "uploads" / "ä.txt").read_bytes() == b"x" * size


def test_unsaved_upload_leaves_nothing(tmp_path: Path) -> None:
    """An upload that nobody saves is gone with its request, without a warning."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "uploads")
    Store(app, spool=True)

    @app.post("/")
    def look() -> str:
        part: Any = request.files["afile"].stream
        return type(part.current).__name__

    assert app.test_client().post("/", **form(b"x" * MIB, "a.txt")).text == "Spool"
    assert files_below(tmp_path) == []


def test_closed_twice(provider: LocalStore) -> None:
    """Closing again is not an error."""
    spooled = provider.spool("a.txt")
    spooled.close()
    spooled.close()
    assert spooled.closed


# Failures of the disk.


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the process write no file beyond a size, as a full disk or a quota would."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("system", ["unnamed", "named"])
@pytest.mark.parametrize("source", ["memory", "file"])
def test_disk_full(
    provider: LocalStore,
    tmp_path: Path,
    system: str,
    source: str,
    request: pytest.FixtureRequest,
) -> None:
    """A full disk is reported; nothing is left, and the next save works."""
    if system == "named":
        request.getfixturevalue("named")
    (tmp_path / "source").write_bytes(b"x" * 2 * MIB)
    with (tmp_path / "source").open("rb") as file, largest_file(MIB):
        stream: Any = file if source == "file" else io.BytesIO(b"x" * 2 * MIB)
        with pytest.raises(BackendError, match=r"cannot save 'a\.txt': File too large"):
            provider.save(stream, "a.txt")
        assert files_below(provider.root) == []
        assert provider.save(io.BytesIO(b"small"), "a.txt").size == 5


def test_disk_full_while_receiving(tmp_path: Path) -> None:
    """A disk that fills up during an upload is an error of ours in the view."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "uploads"))
    Store(app, spool=True)

    @app.errorhandler(BackendError)
    def full(error: BackendError) -> tuple[str, int]:
        return str(error), 507

    @app.post("/")
    def save() -> str:
        return str(len(request.files))

    with largest_file(MIB):
        response = app.test_client().post("/", **form(b"x" * 3 * MIB, "a.txt"))
    assert response.status_code == 507
    assert response.text == "cannot save 'a.txt': File too large"
    assert files_below(tmp_path) == []


POWERLESS = """
import io, os, sys
from flask_store import BackendError
from flask_store.config import Config
from flask_store.stores.local import LocalStore

store = LocalStore(config=Config(path=sys.argv[1]))
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for action in (
    lambda: store.save(io.BytesIO(b"x"), "b.txt"),
    lambda: store.delete("a.txt"),
):
    try:
        action()
    except BackendError as error:
        print(error)
print(store.size("a.txt"))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users")
def test_read_only_folder() -> None:
    """A read-only folder is reported, and can still be read."""
    root = Path(tempfile.mkdtemp())
    try:
        LocalStore(config=Config(path=str(root))).save(io.BytesIO(b"x"), "a.txt")
        root.chmod(0o555)
        with python(POWERLESS, str(root)) as process:
            output, _ = process.communicate(timeout=110)
    finally:
        root.chmod(0o755)
        shutil.rmtree(root)
    assert output.splitlines() == [
        "cannot save 'b.txt': Permission denied; the folder in STORE_PATH must be one "
        "that the app can write",
        "cannot delete 'a.txt': Permission denied",
        "1",
    ]


def test_no_permission_to_look(
    provider: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be seen is not reported as missing."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(BackendError, match=r"cannot read 'a\.txt': Permission denied"):
        provider.exists("a.txt")


# Many at once, and sudden ends.

SAVER = """
import io, sys
from concurrent.futures import ThreadPoolExecutor
from flask_store.config import Config
from flask_store.stores.local import LocalStore

root, process, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = LocalStore(config=Config(path=root, fsync=False))
contents = [f"{process}-{number}".encode() * 1000 for number in range(count)]
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    for data, file in zip(contents, pool.map(
        lambda data: store.save(io.BytesIO(data), "same.txt"), contents
    )):
        print(file, data[:20].decode())
"""


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script with this interpreter's modules."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_processes_and_threads(tmp_path: Path) -> None:
    """64 threads in 4 processes that save one name make as many files as saves."""
    processes = [python(SAVER, str(tmp_path), str(it), "64") for it in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    names = []
    for process in processes:
        output, _ = process.communicate(timeout=110)
        for line in output.splitlines():
            name, start = line.split()
            names.append(name)
            assert (tmp_path / name).read_text().startswith(start)
    assert len(set(names)) == len(names) == len(files_below(tmp_path)) == 256


#: For each line that it reads it forks a process that saves until it is killed.
VICTIMS = """
import io, os, sys
from flask_store.config import Config
from flask_store.stores.local import LocalStore

if sys.argv[1] == "named":
    del os.O_TMPFILE
for line in sys.stdin:
    root = line.strip()
    child = os.fork()
    if child:
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)
        continue
    told = os.open(root + ".told", os.O_WRONLY | os.O_CREAT)
    store = LocalStore(config=Config(path=root))
    for number in range(1000):
        data = b"%d|" % number + b"x" * 2_000_000 + b"|%d" % number
        file = store.save(io.BytesIO(data), "a.txt")
        os.write(told, f"{file}\\n".encode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("system", ["unnamed", "named"])
def test_kill_in_the_middle(tmp_path: Path, system: str) -> None:
    """Whenever a saving process is killed, files are whole, and none is missing."""
    with python(VICTIMS, system) as victims:
        assert victims.stdin is not None
        assert victims.stdout is not None
        for number in range(50):
            root = tmp_path / str(number)
            victims.stdin.write(f"{root}\n")
            victims.stdin.flush()
            child = int(victims.stdout.readline())
            time.sleep(random.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert victims.stdout.readline() == "dead\n"
            look_after_kill(root, system)


def look_after_kill(root: Path, system: str) -> None:
    """Check what a killed process left, and clean it up."""
    provider = LocalStore(config=Config(path=str(root)))
    whole = set()
    for file in provider.list():
        start, middle, end = Path(file.absolute_path()).read_bytes().split(b"|")
        assert start == end
        assert len(middle) == 2_000_000
        whole.add(str(file))
    told = Path(f"{root}.told")
    assert set(told.read_text().splitlines() if told.exists() else ()) <= whole
    left = [path for path in files_below(root) if path.name not in whole]
    assert all(path.name.startswith(HIDDEN_PREFIX) for path in left)
    assert system == "named" or left == []
    list(provider.check(clean=True))
    assert len(files_below(root)) == len(whole)


def test_check(provider: LocalStore) -> None:
    """The check finds what killed processes left, and leaves what lives alone."""
    findings = list(provider.check())
    assert findings == [
        f"{provider.root}: files can be saved; unfinished files are unnamed, "
        "attributes are kept with them",
        "0 files of killed processes left",
    ]
    dead = provider.root / f"{HIDDEN_PREFIX}dead"
    living = provider.root / "a" / f"{HIDDEN_PREFIX}living"
    living.parent.mkdir()
    dead.write_text("")
    with living.open("wb") as file:
        assert spool_module.lock(file.fileno())
        assert list(provider.check())[1] == "1 files of killed processes left"
        assert list(provider.check(clean=True))[1] == (
            "1 files of killed processes removed"
        )
        assert files_below(provider.root) == [living]


def test_check_of_a_bad_folder(provider: LocalStore) -> None:
    """The check tells what is wrong with the folder."""
    provider.root.write_text("a file")
    with pytest.raises(BackendError, match="cannot save 'a file in STORE_PATH'"):
        list(provider.check())


def test_folder_behind_a_link(tmp_path: Path) -> None:
    """A link to a folder leads out of the store for nobody."""
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (outside / "secret.txt").write_text("secret")
    app = Flask(__name__)
    app.config.update(SECRET_KEY="secret", STORE_PATH=str(tmp_path / "uploads"))
    store = Store(app)
    with app.app_context():
        provider = store.Provider()
        provider.save(io.BytesIO(b"x"), "a.txt")
        (tmp_path / "uploads/link").symlink_to(outside)
        (tmp_path / "uploads/sub").mkdir()
        (tmp_path / "uploads/sub/link").symlink_to(outside)
        for link in ("link", "sub/link"):
            name = f"{link}/secret.txt"
            assert not provider.exists(name)
            for read in (provider.open, provider.size, provider.attributes):
                with pytest.raises(NotFoundError, match="is not in the store"):
                    read(name)
            for to in (f"{link}/b.txt", f"{link}/new/b.txt"):
                why = f"'{link}' already exists and is not a folder"
                with pytest.raises(InvalidNameError, match=why):
                    provider.save(io.BytesIO(b"x"), to)
                with pytest.raises(InvalidNameError, match=why):
                    provider.move("a.txt", to)
            provider.delete(name)
            assert list(provider.list(f"{link}/")) == []
            assert provider.page(f"{link}/").files == []
            assert provider.delete_prefix(f"{link}/") == 0
            assert list(provider.within(link).list()) == []
            with app.test_client().get(f"/flaskstore/{name}") as response:
                assert response.status_code == 404
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "secret.txt"]


def test_file_in_place_of_a_folder(provider: LocalStore) -> None:
    """Below the name of a file there can be no other file."""
    provider.save(io.BytesIO(b"x"), "x")
    for name in ("x/y", "x/y/z"):
        with pytest.raises(InvalidNameError, match="'x' already exists and is not"):
            provider.save(io.BytesIO(b"y"), name)
        assert not provider.exists(name)
    provider.save(io.BytesIO(b"z"), "f/z")
    assert provider.save(io.BytesIO(b"f"), "f").name.startswith("f_")
