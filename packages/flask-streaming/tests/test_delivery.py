"""A streamed body on its way: context, failures, clients that leave, reports."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import abort
from flask import g
from flask import got_request_exception
from flask import request
from flask import session
from flask.testing import FlaskClient

from flask_streaming import ClientDisconnected
from flask_streaming import Streaming
from flask_streaming import _delivery as delivery
from flask_streaming import _pump as pump
from flask_streaming import _wire as wire
from flask_streaming import client_disconnected
from flask_streaming import event_stream
from flask_streaming import stream_csv
from flask_streaming import stream_finished
from flask_streaming import stream_with_context


class Recorder:
    """The events, in order."""

    def __init__(self, app: Flask) -> None:
        self.steps: list[Any] = []
        app.after_request(self.after)
        app.teardown_request(lambda error: self.add("request", error))
        app.teardown_appcontext(lambda error: self.add("app", error))

    def add(self, *step: Any) -> None:
        """Note a step."""
        self.steps.append(step)

    def after(self, response: Response) -> Response:
        """Note the end of the view."""
        self.add("after")
        response.call_on_close(lambda: self.add("close"))
        return response

    def names(self) -> list[str]:
        """Return the steps without what belongs to them."""
        return [step[0] for step in self.steps]


@pytest.fixture
def app() -> Flask:
    """An app with the extension."""
    app = Flask(__name__)
    app.secret_key = "secret"
    Streaming(app)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


@pytest.fixture
def record(app: Flask) -> Recorder:
    """The events in the app."""
    return Recorder(app)


@pytest.fixture
def ends(app: Flask) -> Iterator[list[dict[str, Any]]]:
    """The arguments of ``stream_finished``."""
    found: list[dict[str, Any]] = []

    def add(sender: Flask, **values: Any) -> None:
        found.append(values)

    with stream_finished.connected_to(add, app):
        yield found


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the server's, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield server, client


def failing() -> Iterator[str]:
    """Fail at the first part."""
    yield str(1 / 0)


def stream(app: Flask, record: Recorder, fail: bool = False) -> None:
    """Add a view that streams with the request's context."""

    @app.route("/", methods=["GET", "POST"])
    def view() -> Response:
        g.handle = "open"

        @stream_with_context
        def generate() -> Iterator[str]:
            try:
                yield f"{g.handle} "
                yield request.method
                if fail:
                    raise OSError("broken")
            finally:
                record.add("finally")

        return Response(generate())


def test_torn_down_once(app: Flask, client: FlaskClient, record: Recorder) -> None:
    """The context lives as long as the body, and ends once."""
    stream(app, record)
    with client.get("/") as response:
        assert record.names() == ["after"]
        assert response.get_data() == b"open GET"
        assert record.names() == ["after", "finally", "request", "app"]
    assert record.names() == ["after", "finally", "request", "app", "close"]
    assert record.steps[2:4] == [("request", None), ("app", None)]


def test_torn_down_when_the_client_leaves(
    app: Flask, client: FlaskClient, record: Recorder, ends: list[dict[str, Any]]
) -> None:
    """So too when the body is not read to its end."""
    stream(app, record)
    with client.get("/") as response:
        next(iter(response.response))
    assert record.names() == ["after", "finally", "request", "app", "close"]
    assert isinstance(record.steps[2][1], ClientDisconnected)
    assert [type(end["exception"]) for end in ends] == [ClientDisconnected]


def test_torn_down_when_the_stream_fails(
    app: Flask, client: FlaskClient, record: Recorder
) -> None:
    """So too at an error, which the functions are given."""
    app.testing = True
    stream(app, record, fail=True)
    with client.get("/") as response, pytest.raises(OSError, match="broken"):
        list(response.response)
    assert record.names() == ["after", "finally", "request", "app", "close"]
    assert record.steps[2][1] is record.steps[3][1]
    assert str(record.steps[2][1]) == "broken"


