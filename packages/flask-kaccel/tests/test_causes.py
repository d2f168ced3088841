"""Causes that a check finds for unusual responses."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from werkzeug.datastructures import Headers

from flask_kaccel import Kaccel
from flask_kaccel._causes import SLOW
from flask_kaccel._causes import Problem
from flask_kaccel._causes import answered
from flask_kaccel._causes import directory
from flask_kaccel._causes import missing
from flask_kaccel._causes import validators
from flask_kaccel._fields import CHECK_HEADER
from flask_kaccel._files import File
from flask_kaccel._files import Location
from flask_kaccel._files import find_file
from flask_kaccel._probe import FLASK
from flask_kaccel._probe import HANDED
from flask_kaccel._site import Expected
from flask_kaccel._site import Reply
from flask_kaccel._state import State


CONTENT = b"some text"
BY_APP = {CHECK_HEADER: FLASK}
BY_BLOCK = {CHECK_HEADER: HANDED}


def state(backend: str = "nginx") -> State:
    """Return the state of an app behind a front."""
    app = Flask(__name__)
    app.config.update(
        KACCEL_BACKEND=backend,
        KACCEL_FILES_PATH="/srv/files",
        KACCEL_REDIRECT_PATH="/protected/",
    )
    Kaccel(app)
    found: State = app.extensions["kaccel"]
    return found


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file that the app hands over."""
    path = tmp_path / "a.txt"
    path.write_bytes(CONTENT)
    found = find_file(str(path), Location(f"{tmp_path}/", "/protected/"))
    assert found is not None
    return found


def reply(
    status: int = 200,
    body: bytes = CONTENT,
    fields: dict[str, str] | None = None,
    *,
    slow: bool = False,
) -> Reply:
    """Return what the site answered."""
    return Reply("/files", status, Headers(fields), body, slow)


def wants(file: File | None = None, store: str | None = None) -> Expected:
    """Return what the app itself answers."""
    return Expected(200, Headers(), file, store, lines={})


def test_nothing_handed_over() -> None:
    """A URL whose answer has nothing to do with a file is not to be checked."""
    problem = answered(state(), wants(), reply())
    assert problem is not None
    assert problem.symptom == "the app sends no file for this URL"


@pytest.mark.parametrize(
    ("status", "cause"),
    [(404, "signs with another key"), (403, "pass --cookie or --header")],
)
def test_app_that_says_no_path(file: File, status: int, cause: str) -> None:
    """An app of another key does not say what it was asked for."""
    problem = answered(state(), wants(file), reply(status, b"", BY_APP))
    assert problem is not None
    assert cause in problem.cause


def test_object_is_missing() -> None:
    """A store that has no such object is the cause of a 404."""
    wanted = wants(store="/_stores/bucket/key")
    problem = answered(state(), wanted, reply(404, b"", BY_BLOCK))
    assert problem == Problem(
        "the front answers 404",
        "the store has no such object, or refuses the signature",
    )


def test_other_directory_of_caddy(file: File) -> None:
    """Caddy that looks in another directory is told which one it needs."""
    problem = answered(state("caddy"), wants(file), reply(404, b""))
    assert problem is not None
    assert "`root * " in problem.cause


def test_slow(file: File) -> None:
    """A file of which only a part has come in time is slow."""
    problem = answered(state(), wants(file), reply(body=b"so", slow=True))
    assert problem is not None
    assert problem.symptom == SLOW


def test_content_of_an_object() -> None:
    """A store's response cannot be compared, and is accepted."""
    assert answered(state(), wants(store="/_stores/key"), reply(body=b"any")) is None


def test_unreadable(file: File) -> None:
    """A file that this process cannot read is not compared."""
    Path(file.path).unlink()
    problem = answered(state(), wants(file), reply())
    assert problem is not None
    assert problem.symptom.startswith("this process cannot read the file: No such file")


def test_compressed(file: File) -> None:
    """A front that compresses a file is told how not to."""
    problem = answered(
        state(), wants(file), reply(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
    )
    assert problem == Problem("the front compresses it", "add `gzip off;` to the block")


@pytest.mark.parametrize(
    ("backend", "cause"), [("x-sendfile", "Header unset ETag"), ("nginx", "older one")]
)
def test_other_validator(file: File, backend: str, cause: str) -> None:
    """Another ETag has another cause with each front."""
    problem = validators(state(backend), file, reply(fields={"ETag": '"other"'}))
    assert problem is not None
    assert cause in problem.cause


def test_no_last_modified(file: File) -> None:
    """A date that is lost is reported."""
    problem = validators(state(), file, reply(fields={"ETag": file.etag}))
    assert problem is not None
    assert problem.symptom == "it has no Last-Modified"


def test_gone(file: File) -> None:
    """A path below a file is neither another file nor a redirect."""
    assert missing(wants(file), reply()) is None
    problem = missing(wants(file), reply(301, b""))
    assert problem == Problem("301, not 404", "add `try_files $uri =404;`")


def test_directory_is_shown() -> None:
    """A front that lists a directory is told how not to."""
    problem = directory(reply(body=b"Index of /"), reply(404, b""))
    assert problem is not None
    assert problem.symptom == "the contents of a directory are shown"
