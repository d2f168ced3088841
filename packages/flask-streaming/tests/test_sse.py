"""Server-sent events, as the WHATWG's parser reads them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask
from flask import request
from hypothesis import given
from hypothesis import strategies as st

from flask_streaming import ServerSentEvent
from flask_streaming import Streaming
from flask_streaming import event_stream
from flask_streaming._pump import Pump
from flask_streaming._subscription import Gate


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


def parse(stream: bytes) -> list[dict[str, str]]:
    """Read a stream as the standard's section 9.2.6 says."""
    events = []
    event = {"data": "", "event": "", "id": ""}
    for line in re.split("\r\n|\n|\r", stream.decode()):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if event["data"]:
                events.append({**event, "data": event["data"][:-1]})
            event = {"data": "", "event": "", "id": event["id"]}
        elif name == "data":
            event["data"] += value + "\n"
        elif name in event:
            event[name] = value
    return events


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | LINE,
    st.none() | LINE,
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
)
def test_round_trip(
    data: str, event: str | None, last: str | None, comment: str | None
) -> None:
    """An event arrives as it was; its lines end at CR, LF and CRLF alone."""
    sent = ServerSentEvent(data, event, last, retry=5, comment=comment).encode()
    assert parse(sent) == [
        {
            "data": re.sub("\r\n|\r", "\n", data),
            "event": event or "",
            "id": last or "",
        }
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ServerSentEvent("a"), b"data: a\n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent(id="7", retry=9), b"id: 7\nretry: 9\n\n"),
        (ServerSentEvent(comment="a\nb"), b": a\n: b\n\n"),
        (
            ServerSentEvent("a\u2028b\x0b\u0085"),
            "data: a\u2028b\x0b\u0085\n\n".encode(),
        ),
        (ServerSentEvent("\ud800"), b"data: ?\n\n"),
    ],
    ids=["data", "empty", "no-data", "comment", "unicode", "surrogate"],
)
def test_encode(event: ServerSentEvent, expected: bytes) -> None:
    """The event that is sent."""
    assert event.encode() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"event": "a\ndata: forged"}, "event is .*: it must be one line"),
        ({"id": "1\r2"}, "id is .*: it must be one line without NUL"),
        ({"id": "1\x002"}, "id is .*: it must be one line without NUL"),
        ({"retry": -1}, "retry is -1: it must be at least 0 ms"),
    ],
    ids=["event", "id", "nul", "retry"],
)
def test_nothing_breaks_out_of_its_line(values: Any, message: str) -> None:
    """Text of a visitor cannot forge another field."""
    with pytest.raises(ValueError, match=message):
        ServerSentEvent("x", **values)


@pytest.mark.parametrize("retry", [1.5, True, "1"])
def test_retry_is_a_whole_number(retry: Any) -> None:
    """A client ignores a time that is not written in digits."""
    with pytest.raises(TypeError, match=r"retry is .*: it must be an int, in ms"):
        ServerSentEvent("x", retry=retry)


def test_end_is_answered_with_204(app: Flask) -> None:
    """A client that has seen the end of its channels is told to stop."""
    with app.test_request_context():
        streaming = Streaming()
        last = streaming.close("job")
        subscription = streaming.subscribe("job", last_event_id=last)
        assert event_stream(subscription).status_code == 204
        late = streaming.subscribe("job")
        with event_stream(late) as response:
            parts: Any = list(response.response)
        assert [part for part in parts if b"event: end" in part]


def test_no_position_before_a_gap(app: Flask) -> None:
    """A gap that was not told yet must not be hidden by a position."""
    with app.test_request_context():
        subscription = Streaming().subscribe("news", last_event_id="x")
        with event_stream(subscription, duration=0.1) as response:
            parts: Any = list(response.response)
    first, second, *_ = parts
    assert first == b":\n\n"
    assert b"event: gap\n" in second


@pytest.mark.parametrize("name", ["data", "event", "id", "comment"])
def test_fields_are_text(name: str) -> None:
    """A number as id, or data other than text, is refused where it is passed."""
    values: dict[str, Any] = {name: 5}
    with pytest.raises(TypeError, match=f"{name} is 5: it must be text"):
        ServerSentEvent(**values)