@pytest.mark.parametrize(
    ("method", "headers"), [("HEAD", {}), ("GET", {"If-None-Match": '"v1"'})]
)
def test_no_body(
    app: Flask,
    client: FlaskClient,
    record: Recorder,
    ends: list[dict[str, Any]],
    method: str,
    headers: dict[str, str],
) -> None:
    """Without a body no row is read; the source is closed and the context ends."""

    class Rows:
        def __iter__(self) -> Iterator[Any]:
            record.add("read")
            return iter([])

        def close(self) -> None:
            record.add("closed")

    @app.get("/")
    def view() -> Response:
        return stream_csv(Rows(), etag="v1")

    with client.open("/", method=method, headers=headers) as response:
        assert response.headers["ETag"] == '"v1"'
        assert "Content-Length" not in response.headers
        assert response.status_code == (200 if method == "HEAD" else 304)
    assert "read" not in record.names()
    assert record.names().count("closed") == 1
    assert record.names().count("request") == 1
    assert ends == []


def test_client_that_keeps_the_context(app: Flask, record: Recorder) -> None:
    """A test can look at the request after a streamed response."""
    stream(app, record)
    with app.test_client() as client:
        assert client.get("/?a=1").get_data() == b"open GET"
        assert request.args["a"] == "1"
        assert record.names() == ["after", "finally"]
    assert record.names() == ["after", "finally", "request", "app"]


def test_body_that_is_none(app: Flask, client: FlaskClient, record: Recorder) -> None:
    """An object that is not iterable gives an error page, and the context ends."""

    @app.get("/")
    def view() -> Response:
        stream_with_context(iter("abc"))
        return Response(5)  # type: ignore[arg-type]

    assert client.get("/").status_code == 500
    assert record.names()[-2:] == ["request", "app"]


def test_wrapped_stream_keeps_the_context(
    app: Flask, client: FlaskClient, record: Recorder
) -> None:
    """A middleware or an after-request function may put the stream into its own."""
    stream(app, record)

    @app.after_request
    def wrap(response: Response) -> Response:
        body: Any = response.response
        response.response = (part.upper() for part in body)
        return response

    with client.get("/") as response:
        assert response.get_data() == b"OPEN GET"
    assert record.names().count("request") == 1


def test_dropped_stream_keeps_nothing(
    app: Flask, client: FlaskClient, record: Recorder
) -> None:
    """A view that changes its mind is torn down like any other."""

    @app.get("/")
    def view() -> str:
        stream_with_context(iter("abc"))
        return "text"

    @app.get("/error")
    def error() -> str:
        stream_with_context(iter("abc"))
        abort(418)

    for path in ("/", "/error"):
        client.get(path)
        assert record.names() == ["after", "request", "app"]
        record.steps.clear()


def test_unread_stream_is_torn_down(
    app: Flask, client: FlaskClient, record: Recorder
) -> None:
    """A test that looks at the status alone leaves no context behind."""
    stream(app, record)
    assert client.get("/").status_code == 200
    assert record.names() == ["after", "finally", "request", "app"]


def test_async_view(app: Flask, client: FlaskClient, record: Recorder) -> None:
    """The context is kept for the stream of an async view as well."""
    pytest.importorskip("asgiref")

    @app.get("/")
    async def view() -> Response:
        return Response(stream_with_context(request.path for _ in "ab"))

    with client.get("/") as response:
        assert response.get_data() == b"//"
    assert record.names() == ["after", "request", "app", "close"]


