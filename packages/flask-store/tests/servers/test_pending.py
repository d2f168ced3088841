"""Waiting uploads: their owner, reading them, their end, and their sender."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import harness
from flask_store import BackendError
from flask_store import NotFoundError
from flask_store import Store
from flask_store import _courier as courier_module
from flask_store import deliver
from flask_store import upload_failed
from flask_store._jobs import JobState
from flask_store._spool import HIDDEN_PREFIX
from flask_store.config import Config
from flask_store.stores.s3 import S3GeventStore
from flask_store.stores.s3 import S3Store
from harness.waiting import LONG
from harness.waiting import WAIT
from harness.waiting import until


def provider_of(app: Flask) -> S3GeventStore:
    """Return the app's provider."""
    provider = app.extensions["store"].provider
    assert isinstance(provider, S3GeventStore)
    return provider


def stored(config: dict[str, Any]) -> dict[str, bytes]:
    """Return what is in the bucket."""
    store = S3Store(config=Config.from_mapping(config))
    contents = {}
    for file in store.list():
        with file.open() as stream:
            contents[str(file)] = stream.read()
    return contents


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and output."""
    result = app.test_cli_runner().invoke(args=["store", *arguments])
    return result.exit_code, result.output


def python(code: str, *arguments: str) -> list[str]:
    """Return the command that runs code."""
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


ENVIRON = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize(
    "other",
    [
        {"STORE_PATH": "tests/another-tenant"},
        {"STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
        {"STORE_S3_REGION": "eu-west-1"},
        {"STORE_S3_BUCKET": "another"},
    ],
    ids=["tenant", "server", "region", "bucket"],
)
def test_another_store_in_the_spool(
    faulty: harness.FaultyServer, config: dict[str, Any], other: dict[str, Any]
) -> None:
    """A store never sends, sees or tells of what waits for another place."""
    faulty.fault = lambda method, path: "drop"
    ours = S3GeventStore(config=Config.from_mapping(config))
    theirs = S3GeventStore(config=Config.from_mapping({**config, **other}))
    file = ours.save(io.BytesIO(b"ours"), "a.txt")
    assert theirs.pending() == []
    assert list(theirs.journal.ids()) == []
    assert theirs.journal.find(str(file)) is None
    theirs.start()
    assert theirs.courier.drain(WAIT)
    assert theirs.journal.strangers() == [ours.journal.target.folder]
    faulty.fault = lambda method, path: None
    assert ours.wait(WAIT)
    assert stored(config) == {str(file): b"ours"}


def test_record_of_another_store(
    provider: S3GeventStore, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A record that somebody moved from another store's folder is not sent."""
    moved = {**config, "STORE_PATH": "tests/elsewhere"}
    other = S3GeventStore(config=Config.from_mapping(moved))
    other.enqueue = lambda store, job_id: None
    other.save(io.BytesIO(b"x"), "a.txt")
    other.journal.folder.rename(provider.journal.folder)
    (job_id,) = provider.journal.ids()
    assert provider.deliver(job_id) is not None or provider.pending() == []
    assert stored(config) == {}
    assert "belongs to another store" in caplog.text


def test_file_that_waits(
    faulty: harness.FaultyServer, provider: S3GeventStore, config: dict[str, Any]
) -> None:
    """A file that waits reads, lists and copies as any other."""
    stored_file = provider.save(io.BytesIO(b"before"), "z.txt")
    assert provider.wait(WAIT)
    faulty.fault = lambda method, path: 503 if method == "PUT" else None
    folder = provider.within("in")
    file = folder.save(io.BytesIO(b"content"), "a.txt")
    assert file.exists()
    assert folder.exists(file.filename)
    with file.open() as stream:
        assert stream.read() == b"content"
    assert provider.size(str(file)) == 7
    assert abs(datetime.now(UTC) - provider.modified(str(file))) < timedelta(minutes=1)
    assert [(str(it), it.size) for it in provider.list()] == [
        (str(file), 7),
        (str(stored_file), 6),
    ]
    assert [str(it) for it in folder.list("a")] == [str(file)]
    copy = file.copy("copy.txt")
    with copy.open() as stream:
        assert stream.read() == b"content"
    faulty.fault = lambda method, path: None
    assert provider.wait(WAIT)
    assert len(stored(config)) == 3


