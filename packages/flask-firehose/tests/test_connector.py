"""Tracking: what a client was sent is not pushed again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask import session
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_firehose import Connector
from flask_firehose import Firehose
from flask_firehose import prefetch
from flask_firehose import push
from flask_firehose._connector import MAX_BYTES
from flask_firehose._connector import pack
from flask_firehose._connector import unpack


MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(make_app: MakeApp) -> MakeApp:
    """Make an app that tracks in the session."""
    return partial(make_app, connector=Connector)


PAGE = "{% for url in request.args.getlist('u') %}{{ push(url) }}{% endfor %}"


def pushed(client: Any, *urls: str) -> list[str]:
    """Return which of the URLs a page carries."""
    links = client.get("/", query_string={"u": urls}).headers.get("Link", "")
    return [url for url in urls if f"<{url}>" in links]


def test_once(make_app: MakeApp) -> None:
    """A link is pushed once, a new version of it is a new link."""
    client = make_app(PAGE).test_client()
    assert pushed(client, "/a.css?v=1", "/b,c.js") == ["/a.css?v=1", "/b,c.js"]
    assert pushed(client, "/a.css?v=1", "/b,c.js") == []
    assert pushed(client, "/a.css?v=2", "/b,c.js") == ["/a.css?v=2"]


def test_session_variable(make_app: MakeApp) -> None:
    """The record is in the session beside what the app keeps there."""
    client = make_app(PAGE).test_client()
    with client.session_transaction() as values:
        values["user"] = 5
    pushed(client, "/a.css")
    with client.session_transaction() as values:
        assert values["user"] == 5
        assert values["h2-pushed"].split()[1:] == ["/a.css"]


def test_repeat_visitor_is_not_signed_again(make_app: MakeApp) -> None:
    """With nothing new there is nothing to write."""
    client = make_app(PAGE).test_client()
    pushed(client, "/a.css")
    response = client.get("/?u=/a.css")
    assert "Set-Cookie" not in response.headers
    assert response.headers["Vary"] == "Cookie"


def test_only_what_was_carried(make_app: MakeApp) -> None:
    """A link that found no room is pushed the next time."""
    client = make_app(PAGE, FIREHOSE_MAX_LINKS=1).test_client()
    assert pushed(client, "/a.css", "/b.js") == ["/a.css"]
    assert pushed(client, "/a.css", "/b.js") == ["/b.js"]


def test_connections_are_not_tracked(make_app: MakeApp) -> None:
    """A hint that fills no cache is sent every time."""
    app = make_app("{{ preconnect('https://cdn.example') }}")
    client = app.test_client()
    for _ in range(2):
        response = client.get("/")
        assert "rel=preconnect" in response.headers["Link"]
        assert "Set-Cookie" not in response.headers


def test_prefetched_before(make_app: MakeApp) -> None:
    """A file that was prefetched for the next page is still preloaded there."""
    app = make_app("{{ preload('/a.css') }}")
    app.add_url_rule("/view", "view", lambda: prefetch("/a.css"))
    client = app.test_client()
    assert "rel=prefetch" in client.get("/view").headers["Link"]
    assert "rel=preload" in client.get("/").headers["Link"]


UNPACKED: list[tuple[object, dict[int, list[str]]]] = [
    ("5 /a /b\n9 /c", {5: ["/a", "/b"], 9: ["/c"]}),
    ("5 /a\n9 /c\n5 /b", {5: ["/a", "/b"], 9: ["/c"]}),
    ("4 /a\n5 /b", {5: ["/b"]}),
    (None, {}),
    (5, {}),
    ("", {}),
    ("/a,/b", {}),
    (f"{'9' * 5000} /a", {}),
]


@pytest.mark.parametrize(("record", "sent"), UNPACKED, ids=lambda value: str(value)[:9])
def test_record(record: object, sent: dict[int, list[str]]) -> None:
    """A record is read without expired or malformed entries."""
    assert unpack(record, 5) == sent


@given(st.lists(st.text("abc", min_size=1, max_size=60).map("/".__add__), unique=True))
def test_record_is_bounded(urls: list[str]) -> None:
    """Whatever was sent, the record is short and holds the latest."""
    sent = {at: urls[at : at + 3] for at in range(0, len(urls), 3)}
    record = pack(sent)
    assert len(record) <= MAX_BYTES
    kept = [(at, url) for at, line in unpack(record, 0).items() for url in line]
    every = [(at, url) for at, line in sent.items() for url in line]
    assert kept == every[len(every) - len(kept) :]
    assert kept or not urls


def test_nothing_fits() -> None:
    """A URL that is longer than the record is not remembered."""
    assert pack({5: ["/" + "a" * MAX_BYTES]}) == ""
    assert pack({5: ["/" + "a" * MAX_BYTES, "/b"], 6: ["/c"]}) == "5 /b\n6 /c"


def test_expiry(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its lifetime a link is pushed again."""
    client = make_app(PAGE, connector=Connector(lifetime=60)).test_client()
    now = time.time()
    assert pushed(client, "/a.css") == ["/a.css"]
    monkeypatch.setattr(time, "time", lambda: now + 50)
    assert pushed(client, "/a.css") == []
    monkeypatch.setattr(time, "time", lambda: now + 90)
    assert pushed(client, "/a.css") == ["/a.css"]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=40),
       st.text(max_size=300))  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_cookie_growth(names: list[str], note: str) -> None:
    """The cookie grows by at most 1 KiB, whatever is pushed."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="secret", FIREHOSE_MAX_BYTES=8192)
    Firehose(app, Connector)

    @app.post("/")
    def page() -> str:
        session["note"] = note
        return ""

    @app.get("/")
    def pushing() -> str:
        for name in names:
            push(f"/{name}.css")
        return ""

    client = app.test_client()
    before = client.post("/").headers["Set-Cookie"]
    for _ in range(3):
        after = client.get("/").headers.get("Set-Cookie", before)
        assert len(after) - len(before) <= 1024


def test_cookie_growth_over_time(make_app: MakeApp) -> None:
    """A visitor of many pages keeps the latest links and a short cookie."""
    client = make_app(PAGE).test_client()
    urls = [f"/static/{number:x}c0ffee{number:x}.css" for number in range(300)]
    for url in urls:
        response = client.get("/", query_string={"u": url})
        assert len(response.headers["Set-Cookie"]) < 1024
    assert pushed(client, urls[-1], urls[-9]) == []
    assert pushed(client, urls[0]) == [urls[0]]


def test_too_long_to_remember(make_app: MakeApp) -> None:
    """A link that no cookie can hold is pushed, and nothing is written."""
    client = make_app(PAGE).test_client()
    url = "/" + "a" * 900
    for _ in range(2):
        response = client.get("/", query_string={"u": url})
        assert url in response.headers["Link"]
        with client.session_transaction() as values:
            assert not values.get("h2-pushed")


def test_no_secret_key(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """An app without a secret key pushes untracked, with one warning."""
    client = make_app(PAGE, SECRET_KEY=None).test_client()
    for _ in range(3):
        assert pushed(client, "/a.css") == ["/a.css"]
    assert caplog.text.count("set SECRET_KEY") == 1


def test_no_tracking(make_app: MakeApp) -> None:
    """Without a connector, every page carries its links, and no session is read."""
    client = make_app(PAGE, connector=None).test_client()
    for _ in range(2):
        response = client.get("/?u=/a.css")
        assert "Link" in response.headers
        assert "Vary" not in response.headers


@pytest.mark.parametrize(
    "value", ["public", "max-age=60", "Public, Max-Age=60", "s-maxage=9"]
)
def test_shared_response(make_app: MakeApp, value: str) -> None:
    """A page that shared caches may keep is the same for everyone."""
    app = make_app()

    @app.get("/view")
    def view() -> Response:
        push("/a.css")
        return Response("", headers={"Cache-Control": value})

    client = app.test_client()
    for _ in range(2):
        response = client.get("/view")
        assert "Link" in response.headers
        assert "Vary" not in response.headers
        assert "Set-Cookie" not in response.headers


def test_private_response(make_app: MakeApp) -> None:
    """A page that only its client's browser may keep is tracked."""
    app = make_app()

    @app.get("/view")
    def view() -> Response:
        push("/a.css")
        return Response("", headers={"Cache-Control": "private, max-age=60"})

    client = app.test_client()
    assert "Link" in client.get("/view").headers
    assert "Link" not in client.get("/view").headers


