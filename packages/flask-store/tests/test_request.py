"""The request's body, whole or refused, and sources that fail."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from flask_store import BackendError
from flask_store import DisconnectedError
from flask_store import NoFileError
from flask_store.config import Config
from flask_store.stores.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A local store."""
    return LocalStore(config=Config(path=str(tmp_path / "uploads")))


def context(data: bytes, **more: Any) -> Any:
    """Return a request's context with a body as gunicorn gives it."""
    environ = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(data), **more}
    return Flask(__name__).test_request_context(
        method="POST", environ_overrides=environ
    )


@pytest.mark.parametrize("own", ["stream", "wsgi.input"])
def test_short_body(store: LocalStore, own: str) -> None:
    """A body that is shorter than announced is not saved."""
    with context(b"x" * 30, CONTENT_LENGTH="90"):
        body: Any = request.stream if own == "stream" else request.environ[own]
        with pytest.raises(DisconnectedError, match="ended after 30 of 90 bytes"):
            store.save(body, "a.bin")
    assert list(store.list()) == []
    with context(b"x" * 90, CONTENT_LENGTH="90"):
        assert store.save(request.stream, "a.bin").size == 90


def test_other_streams_are_not_compared(store: LocalStore) -> None:
    """Only the request's own body is as long as the request says."""
    with context(b"", CONTENT_LENGTH="90"):
        assert store.save(io.BytesIO(b"other"), "a.bin").size == 5


def test_chunked_body_that_nobody_decodes(store: LocalStore) -> None:
    """A chunked body that the server hides is not mistaken for an empty one."""
    more = {"wsgi.input_terminated": False, "HTTP_TRANSFER_ENCODING": "chunked"}
    with (
        context(b"4\r\nabcd\r\n0\r\n\r\n", **more),
        pytest.raises(DisconnectedError, match="does not decode chunked"),
    ):
        store.save(request.stream, "a.bin")


class Failing(io.RawIOBase):
    """A source that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("the peer went away"), "the peer went away"),
        (OSError(5, "x"), "Input/output error"),
    ],
)
def test_source_that_fails(store: LocalStore, error: Exception, reason: str) -> None:
    """An error of the source is not reported as one of the store."""
    source: Any = Failing(error)
    with pytest.raises(BackendError, match=rf"cannot read 'a\.bin': {reason}"):
        store.save(source, "a.bin")


def test_errors_of_the_body(store: LocalStore) -> None:
    """A server's own errors mean a client that went away; Flask's limit does not."""
    for error, expected in (
        (OSError("bad chunk"), DisconnectedError),
        (RequestEntityTooLarge(), RequestEntityTooLarge),
    ):
        with (
            context(b"", **{"wsgi.input": Failing(error)}),
            pytest.raises(expected, match=r"400|413"),
        ):
            store.save(request.environ["wsgi.input"], "a.bin")


FORM = (
    b"--b\r\n"
    b'Content-Disposition: form-data; name="%b"; filename="a.bin"\r\n\r\n%b\r\n'
    b"--b--\r\n"
)
FORM_TYPE = {"CONTENT_TYPE": "multipart/form-data; boundary=b"}


# Werkzeug leaves the file of a cut part to the collector.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_cut_form(store: LocalStore, announced: bool) -> None:
    """A form that is cut is the client's abort, not a form without a file."""
    whole = FORM % (b"afile", b"x" * 500)
    length = {"CONTENT_LENGTH": str(len(whole))} if announced else {}
    for end in (20, 90, 300, len(whole) - 10):
        with (
            context(whole[:end], **FORM_TYPE, **length),
            pytest.raises(DisconnectedError, match=r"ended early or is malformed"),
        ):
            store.save(request.files.get("afile"))
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FORM % (b"other", b"x" * 500), FORM_TYPE),
        (b"--b--\r\n", FORM_TYPE),
        (b"a=b", {"CONTENT_TYPE": "application/x-www-form-urlencoded"}),
    ],
    ids=["other field", "no field", "no file"],
)
def test_whole_form_without_the_file(
    store: LocalStore, body: bytes, kind: dict[str, str]
) -> None:
    """A complete form without the file has its own error."""
    with (
        context(body, CONTENT_LENGTH=str(len(body)), **kind),
        pytest.raises(NoFileError, match="No file was sent"),
    ):
        store.save(request.files.get("afile"))


def test_no_form(store: LocalStore) -> None:
    """Nothing is read of a form that the app has not looked at."""
    body = FORM % (b"afile", b"x")
    with context(body, CONTENT_LENGTH="500", **FORM_TYPE):
        with pytest.raises(NoFileError, match="No file was sent"):
            store.save(None)
        assert request.environ["wsgi.input"].tell() == 0