def test_deleted_while_waiting(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    ends: list[Any],
) -> None:
    """A file that is deleted while S3 is down never comes back."""
    faulty.fault = lambda method, path: "drop"
    files = [provider.save(io.BytesIO(b"x"), "a.txt") for _ in range(6)]
    for file in files[:3]:
        file.delete()
        assert not file.exists()
        with pytest.raises(NotFoundError, match="is not in the store"):
            file.open()
        with pytest.raises(NotFoundError, match="is not in the store"):
            provider.size(str(file))
    assert {job.state for job in provider.pending()} == {
        JobState.WAITING,
        JobState.DROPPED,
    }
    faulty.fault = lambda method, path: None
    until(lambda: not provider.pending(), "they are not sent")
    assert stored(config).keys() == {str(file) for file in files[3:]}
    until(lambda: len(ends) == 3, "not all is told")
    assert {name for name, _ in ends} == {str(file) for file in files[3:]}


@pytest.mark.parametrize("fault", ["lose", None], ids=["answer lost", "answered"])
def test_deleted_while_it_is_sent(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    fault: str | None,
) -> None:
    """A file that is deleted while it is being sent is deleted in S3, too."""
    sent: list[str] = []

    def delete_first(method: str, path: str) -> str | None:
        if method == "PUT" and not sent:
            sent.append(path)
            provider.delete(path.rsplit("/", 1)[1].partition("?")[0])
            return fault
        return None

    faulty.fault = delete_first
    file = provider.save(io.BytesIO(b"x"), "a.txt")
    until(lambda: not provider.pending(), "it does not end")
    assert len(sent) == 1
    assert stored(config) == {}
    assert not file.exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"STORE_S3_OBJECT_PARAMETERS": {"StorageKlass": "X"}}, "Unknown parameter"),
        ({"STORE_S3_ACCESS_KEY": "wrong"}, "InvalidAccessKeyId"),
        ({"STORE_S3_BUCKET": "no-such-bucket"}, "NoSuchBucket"),
        (
            {"STORE_S3_ACCESS_KEY": None, "STORE_S3_SECRET_KEY": None},
            "Unable to locate credentials",
        ),
    ],
    ids=["parameter", "key", "bucket", "credentials"],
)
def test_configuration_errors(
    config: dict[str, Any],
    more: dict[str, Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A permanent error is reported once, after one attempt."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    app = Flask(__name__)
    app.config.update({**config, **more})
    Store(app)
    errors = []

    def tell(_: Flask, file: object, error: Exception) -> None:
        errors.append(str(error))

    provider = provider_of(app)
    with upload_failed.connected_to(tell, app):
        provider.save(io.BytesIO(b"x"), "a.txt")
        assert provider.wait(WAIT)
    assert len(errors) == 1
    assert reason in errors[0]
    (job,) = provider.pending()
    assert (job.state, job.attempts) == (JobState.FAILED, 1)


def test_no_waiting_behind_others(
    faulty: harness.FaultyServer,
    provider: S3GeventStore,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More jobs in back-off than workers do not keep a good one."""
    monkeypatch.setattr(courier_module, "FIRST_DELAY", 20.0)
    monkeypatch.setattr(courier_module, "LONGEST_DELAY", 20.0)
    faulty.always(503, method="PUT", having="bad")
    for _ in range(8):
        provider.save(io.BytesIO(b"x"), "bad.txt")
    good = provider.save(io.BytesIO(b"good"), "good.txt")
    until(lambda: provider.journal.find(str(good)) is None, "it waits behind others")
    assert stored(config) == {str(good): b"good"}
    assert len(provider.pending()) == 8


def test_jobs_command(
    faulty: harness.FaultyServer,
    app: Flask,
    provider: S3GeventStore,
    config: dict[str, Any],
) -> None:
    """Failed uploads are listed, retried by the process that runs, and dropped."""
    faulty.always(403, method="PUT", having="bad")
    bad = [provider.save(io.BytesIO(b"x"), f"bad{it}.txt") for it in range(2)]
    good = provider.save(io.BytesIO(b"x"), "good.txt")
    assert provider.wait(WAIT)
    status, output = run(app, "jobs")
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == 2
    for file, line in zip(bad, lines, strict=True):
        assert line.split()[1:5] == ["failed", "1", "1", str(file)]
        assert line.endswith("S3 said Made up")
    first = json.loads(run(app, "jobs", "--json")[1].splitlines()[0])
    assert (first["name"], first["state"]) == (str(bad[0]), "failed")
    assert run(app, "resume")[0] == 1
    assert run(app, "jobs", "drop", lines[0].split()[0]) == (0, "")
    until(lambda: len(provider.pending()) == 1, "it is not dropped")
    status, output = run(app, "jobs", "drop", "none")
    assert (status, "no upload none is waiting" in output) == (1, True)
    faulty.fault = lambda method, path: None
    assert run(app, "jobs", "retry") == (0, "")
    until(lambda: not provider.pending(), "it is not sent by the process that runs")
    assert stored(config).keys() == {str(bad[1]), str(good)}
    assert run(app, "jobs") == (0, "")
    status, output = run(app, "jobs", "retry", "none")
    assert (status, "no upload none is waiting" in output) == (1, True)


def test_resume_goes_on(
    faulty: harness.FaultyServer, app: Flask, config: dict[str, Any]
) -> None:
    """The command sends all that it can, and names the others."""
    provider = provider_of(app)
    provider.enqueue = lambda store, job_id: None
    files = [
        provider.save(io.BytesIO(b"x"), name) for name in ("a.txt", "bad.txt", "c.txt")
    ]
    faulty.always(403, method="PUT", having="bad")
    status, output = run(app, "resume")
    assert status == 1
    assert f"{files[1]}: cannot save" in output
    assert "1 uploads have not been sent" in output
    assert stored(config).keys() == {str(files[0]), str(files[2])}
    assert run(app, "resume", "--timeout", "0")[0] == 1


PATCH = "from gevent import monkey; monkey.patch_all()"
SAVE = """
import io, json, os, signal, sys
from flask_store.config import Config
from flask_store.stores.s3 import S3GeventStore

store = S3GeventStore(config=Config.from_mapping(json.loads(sys.argv[1])))
if sys.argv[2] == "queued":
    store.enqueue = lambda store, job_id: None
for number in range(int(sys.argv[3])):
    print(store.save(io.BytesIO(b"%d" % number), "a.txt"), flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["queued", "killed"])
def test_left_by_another_process(
    faulty: harness.FaultyServer, app: Flask, config: dict[str, Any], how: str
) -> None:
    """Uploads that another process leaves are sent by a running one."""
    courier = provider_of(app).courier
    courier.start()
    until(lambda: courier._next_look, "it does not look")
    faulty.fault = lambda method, path: "drop"
    left = subprocess.run(
        python(SAVE, json.dumps(config), how, "3"),
        stdout=subprocess.PIPE,
        text=True,
        timeout=WAIT,
        env=ENVIRON,
    )
    names = left.stdout.split()
    assert len(names) == 3
    faulty.fault = lambda method, path: None
    until(lambda: not provider_of(app).pending(), "they are not sent")
    assert stored(config) == {name: b"%d" % it for it, name in enumerate(names)}


@pytest.mark.parametrize("worker", ["sync", "gevent"])
def test_worker_without_traffic(
    worker: str, faulty: harness.FaultyServer, config: dict[str, Any], tmp_path: Path
) -> None:
    """A worker that starts to send by itself sends what others left, unasked."""
    faulty.fault = lambda method, path: "drop"
    left = subprocess.run(
        python(SAVE, json.dumps(config), "killed", "3"),
        stdout=subprocess.PIPE,
        text=True,
        timeout=WAIT,
        env=ENVIRON,
    )
    faulty.fault = lambda method, path: None
    (tmp_path / "lone_app.py").write_text(APP)
    (tmp_path / "gunicorn.conf.py").write_text(
        "def post_worker_init(worker):\n"
        "    from lone_app import app, store\n"
        "    store.start(app)\n"
    )
    options = ("--config", str(tmp_path / "gunicorn.conf.py"))
    environ = {"STORE_TEST_CONFIG": json.dumps(config)}
    app = tmp_path / "lone_app.py"
    names = left.stdout.split()
    with harness.gunicorn(app, *options, worker=worker, environ=environ):
        until(lambda: not list((tmp_path / "spool").rglob("*.json")), "they are left")
    assert stored(config).keys() == set(names)


def test_process_that_exits(config: dict[str, Any]) -> None:
    """A process that saves and exits sends before it is gone."""
    done = subprocess.run(
        python(SAVE, json.dumps({**config, "STORE_SPOOL_DRAIN": WAIT}), "waits", "5"),
        stdout=subprocess.PIPE,
        text=True,
        timeout=WAIT,
        check=True,
        env=ENVIRON,
    )
    assert stored(config).keys() == set(done.stdout.split())


def test_limit_of_the_drain(
    faulty: harness.FaultyServer, config: dict[str, Any]
) -> None:
    """A process that exits while S3 is down waits only for the drain time."""
    faulty.fault = lambda method, path: 503
    # Without a limit it would never end.
    done = subprocess.run(
        python(SAVE, json.dumps({**config, "STORE_SPOOL_DRAIN": 0.5}), "waits", "2"),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
        env=ENVIRON,
    )
    assert "2 uploads stay in the spool" in done.stderr


@pytest.mark.parametrize("limit", [0.0, 0.2])
@pytest.mark.parametrize("patch", ["", PATCH], ids=["threads", "greenlets"])
def test_exit_in_the_middle(
    faulty: harness.FaultyServer, config: dict[str, Any], patch: str, limit: float
) -> None:
    """A process that exits while it sends ends as it would have, and crashes never."""
    draw = random.Random(7)

    def fail_late(method: str, path: str) -> int:
        time.sleep(draw.uniform(0, 0.05))
        return 503

    faulty.fault = fail_late
    more = {"STORE_SPOOL_DRAIN": limit, "STORE_S3_ATTEMPTS": 5}
    script = f"{patch}{SAVE}\nsys.exit(7)"
    done = subprocess.run(
        python(script, json.dumps({**config, **more}), "waits", "8"),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env=ENVIRON,
    )
    assert done.returncode == 7, done.stderr
    assert "8 uploads stay" in done.stderr or not limit


def test_locks_of_nfs(
    app: Flask,
    provider: S3GeventStore,
    ends: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Uploads are sent where only a descriptor that can write can lock, as on NFS."""
    lock = fcntl.flock

    def lock_of_nfs(descriptor: int, operation: int) -> None:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if operation & fcntl.LOCK_EX and mode == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_of_nfs)
    left = provider.journal.folder / f"{HIDDEN_PREFIX}left"
    left.parent.mkdir(parents=True)
    left.touch()
    with app.app_context():
        file = Store().Provider().save(io.BytesIO(b"x"), "a.txt")
    until(lambda: ends, "it was not sent")
    assert ends == [(str(file), None)]
    assert list(provider.journal.leftovers()) == [left]


APP = """
import os, json
from flask import Flask, request
from flask_store import Store

app = Flask(__name__)
app.config.update(json.loads(os.environ["STORE_TEST_CONFIG"]))
store = Store(app)


@app.post("/")
def save():
    return str(store.Provider().save(request.stream, "a.txt"))
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_sigterm(
    worker: str, faulty: harness.FaultyServer, config: dict[str, Any], tmp_path: Path
) -> None:
    """A worker that is stopped sends what it has acknowledged before it goes."""
    (tmp_path / "sigterm_app.py").write_text(APP)
    gate = time.monotonic() + 10 * WAIT
    faulty.fault = lambda method, path: (
        503 if method == "PUT" and time.monotonic() < gate else None
    )
    environ = {"STORE_TEST_CONFIG": json.dumps({**config, "STORE_SPOOL_DRAIN": WAIT})}
    app = tmp_path / "sigterm_app.py"
    options = ("--graceful-timeout", str(int(WAIT)))
    with harness.gunicorn(app, *options, worker=worker, environ=environ) as server:
        names = []
        for _ in range(8):
            request = urllib.request.Request(server.url, b"content")
            with urllib.request.urlopen(request, timeout=WAIT) as response:
                names.append(response.read().decode())
        assert stored(config) == {}
        gate = time.monotonic() + 0.5
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(2 * WAIT)
    assert stored(config) == dict.fromkeys(names, b"content")


def test_failing_queue(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that takes nothing costs no upload."""

    def fail(store: str, job_id: str) -> None:
        raise ConnectionError("made up")

    app = Flask(__name__)
    app.config.update(config)
    Store(app, enqueue=fail)
    file = provider_of(app).save(io.BytesIO(b"x"), "a.txt")
    assert "could not be queued" in caplog.text
    assert file.exists()
    assert run(app, "resume")[0] == 0
    assert stored(config) == {str(file): b"x"}


def test_queue(faulty: harness.FaultyServer, config: dict[str, Any]) -> None:
    """A queue gets the store and the id; its worker is told to try again."""
    queued: list[tuple[str, str]] = []
    app = Flask(__name__)
    app.config.update(config)
    Store(app, enqueue=lambda store, job_id: queued.append((store, job_id)))
    provider = provider_of(app)
    app.test_client().get("/")
    files = [provider.save(io.BytesIO(b"x"), "a.txt") for _ in range(2)]
    files[1].delete()
    assert [store for store, _ in queued] == ["default"] * 3
    faulty.fault = lambda method, path: 503
    with app.app_context():
        with pytest.raises(BackendError, match=r"cannot send .* S3 said"):
            deliver(*queued[0])
        faulty.fault = lambda method, path: None
        for job in queued:
            deliver(*job)
    assert stored(config) == {str(files[0]): b"x"}
    assert provider.pending() == []


RQ_APP = """
import json, os
from flask import Flask
from redis import Redis
from rq import Queue, Retry

from flask_store import Store, deliver

queue = Queue(connection=Redis.from_url(os.environ["TEST_REDIS"]))


def enqueue(store, job_id):
    queue.enqueue(send, store, job_id, retry=Retry(max=10))


def send(store, job_id):
    with create_app().app_context():
        deliver(store, job_id)


def create_app():
    app = Flask(__name__)
    app.config.update(json.loads(os.environ["STORE_TEST_CONFIG"]))
    Store(app, enqueue=enqueue)
    return app
"""


def test_rq(
    faulty: harness.FaultyServer,
    config: dict[str, Any],
    redis_url: str,
    tmp_path: Path,
) -> None:
    """RQ's workers send the uploads, on a real Redis, and again after an outage."""
    pytest.importorskip("rq")
    (tmp_path / "rq_app.py").write_text(RQ_APP)
    environ = {
        **ENVIRON,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "TEST_REDIS": redis_url,
        "STORE_TEST_CONFIG": json.dumps(config),
    }
    save = """
        import io
        from rq_app import create_app
        provider = create_app().extensions["store"].provider
        for number in range(4):
            print(provider.save(io.BytesIO(b"%d" % number), "a.txt"))
        """
    done = subprocess.run(
        python(save), stdout=subprocess.PIPE, text=True, check=True, env=environ
    )
    names = done.stdout.split()
    assert stored(config) == {}
    failed: list[str] = []

    def first(method: str, path: str) -> int | None:
        if method == "PUT" and len(failed) < 2:
            failed.append(path)
            return 503
        return None

    faulty.fault = first
    work = """
        import os, sys
        from redis import Redis
        from rq import Queue, SimpleWorker
        connection = Redis.from_url(os.environ["TEST_REDIS"])
        SimpleWorker([Queue(connection=connection)], connection=connection).work(
            burst=True, logging_level="ERROR")
        """
    subprocess.run(
        python(work), env=environ, cwd=tmp_path, check=True, timeout=2 * WAIT
    )
    assert stored(config) == {name: b"%d" % it for it, name in enumerate(names)}
    assert len(failed) == 2


TENANT = """
import io, json, random, sys, time
from flask_store.config import Config
from flask_store.stores.s3 import S3GeventStore
from flask_store import _courier as courier

courier.LOOK_SECONDS, courier.LONGEST_DELAY, courier.BUSY_SECONDS = 0.2, 0.5, 0.3
store = S3GeventStore(config=Config.from_mapping(json.loads(sys.argv[1])))
store.start()
for number in range(int(sys.argv[3])):
    data = f"{sys.argv[2]}-{number}"
    file = store.save(io.BytesIO(data.encode()), "same.txt")
    print("saved", file, data, flush=True)
    if number % 8 == 0:
        # Before: a kill in between leaves open which.
        print("deleting", file, flush=True)
        store.delete(str(file))
        print("deleted", file, flush=True)
"""


@pytest.mark.timeout(900)
def test_tenants_environments_kills_and_outages(
    faulty: harness.FaultyServer, config: dict[str, Any], tmp_path: Path
) -> None:
    """Two tenants in two environments share a spool; each finds its own, and all."""
    count, kills = (200, 6) if LONG else (20, 1)
    with harness.faulty_server(faulty.server) as staging:
        prefix = str(config["STORE_PATH"]).strip("/")
        places = {
            f"{kind}-{tenant}": {
                **config,
                "STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
                "STORE_PATH": f"{prefix}/{kind}/{tenant}",
            }
            for kind, server in (("live", faulty), ("staging", staging))
            for tenant in ("a", "ab")
        }
        logs = {label: tmp_path / f"{label}.log" for label in places}
        left = dict.fromkeys(places, kills)
        begun = time.monotonic()
        running: dict[str, subprocess.Popen[bytes]] = {}

        def down(method: str, path: str) -> str | None:
            return "drop" if int((time.monotonic() - begun) * 2) % 2 else None

        faulty.fault = staging.fault = down

        def start(label: str) -> None:
            with logs[label].open("ab") as log:
                code = python(TENANT, json.dumps(places[label]), label, str(count))
                running[label] = subprocess.Popen(code, stdout=log, env=ENVIRON)

        for label in places:
            start(label)
        while running:
            time.sleep(0.1)
            assert time.monotonic() - begun < 800
            for label, process in list(running.items()):
                if process.poll() is not None:
                    del running[label]
                elif left[label] and b"saved" in logs[label].read_bytes():
                    left[label] -= 1
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    start(label)
        faulty.fault = staging.fault = lambda method, path: None
        for label, place in places.items():
            check_place(label, place, logs[label].read_text(), count)


def check_place(label: str, place: dict[str, Any], log: str, count: int) -> None:
    """Check that a place has what was acknowledged, and nothing that was deleted."""
    store = S3GeventStore(config=Config.from_mapping(place))
    store.start()
    until(lambda: not store.pending(), f"{label} has not ended")
    words = [line.split() for line in log.splitlines()]
    saved = {it[1]: it[2].encode() for it in words if it[0] == "saved"}
    maybe = {it[1] for it in words if it[0] == "deleting"}
    deleted = {it[1] for it in words if it[0] == "deleted"}
    found = stored(place)
    assert not deleted & found.keys()
    assert all(found.get(it) == saved[it] for it in saved.keys() - maybe)
    # A kill between the acknowledgement and the line leaves a file that nobody knows.
    assert all(data.startswith(f"{label}-".encode()) for data in found.values())
    assert len(saved) >= count


def test_prefix_of_what_waits(
    faulty: harness.FaultyServer, provider: S3GeventStore, config: dict[str, Any]
) -> None:
    """Deleting by prefix takes what waits along, and pages show it."""
    provider.save(io.BytesIO(b"x"), "in/sent.txt")
    assert provider.wait(WAIT)
    faulty.fault = lambda method, path: 503 if method == "PUT" else None
    waiting = provider.save(io.BytesIO(b"x"), "in/waits.txt")
    other = provider.save(io.BytesIO(b"x"), "other.txt")
    page = provider.page("in/")
    assert len(page.files) == 2
    assert str(waiting) in {str(file) for file in page.files}
    assert provider.delete_prefix("in/") == 2
    faulty.fault = lambda method, path: None
    until(lambda: not provider.pending(), "they do not end")
    assert stored(config) == {str(other): b"x"}
