"""Attributes of files: their rules, and how the local disk keeps them."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage

from flask_store import Attributes
from flask_store import ConfigError
from flask_store import DigestError
from flask_store import Incoming
from flask_store import InvalidAttributeError
from flask_store import RefusedError
from flask_store import Store
from flask_store import _attributes
from flask_store import _records
from flask_store._checksums import parse
from flask_store._object_headers import content_disposition
from flask_store._object_headers import from_headers
from flask_store._spool import Spool
from flask_store.config import Config
from flask_store.stores.local import LocalStore


needs_xattr = pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux only")


@pytest.fixture
def provider(tmp_path: Path) -> LocalStore:
    """A store in a temporary folder."""
    return LocalStore(config=Config(path=str(tmp_path), signing_keys=("key",)))


@pytest.fixture(params=[errno.EOPNOTSUPP, errno.ENOSPC, None], ids=str)
def no_xattr(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no extended attributes, or a system without them."""
    if request.param is None:
        monkeypatch.delattr("os.setxattr", raising=False)
        monkeypatch.delattr("os.getxattr", raising=False)
        return

    def refuse(*_: object, **__: object) -> None:
        raise OSError(request.param, "refused")

    monkeypatch.setattr("os.setxattr", refuse, raising=False)
    monkeypatch.setattr("os.getxattr", refuse, raising=False)


def form(data: bytes, headers: str = "") -> dict[str, Any]:
    """Return the arguments that post a form with one file."""
    head = '--b\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n'
    body = f"{head}{headers}\r\n".encode() + data + b"\r\n--b--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=b"}


def sidecars(root: Path) -> list[Path]:
    """Return all records that lie beside their files."""
    return list(root.rglob(f"{_records.SIDECAR_PREFIX}*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"content_type": "png"}, "use a type such as 'image/png'"),
        ({"content_type": "text/plain\r\nX: 1"}, "use a type such as"),
        ({"content_type": "text/x" + "y" * 255}, "use a type such as"),
        ({"content_type": 5}, "use text"),
        ({"download_name": "../a.txt"}, r"plain file name, such as 'a\.txt'"),
        ({"download_name": 'a"\r\n.txt'}, "use a plain file name"),
        ({"disposition": "form-data"}, "use 'inline' or 'attachment'"),
        ({"cache_control": "no-store\r\nX: 1"}, "use directives"),
        ({"cache_control": "ä"}, "use directives"),
        ({"metadata": {"Owner": "1"}}, "use a-z, 0-9 and '-' in keys, not 'Owner'"),
        ({"metadata": {"flask-store": "1"}}, "not 'flask-store'"),
        ({"metadata": {"a": "1\r\nX: 1"}}, "use printable text for 'a'"),
        ({"metadata": {"a": " 1"}}, "without leading or trailing"),
        ({"metadata": {"a": "ä" * 250}}, "use 1500 bytes at most"),
        ({"metadata": {"a": 1}}, "use text"),
        ({"metadata": ["a"]}, "use text"),
    ],
    ids=str,
)
def test_impossible(
    provider: LocalStore, tmp_path: Path, given: Any, message: str
) -> None:
    """A value that no header can hold is refused by name, and nothing is stored."""
    with pytest.raises(InvalidAttributeError, match=message) as caught:
        provider.save(io.BytesIO(b"x"), "a.txt", **given)
    (key,) = given
    assert (caught.value.key, caught.value.value) == (key, given[key])
    assert str(caught.value).startswith(f"{key} is ")
    assert list(tmp_path.iterdir()) == []


def test_misspelt_option(provider: LocalStore) -> None:
    """An unknown argument is refused, with the nearest one that there is."""
    options: Any = {"contenttype": "image/png"}
    with pytest.raises(TypeError, match="'contenttype'; did you mean 'content_type'"):
        provider.save(io.BytesIO(b"x"), "a.txt", **options)