def test_database_connections_go_back(app: Flask, client: FlaskClient) -> None:
    """After aborted streams, no connection is checked out."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.pool.QueuePool, pool_size=20
    )

    @app.get("/")
    def view() -> Response:
        g.connection = engine.connect()
        numbers = sqlalchemy.text(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 5000) SELECT i, i FROM n"
        )
        return stream_csv(map(tuple, g.connection.execute(numbers)))

    @app.teardown_appcontext
    def disconnect(_: BaseException | None) -> None:
        g.connection.close()

    for _ in range(8):
        with client.get("/") as response:
            parts = iter(response.response)
            assert b"1,1\r\n" in bytes(next(parts))  # type: ignore[arg-type]
            assert engine.pool.checkedout() == 1
    with client.get("/") as response:
        assert response.get_data().count(b"\r\n") == 5000
    assert engine.pool.checkedout() == 0
    engine.dispose()


@pytest.mark.parametrize("place", ["view", "stream", "nested"])
def test_session_written_too_late(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """A change that can no longer reach the client is logged as a warning."""

    @app.get("/")
    def view() -> Response:
        def generate() -> Iterator[str]:
            yield "a"
            if place == "stream":
                session["late"] = True
            if place == "nested":
                session["cart"]["items"].append("late")

        session["cart"] = {"items": ["early"]}
        return Response(stream_with_context(generate()))

    client.get("/").get_data()
    warned = "a stream changed the session after the headers were sent" in caplog.text
    assert warned == (place != "view")


def test_good_stream_is_reported(
    app: Flask, client: FlaskClient, ends: list[dict[str, Any]]
) -> None:
    """The signal counts what was sent."""
    app.add_url_rule("/", "view", lambda: (part for part in ["ä", "", "bc"]))
    with client.get("/") as response:
        assert response.get_data() == "äbc".encode()
    [end] = ends
    assert (end["bytes"], end["chunks"], end["exception"]) == (4, 2, None)
    assert end["seconds"] > 0
    assert end["response"].status_code == 200


def test_failed_stream_is_reported(
    app: Flask,
    client: FlaskClient,
    ends: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the traceback, and both signals are sent."""
    app.testing = True
    app.add_url_rule("/path", "view", lambda: failing())
    caught = []

    def catch(sender: Flask, exception: Exception) -> None:
        caught.append(exception)

    with (
        got_request_exception.connected_to(catch, app),
        pytest.raises(ZeroDivisionError, match="division by zero"),
    ):
        client.get("/path").close()
    assert ends[0]["exception"] is caught[0]
    assert "GET /path failed after 0 bytes" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_error_while_closing_is_reported(
    app: Flask, client: FlaskClient, ends: list[dict[str, Any]]
) -> None:
    """A generator whose clean-up fails is a failed stream, and the context ends."""

    def generate() -> Iterator[str]:
        try:
            yield "a"
        finally:
            raise OSError("clean-up")

    class Body:
        def __iter__(self) -> Iterator[str]:
            return iter("a")

        def close(self) -> None:
            raise OSError("clean-up")

    app.add_url_rule("/left", "left", lambda: generate())
    app.add_url_rule("/read", "read", lambda: Response(Body()))
    response = client.get("/left")
    next(iter(response.response))
    with pytest.raises(OSError, match="clean-up"):
        response.close()
    response = client.get("/read")
    with pytest.raises(OSError, match="clean-up"):
        list(response.response)
    assert isinstance(ends[0]["exception"], ClientDisconnected)
    assert str(ends[1]["exception"]) == "clean-up"


def test_other_responses_are_left_alone(
    app: Flask, client: FlaskClient, ends: list[dict[str, Any]]
) -> None:
    """Text and files go their own way."""
    from flask import send_file

    app.add_url_rule("/text", "text", lambda: "text")
    app.add_url_rule("/file", "file", lambda: send_file(__file__))
    for path in ("/text", "/file"):
        with client.get(path) as response:
            assert response.get_data()
    assert ends == []


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"SERVER_PROTOCOL": "HTTP/1.1", "uwsgi.version": b"2"},
        {"SERVER_PROTOCOL": "HTTP/1.1", "gunicorn.socket": None},
    ],
    ids=["HTTP/1.0", "uwsgi", "werkzeug"],
)
def test_failure_resets(
    app: Flask,
    client: FlaskClient,
    connection: tuple[socket.socket, socket.socket],
    environ: dict[str, Any],
) -> None:
    """If a close ends the body, a failed stream ends with a reset."""
    app.testing = True
    server, peer = connection
    app.add_url_rule("/", "view", lambda: failing())
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        client.get("/", environ_overrides={**environ, "werkzeug.socket": server})
    server.close()
    with pytest.raises(ConnectionResetError, match="reset"):
        peer.recv(1)


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "loud"])
def test_client_that_left_is_noticed(
    app: Flask,
    client: FlaskClient,
    connection: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    silent: bool,
) -> None:
    """Without a write, between two parts, also if all parts are empty."""
    monkeypatch.setattr(delivery, "PROBE_SECONDS", 0)
    server, peer = connection
    closed = []

    def generate() -> Iterator[bytes]:
        try:
            yield b"a"
            peer.close()
            while True:
                yield b"" if silent else b"b"
        finally:
            closed.append(True)

    app.add_url_rule("/", "view", lambda: generate())
    response = client.get("/", environ_base={"gunicorn.socket": server})
    assert len(list(response.response)) < 3
    assert closed == [True]
    assert isinstance(ends[0]["exception"], ClientDisconnected)
    response.close()
    assert len(ends) == 1


