"""Uploads that go to S3 after the answer: none lost, none sent twice."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

import harness
from flask_store import BackendError
from flask_store import _journal as journal_module
from flask_store import upload_finished
from flask_store._spool import Spool
from flask_store._upload import Upload
from flask_store.config import Config
from flask_store.stores.s3 import S3GeventStore
from flask_store.stores.s3 import S3Store
from harness.waiting import WAIT
from harness.waiting import until


def stored(config: dict[str, Any]) -> dict[str, bytes]:
    """Return what is in the bucket."""
    store = S3Store(config=Config.from_mapping(config))
    contents = {}
    for file in store.list():
        with file.open() as stream:
            contents[str(file)] = stream.read()
    return contents


def files_of(provider: S3GeventStore) -> list[str]:
    """Return the names of the files in the spool, but for its mutex."""
    names = [path.name for path in provider.journal.folder.glob("*")]
    return [name for name in names if name != journal_module.MUTEX]


def test_delivery(
    provider: S3GeventStore, config: dict[str, Any], ends: list[Any]
) -> None:
    """An upload arrives once, a signal tells so, and the spool is empty."""
    file = provider.save(io.BytesIO(b"content"), "a.txt")
    assert provider.wait(WAIT)
    assert ends == [(str(file), None)]
    assert stored(config) == {str(file): b"content"}
    assert files_of(provider) == []
    assert provider.pending() == []


def test_answers_while_s3_is_down(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    ends: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While S3 is down a save answers; when it is back the file arrives, once."""
    saved = threading.Event()

    def hang(method: str, path: str) -> str:
        assert saved.wait(WAIT)
        return "drop"

    faulty.fault = hang
    file = provider.save(io.BytesIO(b"content"), "a.txt")
    saved.set()
    until(lambda: len(faulty.puts) >= 2, "it is not tried again")
    assert not provider.wait(0)
    assert ends == []
    assert [job.name for job in provider.pending()] == [str(file)]
    faulty.fault = lambda method, path: None
    assert provider.wait(WAIT)
    assert ends == [(str(file), None)]
    assert stored(config) == {str(file): b"content"}
    assert caplog.text.count("; retrying until it works") == 1
    assert caplog.text.count("uploads have recovered") == 1


@pytest.mark.parametrize("fault", [500, 503, 429, "lose", "wait"])
def test_troubles_that_pass(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    ends: list[Any],
    fault: str | int,
) -> None:
    """Temporary errors are retried, always under one name."""
    faulty.first(fault, method="PUT")
    file = provider.save(io.BytesIO(b"content"), "a.txt")
    assert provider.wait(WAIT)
    assert ends == [(str(file), None)]
    assert stored(config) == {str(file): b"content"}
    assert len(set(faulty.puts)) == 1


def test_refusal(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    ends: list[Any],
    app: Flask,
) -> None:
    """Uploads that S3 refuses are reported and kept until an operator resumes."""
    faulty.fault = lambda method, path: 403
    file = provider.save(io.BytesIO(b"content"), "a.txt")
    assert provider.wait(WAIT)
    ((name, error),) = ends
    assert name == str(file)
    assert isinstance(error, BackendError)
    assert len(faulty.puts) == 1
    runner = app.test_cli_runner()
    refused = runner.invoke(args=["store", "resume"])
    assert refused.exit_code == 1
    assert f"{name}: cannot save" in refused.output
    assert "Error: 1 uploads have not been sent" in refused.output
    faulty.fault = lambda method, path: None
    output = runner.invoke(args=["store", "check"]).output
    assert "0 uploads wait to be sent, 1 have failed" in output
    assert runner.invoke(args=["store", "resume"]).exit_code == 0
    assert stored(config) == {name: b"content"}
    assert provider.pending() == []


def test_more_uploads_than_workers(
    faulty: harness.FaultyServer, provider: S3GeventStore, config: dict[str, Any]
) -> None:
    """More uploads than workers wait for their turn; all arrive."""
    files = [provider.save(io.BytesIO(b"%d" % it), "a.txt") for it in range(20)]
    assert provider.wait(WAIT)
    wanted = {str(file): b"%d" % it for it, file in enumerate(files)}
    assert stored(config) == wanted
    assert len(faulty.puts) == 20