@pytest.mark.parametrize(
    "name", ["a.html", "a.svg", "a.xhtml", "a.js", "a", "a.txt.html"]
)
def test_never_shown(provider: LocalStore, name: str) -> None:
    """A file that a browser could run is never displayed."""
    with pytest.raises(InvalidAttributeError, match="could run in a browser"):
        provider.save(io.BytesIO(b"x"), name, disposition="inline")
    loaded = Attributes.load(name, b'{"disposition": "inline"}')
    assert loaded.disposition == "attachment"
    for mimetype in ("image/svg+xml", "image/svg+xml; charset=utf-8", "IMAGE/SVG+XML"):
        found = Attributes.of("a.png", {"content_type": mimetype})
        assert found.disposition == "attachment"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff",
        b'{"content_type": 5, "metadata": "x", "sha256": "zz", "other": 1}',
        b'{"content_type": "a/b\\r\\nX: 1", "download_name": "../x\\n"}',
        b'{"cache_control": ["x"], "metadata": {"a": {"b": 1}}}',
    ],
)
def test_unusable_record(data: bytes) -> None:
    """A record that somebody has written over makes no file unreadable."""
    assert Attributes.load("a.png", data) == Attributes.of("a.png")


def test_record_fits() -> None:
    """The largest record fits where every file system has room."""
    given = {
        "content_type": "a/" + "b" * 253,
        "download_name": "ä" * 111 + ".ä",
        "disposition": "attachment",
        "cache_control": "x" * 256,
        "metadata": {"a": '"' * 499},
        "sha256": "0" * 64,
    }
    assert len(_attributes.dump(_attributes.checked(given))) < 3072