@pytest.fixture
def app() -> Flask:
    """An app with the extension."""
    app = Flask(__name__)
    Streaming(app)
    return app


def test_headers(app: Flask) -> None:
    """Nothing between here and the client is to hold a live stream back."""
    with app.test_request_context(), event_stream([]) as response:
        assert response.mimetype == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"


def test_what_is_sent(app: Flask) -> None:
    """A comment at once; then text as it is, and anything else as JSON."""
    events = ["a", {"b": 1}, ServerSentEvent("c", id="3")]
    with app.test_request_context(), event_stream(events) as response:
        first, *rest = response.response
    assert first == b":\n\n"
    assert b"".join(rest) == b'data: a\n\ndata: {"b": 1}\n\nid: 3\ndata: c\n\n'  # type: ignore[arg-type]


def test_retry(app: Flask) -> None:
    """The client can be told how long to wait."""
    with app.test_request_context(), event_stream([], retry=500) as response:
        assert list(response.response) == [b"retry: 500\n\n"]


def test_pings_go_on_while_the_source_waits(app: Flask) -> None:
    """Silence is broken by comments, from a source that knows nothing of them."""
    go_on = threading.Event()

    def source() -> Iterator[str]:
        go_on.wait(10)
        yield request.args["name"]

    with (
        app.test_request_context("/?name=Ada"),
        event_stream(source(), ping=0.01) as response,
    ):
        stream = iter(response.response)
        assert [next(stream) for _ in range(3)] == [b":\n\n"] * 3
        go_on.set()
        assert b"data: Ada\n\n" in list(stream)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ping": 0}, "ping is 0: set seconds above 0"),
        ({"duration": 0}, "duration is 0: set seconds above 0, or None"),
        ({"retry": -1}, "retry is -1: it must be at least 0 ms"),
    ],
    ids=["ping", "duration", "retry"],
)
def test_options_are_checked_in_the_view(
    app: Flask, options: dict[str, Any], message: str
) -> None:
    """A wrong one is an error page, not a stream that breaks."""
    with app.test_request_context(), pytest.raises(ValueError, match=message):
        event_stream([], **options)


def test_duration(app: Flask) -> None:
    """A stream ends cleanly after its time."""
    with app.test_request_context():
        subscription = Streaming().subscribe("silence")
        with event_stream(subscription, duration=0.05) as response:
            started = time.monotonic()
            first, *rest = response.response
            assert first == b"id: %s\nevent: position\ndata: \n\n" % (
                str(subscription.position).encode()
            )
            assert set(rest) <= {b":\n\n"}
            assert 0.05 <= time.monotonic() - started < 30


def receive(pump: Pump) -> bytes | None:
    """Return what comes next, within seconds."""
    gate = Gate()
    pump.listen(gate.open)
    while (found := pump.next_block()) == b"":
        assert gate.wait(30)
    return found


def test_source_error_is_raised_where_it_is_read() -> None:
    """Events before the error are read first."""

    def source() -> Iterator[str]:
        yield "a"
        raise OSError("gone")

    pump = Pump(source(), str)
    assert receive(pump) == b"data: a\n\n"
    with pytest.raises(OSError, match="gone"):
        receive(pump)


def test_pump_keeps_the_callers_context() -> None:
    """The thread sees what the caller saw when the pump was made."""
    variable = ContextVar("variable", default="outside")
    token = variable.set("inside")
    pump = Pump((variable.get() for _ in range(1)), str)
    variable.reset(token)
    assert receive(pump) == b"data: inside\n\n"


@pytest.mark.parametrize("start", [True, False], ids=["started", "unstarted"])
def test_pump_closes_its_source(start: bool) -> None:
    """The source is closed once its reader has gone, and the thread ends."""
    closed = threading.Event()

    class Source:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return "a"

        def close(self) -> None:
            closed.set()

    pump = Pump(Source(), str, size=2)
    if start:
        assert receive(pump)
    pump.close()
    pump.close()
    assert closed.wait(5)
    while receive(pump) is not None:
        pass


def test_what_cannot_be_read() -> None:
    """A source that is not iterable fails where it is read."""
    with pytest.raises(TypeError, match="not iterable"):
        receive(Pump(5, str))  # type: ignore[arg-type]