class Memory:
    """A connector as the documentation shows it."""

    def __init__(self) -> None:
        self.sets: list[set[str]] = []

    def __len__(self) -> int:
        return 0

    def get_pushed(self) -> set[str]:
        return self.sets[-1] if self.sets else set()

    def set_pushed(self, inset: set[str]) -> None:
        self.sets.append(inset)


def test_custom_instance(make_app: MakeApp) -> None:
    """A connector gets all URLs so far, and decides what is new."""
    memory = Memory()
    client = make_app(PAGE, connector=memory).test_client()
    assert pushed(client, "/a.css") == ["/a.css"]
    assert pushed(client, "/a.css", "/b.css") == ["/b.css"]
    assert memory.sets == [{"/a.css"}, {"/a.css", "/b.css"}]


def test_custom_class(make_app: MakeApp) -> None:
    """A class is made an instance, one for each app."""
    client = make_app(PAGE, connector=Memory).test_client()
    assert pushed(client, "/a.css") == ["/a.css"]
    assert pushed(client, "/a.css") == []
    assert pushed(make_app(PAGE, connector=Memory).test_client(), "/a.css")


class Silent(Memory):
    def get_pushed(self) -> Any:
        return None


def test_none_is_nothing(make_app: MakeApp) -> None:
    """A connector that returns None was sent nothing."""
    client = make_app(PAGE, connector=Silent).test_client()
    assert pushed(client, "/a.css") == ["/a.css"]