def test_failing_receiver(
    provider: S3GeventStore, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver that fails is logged, and the next upload goes on."""

    def fail(_: Flask, file: object) -> None:
        raise RuntimeError("made up")

    with upload_finished.connected_to(fail, app):
        for _ in range(2):
            provider.save(io.BytesIO(b"x"), "a.txt")
        assert provider.wait(WAIT)
    assert caplog.text.count("RuntimeError: made up") == 2


def test_spool_that_vanishes(
    faulty: harness.FaultyServer, provider: S3GeventStore, ends: list[Any]
) -> None:
    """An upload that disappeared is not retried forever."""
    faulty.fault = lambda method, path: "drop"
    provider.save(io.BytesIO(b"x"), "a.txt")
    until(lambda: faulty.puts, "it is not tried")
    # Not between a look at the record and its change.
    with provider.journal.changing():
        for name in files_of(provider):
            (provider.journal.folder / name).unlink()
    assert provider.wait(WAIT)
    assert ends == []


def test_bytes_that_vanish(provider: S3GeventStore, ends: list[Any]) -> None:
    """An upload whose bytes somebody took away has failed, and can be dropped."""
    provider.enqueue = lambda store, job_id: None
    file = provider.save(io.BytesIO(b"x"), "a.txt")
    (job,) = provider.pending()
    (provider.journal.folder / f"{job.id}.data").unlink()
    assert provider.deliver(job.id) is None
    ((name, error),) = ends
    assert name == str(file)
    assert str(error) == f"cannot send {name!r}: its data is missing"
    assert [job.state for job in provider.pending()] == ["failed"]
    file.delete()
    assert provider.deliver(job.id) is None
    assert provider.pending() == []


def test_full_spool(provider: S3GeventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full spool raises an error, and leaves nothing behind."""

    def fail(_: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(BackendError, match=r"cannot save 'a\.txt': No space left"):
        provider.save(io.BytesIO(b"x"), "a.txt")
    assert files_of(provider) == []


def test_received_in_the_spool(provider: S3GeventStore, config: dict[str, Any]) -> None:
    """An upload received in the spool is linked, and can be saved again."""
    with provider.spool("a.txt") as spooled:
        assert isinstance(spooled, Spool)
        spooled.write(b"content")
        upload = FileStorage(spooled, "a.txt")
        names = [str(provider.save(upload)) for _ in range(2)]
    assert provider.wait(WAIT)
    assert stored(config) == dict.fromkeys(names, b"content")


def test_one_sender(
    provider: S3GeventStore, faulty: harness.FaultyServer, ends: list[Any]
) -> None:
    """Of several processes that see one upload, one sends it."""
    faulty.fault = lambda method, path: 403
    provider.save(io.BytesIO(b"x"), "a.txt")
    assert provider.wait(WAIT)
    (job,) = provider.pending()
    assert len(ends) == 1
    ends.clear()
    faulty.fault = lambda method, path: None
    faulty.requests.clear()
    with provider.journal.claim(job.id) as claimed:
        assert claimed is not None
        busy = provider.deliver(job.id)
        assert busy is not None
        assert busy > time.time()
        assert faulty.puts == []
        assert ends == []
    assert provider.deliver(job.id) is None
    assert provider.deliver(job.id) is None
    assert len(faulty.puts) == 1
    assert ends == [(job.name, None)]


def test_put_command(app: Flask, config: dict[str, Any], tmp_path: Path) -> None:
    """The command waits for S3, as nobody else would."""
    (tmp_path / "a.txt").write_text("content")
    result = app.test_cli_runner().invoke(
        args=["store", "put", str(tmp_path / "a.txt")]
    )
    assert result.exit_code == 0, result.output
    assert stored(config) == {result.output.splitlines()[-1]: b"content"}


def test_without_fsync(config: dict[str, Any], faulty: harness.FaultyServer) -> None:
    """Without fsync, uploads are sent all the same."""
    given = Config.from_mapping({**config, "STORE_FSYNC": False})
    provider = S3GeventStore(config=given)
    provider.save(io.BytesIO(b"content"), "a.txt")
    assert provider.wait(WAIT)
    assert list(stored(config).values()) == [b"content"]


def test_leftovers(provider: S3GeventStore) -> None:
    """The check finds what was never acknowledged, and not what is being saved."""
    folder = provider.journal.folder
    folder.mkdir(parents=True)
    (folder / "old.data").write_text("x")
    (folder / "new.data").write_text("x")
    (folder / ".spool-1").write_text("x")
    long_ago = time.time() - 2 * journal_module.STALE_SECONDS
    os.utime(folder / "old.data", (long_ago, long_ago))
    assert list(provider.check())[-1] == "2 files of killed processes left"
    assert list(provider.check(clean=True))[-1] == "2 files of killed processes removed"
    assert [path.name for path in folder.iterdir()] == ["new.data"]


def test_unreadable_records(
    provider: S3GeventStore,
    config: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Records that a power cut has emptied stop nobody, and are told of."""
    folder = provider.journal.folder
    folder.mkdir(parents=True)
    for name, text in (("cut", ""), ("list", "[]"), ("other", '{"id": "1"}')):
        (folder / f"{name}.json").write_text(text)
    key = provider.join("a_1.txt")
    provider.journal.add(Upload(io.BytesIO(b"x"), "a.txt"), "a_1.txt", key)
    provider.start()
    until(lambda: not provider.pending(), "it is not sent")
    assert stored(config) == {"a_1.txt": b"x"}
    # Threads of stores before this one may have something to say, too.
    warned = {record.getMessage() for record in caplog.records}
    assert {text for text in warned if "readable" in text} == {
        f"{name}.json in the spool is not readable" for name in ("cut", "list", "other")
    }


def test_other_buckets_uploads(provider: S3GeventStore, config: dict[str, Any]) -> None:
    """A spool that two apps share is sent by each one's own."""
    other = S3GeventStore(
        config=Config.from_mapping({**config, "STORE_S3_BUCKET": "no-such-bucket"})
    )
    other.save(io.BytesIO(b"x"), "a.txt")
    assert provider.pending() == []
    assert other.wait(WAIT)
    assert len(other.pending()) == 1


def test_after_a_fork(provider: S3GeventStore, config: dict[str, Any]) -> None:
    """A forked process starts to send by itself."""
    code = textwrap.dedent(
        """
        import io, json, os, sys
        from flask_store.config import Config
        from flask_store.stores.s3 import S3GeventStore

        store = S3GeventStore(config=Config.from_mapping(json.loads(sys.argv[1])))
        store.save(io.BytesIO(b"parent"), "a.txt")
        assert store.wait(20)
        child = os.fork()
        store.save(io.BytesIO(b"child" if not child else b"again"), "a.txt")
        assert store.wait(20)
        if child:
            _, status = os.waitpid(child, 0)
            sys.exit(status)
        os._exit(0)
        """
    )
    run_python(code, json.dumps(config))
    assert sorted(stored(config).values()) == [b"again", b"child", b"parent"]


def run_python(code: str, *arguments: str) -> None:
    """Run code to its end."""
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        timeout=WAIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_killed_process(
    faulty: harness.FaultyServer, app: Flask, config: dict[str, Any], ends: list[Any]
) -> None:
    """Uploads that a killed process acknowledged are sent at the next start, once."""
    faulty.fault = lambda method, path: "drop"
    code = textwrap.dedent(
        """
        import io, json, os, signal, sys
        from flask_store.config import Config
        from flask_store.stores.s3 import S3GeventStore

        store = S3GeventStore(config=Config.from_mapping(json.loads(sys.argv[1])))
        for number in range(5):
            print(store.save(io.BytesIO(b"%d" % number), "a.txt"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, json.dumps(config)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=WAIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert killed.returncode == -signal.SIGKILL
    names = killed.stdout.split()
    assert len(names) == 5
    faulty.fault = lambda method, path: None
    faulty.requests.clear()
    app.test_client().get("/")
    until(lambda: len(ends) == 5, "they are not sent")
    assert stored(config) == {name: b"%d" % it for it, name in enumerate(names)}
    assert len(faulty.puts) == 5


APP = """
import os, json
from flask import Flask, request
from flask_store import Store, upload_finished

app = Flask(__name__)
app.config.update(json.loads(os.environ["STORE_TEST_CONFIG"]))
store = Store(app, spool=True)


@app.post("/")
def save():
    return str(store.Provider().save(request.files["afile"]))


@app.get("/ping")
def ping():
    return "pong"


@upload_finished.connect
def finished(app, file):
    with open(os.environ["STORE_TEST_LOG"], "a") as log:
        log.write(f"{file}\\n")
"""


def upload_to(url: str, data: bytes) -> str:
    """Upload a file; return its name."""
    head = (
        b'--b\r\nContent-Disposition: form-data; name="afile"; filename="a.txt"\r\n\r\n'
    )
    request = urllib.request.Request(
        url,
        head + data + b"\r\n--b--\r\n",
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    with urllib.request.urlopen(request, timeout=WAIT) as response:
        name: str = response.read().decode()
    return name


@pytest.mark.parametrize("kind", harness.WSGI_SERVERS)
def test_under_a_server(
    kind: str, faulty: harness.FaultyServer, config: dict[str, Any], tmp_path: Path
) -> None:
    """Under each server uploads are answered while S3 is slow, and arrive."""
    (tmp_path / "gevent_app.py").write_text(APP)
    log = tmp_path / "log"
    log.write_text("")
    environ = {"STORE_TEST_CONFIG": json.dumps(config), "STORE_TEST_LOG": str(log)}
    gate = threading.Event()

    def slow(method: str, _: str) -> None:
        if method == "PUT":
            assert gate.wait(WAIT)

    faulty.fault = slow
    with harness.serve(kind, tmp_path / "gevent_app.py", environ=environ) as server:
        contents = [bytes([65 + it]) * (10 if it else 3_000_000) for it in range(6)]
        names = [upload_to(server.url, data) for data in contents]
        until(lambda: len(faulty.puts) >= 2, "nothing is sent")
        with urllib.request.urlopen(f"{server.url}/ping", timeout=WAIT) as response:
            assert response.read() == b"pong"
        assert log.read_text() == ""
        gate.set()
        until(lambda: len(log.read_text().split()) == 6, "not all arrive")
        assert sorted(log.read_text().split()) == sorted(names)
        output = server.log()
    assert stored(config) == dict(zip(names, contents, strict=True))
    assert len(faulty.puts) == 6, output


def test_quiet_logger() -> None:
    """The package's logger is the application's to configure."""
    assert logging.getLogger("flask_store").handlers == []