def test_client_that_left_without_a_reset(
    app: Flask,
    client: FlaskClient,
    connection: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a reset, the server gets an error that it knows."""
    monkeypatch.setattr(delivery, "PROBE_SECONDS", 0)
    monkeypatch.setattr(wire, "reset", lambda environ: False)
    server, peer = connection
    peer.close()
    app.add_url_rule("/", "view", lambda: (part for part in "ab"))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(
            ConnectionResetError, match=("The client disconnected before the end")
        ),
    ):
        client.get("/", environ_base={"gunicorn.socket": server}).close()
    assert caplog.text == ""


def waitress_environ(server: socket.socket) -> dict[str, Any]:
    """Return what waitress says."""

    class Channel:
        socket = server

        def check(self) -> bool:
            raise AssertionError

    return {"waitress.client_disconnected": Channel().check}


@pytest.mark.parametrize(
    "environ",
    [
        lambda server: {"gunicorn.socket": server},
        lambda server: {"werkzeug.socket": server},
        lambda server: {"uwsgi.version": b"2"},
        waitress_environ,
    ],
    ids=["gunicorn", "werkzeug", "uwsgi", "waitress"],
)
def test_probe(
    app: Flask,
    connection: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    environ: Callable[[socket.socket], dict[str, Any]],
) -> None:
    """The probe looks at the server's own socket and takes nothing from it."""
    server, peer = connection
    uwsgi = SimpleNamespace(connection_fd=server.fileno)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    monkeypatch.setattr(socket, "getdefaulttimeout", lambda: 5)
    with app.test_request_context(environ_base=environ(server)):
        assert client_disconnected() is False
        peer.sendall(b"next")
        assert client_disconnected() is False
        assert server.recv(10) == b"next"
        peer.close()
        assert client_disconnected() is True
        server.close()
        if "uwsgi.version" not in request.environ:
            assert client_disconnected() is None


def test_stream_of_known_length(app: Flask, client: FlaskClient) -> None:
    """A length does not stand in the way of the context."""

    @app.get("/")
    def view() -> Response:
        body = stream_with_context(request.path for _ in "ab")
        return Response(body, headers={"Content-Length": "2"})

    with client.get("/") as response:
        assert response.get_data() == b"//"


def test_nothing_to_probe(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a socket, or a C library, the answer is that it cannot be known."""
    with app.test_request_context():
        assert client_disconnected() is None
        assert wire.reset(request.environ) is False
    wire.library.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "darwin")
        assert (
            wire.disconnected({"gunicorn.socket": SimpleNamespace(fileno=int)}) is None
        )
    wire.library.cache_clear()


def test_uwsgi_does_not_tell_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iterable of events is read in a thread of ours, and may ask in it."""

    def connection_fd() -> int:
        raise SystemError("you can call uwsgi api function only from the main callable")

    monkeypatch.setitem(
        sys.modules, "uwsgi", SimpleNamespace(connection_fd=connection_fd)
    )
    assert wire.disconnected({"uwsgi.version": b"2"}) is None


def test_event_stream_lets_go(app: Flask, client: FlaskClient) -> None:
    """A subscription ends with its response, started or not."""
    subscriptions = []

    @app.get("/")
    def view() -> Response:
        subscriptions.append(Streaming().subscribe("news"))
        return event_stream(subscriptions[-1])

    for method in ("GET", "HEAD"):
        with client.open("/", method=method) as response:
            if method == "GET":
                next(iter(response.response))
        assert list(subscriptions[-1]) == []


def test_subscription_keeps_no_context(
    app: Flask, client: FlaskClient, record: Recorder
) -> None:
    """A client that listens for hours does not hold what the view opened."""

    @app.get("/")
    def view() -> Response:
        return event_stream(Streaming().subscribe("news"))

    with client.get("/") as response:
        assert next(iter(response.response))
        assert record.names() == ["after", "request", "app"]


@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
def test_wrapped_subscription_ends(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """A generator that waits for a subscription is woken when the client leaves."""
    monkeypatch.setattr(pump, "GRACE_SECONDS", 5 if early else 0.01)
    ended = threading.Event()
    left = threading.Event()

    @app.get("/")
    def view() -> Response:
        def generate() -> Iterator[Any]:
            assert early or left.wait(5)
            yield from Streaming().subscribe("news")
            ended.set()

        return event_stream(generate(), ping=0.01)

    with client.get("/") as response:
        parts = iter(response.response)
        assert next(parts) == next(parts) == b":\n\n"
    left.set()
    assert ended.wait(5)


@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "busy"])
@pytest.mark.parametrize("duration", [None, 0.05], ids=["left", "duration"])
def test_events_end_before_their_context(
    app: Flask,
    client: FlaskClient,
    record: Recorder,
    wait: bool,
    duration: float | None,
) -> None:
    """A generator of events cleans up within its context."""

    @app.get("/")
    def view() -> Response:
        def generate() -> Iterator[Any]:
            try:
                if wait:
                    yield from Streaming().subscribe("news")
                while True:
                    yield request.path
            finally:
                record.add("finally")

        return event_stream(generate(), ping=0.01, duration=duration)

    with client.get("/") as response:
        parts = iter(response.response)
        assert next(parts)
        assert next(parts)
        if duration:
            list(parts)
    assert record.names() == ["after", "finally", "request", "app", "close"]


@pytest.mark.parametrize(
    ("headers", "buffered"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, False),
        ({"Content-Type": "text/plain"}, False),
        ({"Content-Type": "application/x-ndjson"}, False),
        ({"Content-Type": "text/csv"}, True),
        ({"Content-Type": "application/zip"}, True),
        ({"Content-Type": "text/plain", "Content-Length": "5"}, True),
        ({"Content-Type": "text/plain", "Content-Disposition": "attachment"}, True),
        ({"Content-Type": "text/html", "Cache-Control": "public, max-age=60"}, True),
    ],
)
def test_proxy_buffers_downloads_alone(
    app: Flask, client: FlaskClient, headers: dict[str, str], buffered: bool
) -> None:
    """Content shown while it arrives is not buffered, unless the view says so."""

    @app.get("/")
    def view() -> Response:
        body = stream_with_context(iter(["first"]))
        return Response(body, headers={**headers, **dict(request.args)})

    found = client.get("/").headers.get("X-Accel-Buffering")
    assert found == (None if buffered else "no")
    chosen = client.get("/?X-Accel-Buffering=yes").headers["X-Accel-Buffering"]
    assert chosen == "yes"


def test_other_streams_are_buffered(app: Flask, client: FlaskClient) -> None:
    """Neither a table nor a generator without a context is the extension's to judge."""
    app.add_url_rule("/table", view_func=lambda: stream_csv([["a"]]), endpoint="table")
    app.add_url_rule("/plain", view_func=lambda: Response(iter(["a"])), endpoint="a")
    for path in ("/table", "/plain"):
        assert "X-Accel-Buffering" not in client.get(path).headers


def test_server_is_not_told_the_error_again(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """In production a server gets an error of ours, without the one that was logged."""
    app.testing = False
    app.add_url_rule("/", view_func=lambda: Response(iter(failing())))
    with pytest.raises(ConnectionResetError, match="has logged why") as raised:
        client.get("/").get_data()
    assert raised.value.__suppress_context__
    assert [record.exc_info is not None for record in caplog.records] == [True]
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        client.get("/").get_data()