class Broken(Memory):
    def get_pushed(self) -> set[str]:
        raise ConnectionError("get is down")

    def set_pushed(self, inset: set[str]) -> None:
        raise ConnectionError("set is down")


def test_broken(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """A connector that fails does not cost the page."""
    client = make_app(PAGE, connector=Broken).test_client()
    assert pushed(client, "/a.css") == ["/a.css"]
    assert "get is down" in caplog.text
    assert "set is down" in caplog.text


@pytest.mark.parametrize(
    "connector", [5, object(), object], ids=["int", "object", "class"]
)
def test_no_connector(connector: Any) -> None:
    """An object that is not a connector is refused at start-up."""
    with pytest.raises(TypeError, match=r"give it a method get_pushed\(\)"):
        Firehose(Flask(__name__), connector)


def test_round_trip() -> None:
    """The connector returns what it was given, and forgets what it was not."""
    app = Flask(__name__)
    app.secret_key = "secret"
    connector = Connector()
    with app.test_request_context():
        assert connector.get_pushed() == set()
        connector.set_pushed({"/a,b", "/c"})
        assert connector.get_pushed() == {"/a,b", "/c"}
        connector.set_pushed({"/c"})
        assert connector.get_pushed() == {"/c"}


def test_record_of_the_ancestor(make_app: MakeApp) -> None:
    """A session of an earlier release is not an error."""
    app = make_app(PAGE)
    client = app.test_client()
    with client.session_transaction() as values:
        values["h2-pushed"] = "/a.css,/b.css"
    assert pushed(client, "/a.css") == ["/a.css"]


def test_second_visitor(make_app: MakeApp) -> None:
    """One visitor's record is nobody else's."""
    app = make_app(PAGE)
    assert pushed(app.test_client(), "/a.css") == ["/a.css"]
    assert pushed(app.test_client(), "/a.css") == ["/a.css"]


def test_page_reads_the_session_first(make_app: MakeApp) -> None:
    """An app that uses the session keeps its values and its own Vary."""
    app = make_app()

    @app.get("/view")
    def view() -> str:
        session["seen"] = request.path
        return push("/a.css")

    client = app.test_client()
    client.get("/view")
    with client.session_transaction() as values:
        assert set(values) == {"seen", "h2-pushed"}