@needs_xattr
def test_one_attribute(provider: LocalStore, tmp_path: Path) -> None:
    """The record is one extended attribute, and only where there is something."""
    provider.save(io.BytesIO(b"x"), "plain.png")
    provider.save(io.BytesIO(b"x"), "typed.bin", content_type="image/png")
    assert os.listxattr(tmp_path / "plain.png") == []
    assert os.getxattr(tmp_path / "typed.bin", _records.XATTR) == (
        b'{"content_type":"image/png"}'
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_sidecar(no_xattr: None, provider: LocalStore, tmp_path: Path) -> None:
    """Without extended attributes the record lies beside, and goes with the file."""
    names = ["a.bin", "a.bin", "folder/b.bin", "a" * 228 + ".bin"]
    files = [
        provider.save(io.BytesIO(b"x"), name, metadata={"number": str(number)})
        for number, name in enumerate(names)
    ]
    for number, file in enumerate(files):
        assert file.attributes.metadata == {"number": str(number)}
    assert files[1].download_name == files[1].filename
    assert len(sidecars(tmp_path)) == len(files)
    assert [str(file) for file in provider.list()] == sorted(map(str, files))
    copy = files[0].copy("copy.bin")
    assert copy.attributes.metadata == {"number": "0"}
    for file in (*files, copy):
        file.delete()
    assert sidecars(tmp_path) == []


def test_stale_sidecar(no_xattr: None, provider: LocalStore, tmp_path: Path) -> None:
    """A record that a killed save left is nobody's, and goes when one cleans."""
    file = provider.save(io.BytesIO(b"x"), "a.bin", content_type="image/png")
    (tmp_path / "a.bin").unlink()
    (left,) = sidecars(tmp_path)
    second = provider.save(io.BytesIO(b"other"), "a.bin")
    assert (str(second), second.content_type) == (str(file), "application/octet-stream")
    second.delete()
    provider.save(io.BytesIO(b"x"), "b.bin", content_type="image/png")
    assert list(_records.orphans(tmp_path)) == []
    for path in sidecars(tmp_path):
        os.utime(path, (0, 0))
    (tmp_path / "b.bin").unlink()
    findings = list(provider.check(clean=True))
    assert "1 files of killed processes removed" in findings
    assert not left.exists()
    assert sidecars(tmp_path) == []


def test_foreign_sidecar(no_xattr: None, provider: LocalStore, tmp_path: Path) -> None:
    """A name whose record somebody else has is taken, and leaves him the record."""
    Path(_records.sidecar(str(tmp_path / "a.bin"))).write_bytes(b"{}")
    file = provider.save(io.BytesIO(b"x"), "a.bin", content_type="image/png")
    assert str(file) != "a.bin"
    assert file.content_type == "image/png"
    with pytest.raises(FileNotFoundError):
        (tmp_path / "a.bin").stat()


def test_check_names_the_place(provider: LocalStore, no_xattr: None) -> None:
    """``check`` says where attributes are kept."""
    assert any("beside" in finding for finding in provider.check())


KILLED = """
import io, itertools, os, sys
if sys.argv[2] == "sidecar":
    del os.setxattr, os.getxattr
from flask_store.config import Config
from flask_store.stores.local import LocalStore

store = LocalStore(config=Config(path=sys.argv[1]))
for number in itertools.count():
    tag = f"{os.getpid()}-{number}"
    saved = store.save(
        io.BytesIO(tag.encode()), f"{number % 3}.bin", metadata={"tag": tag}
    )
    print(saved, tag, flush=True)
    if number % 5 == 4:
        store.delete(str(saved))
        print("deleted", saved, flush=True)
"""


@pytest.mark.parametrize("place", ["xattr", "sidecar"])
def test_kills(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a process is killed, no file carries another's attributes."""
    rng = random.Random(place)
    lines: list[str] = []
    rounds = 8 if os.environ.get("LONG_TESTS") else 2
    for _ in range(rounds):
        command = [sys.executable, "-c", KILLED, str(tmp_path), place]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            many = range(rng.randrange(20, 60))
            lines += [process.stdout.readline() for _ in many]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
    if place == "sidecar":
        monkeypatch.delattr("os.setxattr")
        monkeypatch.delattr("os.getxattr")
    store = LocalStore(config=Config(path=str(tmp_path)))
    bare = 0
    for file in store.list():
        tag = file.attributes.metadata.get("tag")
        bare += tag is None
        with file.open() as stream:
            assert tag in {stream.read().decode(), None}
    # Without its sidecar is only a file that was being deleted.
    assert bare <= (rounds if place == "sidecar" else 0)
    whole = [line.split() for line in lines if line.endswith("\n")]
    deleted = {name for word, name in whole if word == "deleted"}
    saved = {name for name, _ in whole} - deleted - {"deleted"}
    assert saved
    missing = [name for name in saved if not store.exists(name)]
    # Of the last ones the deletion may have been done, but not told.
    assert len(missing) <= rounds


def noted(name: str, calls: list[str]) -> Callable[..., Any]:
    """Return a system call that is also noted."""
    call = getattr(os, name)

    def note(*given: Any, **more: Any) -> Any:
        calls.append(name)
        return call(*given, **more)

    return note


@needs_xattr
def test_order(provider: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is written before the file goes to the disk, and that before names."""
    calls: list[str] = []
    for name in ("setxattr", "fsync", "link"):
        monkeypatch.setattr(f"os.{name}", noted(name, calls))
    provider.save(io.BytesIO(b"x"), "a.bin", sha256=True)
    assert calls == ["setxattr", "fsync", "link", "fsync"]
    calls.clear()
    provider.save(FileStorage(io.BytesIO(b"x"), "b.bin"))
    assert calls == ["fsync", "link", "fsync"]
    calls.clear()
    provider.save(FileStorage(io.BytesIO(b"x"), "b.bin"))
    assert calls == ["fsync", "link", "setxattr", "fsync", "link", "fsync"]


# Checksums.


def digest_of(data: bytes, name: str = "sha256") -> str:
    """Return what stands between the colons."""
    return base64.b64encode(hashlib.new(name, data).digest()).decode()


@pytest.mark.parametrize(
    ("field", "names"),
    [
        (f"sha-256=:{digest_of(b'x')}:", ["sha256"]),
        (
            f"sha-512=:{digest_of(b'x', 'sha512')}:, SHA-256=:{digest_of(b'x')}:;a=1",
            ["sha512", "sha256"],
        ),
        ("md5=:AAAA:, crc32c=:AAAA:", []),
        ("", []),
    ],
)
def test_digest_field(field: str, names: list[str]) -> None:
    """The algorithms that RFC 9530 keeps are checked, all others ignored."""
    assert list(parse(field)) == names


@pytest.mark.parametrize(
    "value", [":AAAA:", digest_of(b"x"), f":{digest_of(b'x')}", ":!:", "::", ":", ""]
)
def test_malformed_digest(value: str) -> None:
    """A malformed digest is distinguished from one that does not match."""
    with pytest.raises(DigestError, match="400 Bad Request: Content-Digest: sha-256"):
        parse(f"sha-256={value}")


@pytest.mark.parametrize("spool", [True, False], ids=["spool", "copy"])
@pytest.mark.parametrize("size", [3, 700_000], ids=["small", "large"])
@pytest.mark.parametrize("way", ["raw", "part"])
def test_digest_of_the_request(
    tmp_path: Path, way: str, size: int, spool: bool
) -> None:
    """The digest that a client sends is checked, of a raw body or of a form's part."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app, spool=spool)

    @app.post("/")
    def save() -> str:
        if way == "raw":
            return str(store.Provider().save(request.stream, "a.bin"))
        with closing(request.files["f"]) as file:
            saved = store.Provider().save(file, sha256=True)
        assert saved.attributes.sha256 == hashlib.sha256(data).hexdigest()
        return str(saved)

    data = os.urandom(size)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    for sent, status in ((data, 200), (changed, 400)):
        field = f"sha-256=:{digest_of(data)}:"
        headers = {"Content-Digest": field}
        if way == "raw":
            given: dict[str, Any] = {"data": sent, "headers": headers}
        else:
            given = form(sent, f"Content-Digest: {field}\r\n")
        assert app.test_client().post("/", **given).status_code == status
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_digest_is_not_of_another_stream(tmp_path: Path) -> None:
    """A request's digest says nothing of other files that its view saves."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    headers = {"Content-Digest": f"sha-256=:{digest_of(b'x')}:"}
    with app.test_request_context(method="POST", data=b"y", headers=headers):
        assert str(store.Provider().save(io.BytesIO(b"y"), "a.txt")) == "a.txt"
        with pytest.raises(DigestError, match="sha256"):
            store.Provider().save(request.stream, "b.txt")


# Accept hooks.


def test_store_hook(tmp_path: Path) -> None:
    """The app's hook sees every save, and one of a save comes after it."""
    seen = []

    def first(incoming: Incoming) -> str:
        seen.append(("first", incoming.content_type))
        return "image/gif"

    def second(incoming: Incoming) -> None:
        seen.append(("second", incoming.content_type))

    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), STORE_ACCEPT=first)
    store = Store(app, spool=True)
    with app.app_context():
        file = store.Provider().save(io.BytesIO(b"GIF"), "a.png", accept=second)
        store.Provider("folder").save(io.BytesIO(b"GIF"), "b.png")
    assert file.content_type == "image/gif"
    assert seen == [("first", "image/png"), ("second", "image/gif"),
                    ("first", "image/png")]  # fmt: skip


def test_refused_answer(tmp_path: Path) -> None:
    """A view that lets a refusal pass answers 422 with the reason."""
    app = Flask(__name__)

    def refuse(incoming: Incoming) -> None:
        raise RefusedError("Send an image.")

    app.config.update(STORE_PATH=str(tmp_path), STORE_ACCEPT=refuse)
    store = Store(app)
    app.add_url_rule(
        "/", view_func=lambda: str(store.Provider().save(request.files["f"])),
        methods=["POST"],
    )  # fmt: skip
    response = app.test_client().post("/", **form(b"x" * 700_000))
    assert response.status_code == 422
    assert "Send an image." in response.text
    assert list(tmp_path.iterdir()) == []


def test_hook_that_fails(provider: LocalStore, tmp_path: Path) -> None:
    """A hook's own error is raised unchanged, and nothing is stored."""

    def fail(incoming: Incoming) -> None:
        raise ConnectionRefusedError("the scanner is down")

    with pytest.raises(ConnectionRefusedError, match="the scanner is down"):
        provider.save(io.BytesIO(b"x"), "a.txt", accept=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spooled", [True, False], ids=["spool", "copy"])
def test_hook_cannot_write(provider: LocalStore, spooled: bool) -> None:
    """A hook can neither change the file nor close it."""

    def meddle(incoming: Incoming) -> None:
        with pytest.raises(io.UnsupportedOperation, match="write"):
            incoming.stream.write(b"other")
        incoming.stream.seek(3)
        assert incoming.head(2) == b"co"
        assert incoming.stream.tell() == 3
        incoming.stream.close()

    stream: Any = provider.spool("a.txt") if spooled else io.BytesIO()
    stream.write(b"content")
    file = provider.save(stream, "a.txt", accept=meddle)
    stream.close()
    with file.open() as opened:
        assert opened.read() == b"content"


def test_hook_once(tmp_path: Path, provider: LocalStore) -> None:
    """A file that has to be copied to another file system is seen once."""
    seen: list[Incoming] = []
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with Spool(str(other), "a.txt") as spool:
        spool.write(b"content")
        file = provider.save(spool, "a.txt", accept=seen.append, sha256=True)
    assert len(seen) == 1
    assert file.attributes.sha256 == hashlib.sha256(b"content").hexdigest()
    assert file.size == 7


@pytest.mark.parametrize("value", [5, "no.such.hook", "os.sep"])
def test_unusable_hook(value: object) -> None:
    """A hook that is not callable is refused at start-up."""
    app = Flask(__name__)
    app.config["STORE_ACCEPT"] = value
    with pytest.raises(ConfigError, match=r"STORE_ACCEPT is .*a function of a file"):
        Store(app)


def test_hook_by_name(tmp_path: Path) -> None:
    """A hook can be named in an environment variable."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), STORE_ACCEPT="operator.not_")
    store = Store(app)
    with app.app_context():
        assert store.Provider().save(io.BytesIO(b"x"), "a.txt").exists()


# Headers, of responses and of objects.


def test_served(tmp_path: Path) -> None:
    """The app's route sends a file's attributes."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    with app.app_context():
        file = store.Provider().save(
            io.BytesIO(b"x"),
            "folder/1.txt",
            content_type="text/plain; charset=koi8-r",
            download_name="Счёт.txt",
            disposition="attachment",
            cache_control="public, max-age=31536000, immutable",
        )
        url = file.relative_url()
    with app.test_client().get(url) as response:
        assert response.headers["Content-Type"] == "text/plain; charset=koi8-r"
        assert response.headers["Cache-Control"].endswith("immutable")
        disposition = response.headers["Content-Disposition"]
        assert disposition.startswith("attachment; filename=")
        assert "filename*=UTF-8''%D0%A1%D1%87%D1%91%D1%82.txt" in disposition
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_named_link(tmp_path: Path) -> None:
    """Only the app can make a link that downloads under another name."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path), SECRET_KEY="secret")
    store = Store(app)
    client = app.test_client()
    with app.app_context():
        file = store.Provider().save(io.BytesIO(b"x"), "a.png")
        link = file.url(expires=60, download_name="Scan.png")
        with pytest.raises(InvalidAttributeError, match=r"pass expires= too"):
            file.url(download_name="Scan.png")
        with pytest.raises(InvalidAttributeError, match="plain file name"):
            file.url(expires=60, download_name="../Scan.png")
        plain = file.url(expires=60)
    with client.get(link) as response:
        field = response.headers["Content-Disposition"]
        assert field == "attachment; filename=Scan.png"
    forged = [
        link.replace("Scan.png", "Setup.exe"),
        f"{plain}&download_name=Setup.exe",
        "/flaskstore/a.png?download_name=Setup.exe",
    ]
    for url in forged:
        with client.get(url) as response:
            assert response.status_code == 403


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (None, "inline"),
        ("a b.png", 'inline; filename="a b.png"'),
        ("Ф.png", "inline; filename=\"_.png\"; filename*=UTF-8''%D0%A4.png"),
        ('a%"b', "inline; filename=\"a__b\"; filename*=UTF-8''a%25%22b"),
    ],
)
def test_content_disposition(name: str | None, field: str) -> None:
    """The field is ASCII, and has the plain name first (RFC 6266, appendix D)."""
    assert content_disposition("inline", name) == field


def test_foreign_object() -> None:
    """Attributes stored by others are read as far as possible."""
    headers = {"Content-Type": "binary", "Content-Disposition": "attachment; x=\r\n"}
    found = from_headers("a.png", headers, {"Owner": "1", "flask-store": "mark"})
    record = {"disposition": "attachment"}
    assert found == Attributes.of("a.png", record)
