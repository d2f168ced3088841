"""Attacks: pages must not be shared, poisoned, deceived or made to fail."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
from cachelib import SimpleCache
from flask import Flask
from flask import Response
from flask import flash
from flask import render_template_string
from flask import request
from flask import send_file
from flask import session
from flask.sessions import SecureCookieSessionInterface
from flask.sessions import SessionMixin

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import modifiers


if TYPE_CHECKING:
    from planned import Origin


def fresh(body: str = "body") -> Response:
    """Return a response that may be stored."""
    return Response(body, headers={"Cache-Control": "public, max-age=60"})


LOOKS = [
    lambda: session.get("user"),
    lambda: "user" in session,
    lambda: render_template_string("{{ session.user }}"),
    lambda: render_template_string("{{ get_flashed_messages() }}"),
]


@pytest.mark.parametrize("use", LOOKS, ids=["get", "in", "template", "flashes"])
def test_pages_of_an_empty_session(origin: Origin, use: Any) -> None:
    """A page that found the session empty is for visitors without one."""

    def answer() -> Response:
        use()
        return fresh(f"made {len(origin.seen)}")

    origin.answer = answer
    status = origin.get().headers["Cache-Status"]
    assert status == 'flask-webcache; fwd=uri-miss; stored; reads="session"'
    anonymous = origin.get()
    assert (anonymous.headers["X-Cache"], anonymous.text) == ("hit", "made 1")
    assert "Cookie" in anonymous.headers["Vary"]
    member = origin.client
    with member.session_transaction() as stored:
        stored["user"] = "me"
    for number in (2, 3):
        response = member.get("/")
        assert "; detail=session" in response.headers["Cache-Status"]
        assert response.text == f"made {number}"
    assert origin.get().text == "made 1"


@pytest.mark.parametrize(
    "use",
    [lambda: session.update(user="me"), lambda: flash("hello")],
    ids=["update", "flash"],
)
def test_pages_that_change_the_session(origin: Origin, use: Any) -> None:
    """A page that changed the session is for one client alone."""

    def answer() -> Response:
        use()
        return fresh()

    origin.answer = answer
    for number in (1, 2):
        assert "; detail=session" in origin.get().headers["Cache-Status"]
        assert len(origin.seen) == number


@pytest.mark.parametrize("use", LOOKS, ids=["get", "in", "template", "flashes"])
def test_pages_of_members(origin: Origin, use: Any) -> None:
    """A page that looked at a session with something in it is not stored."""
    member = origin.client
    with member.session_transaction() as stored:
        stored["user"] = "me"

    def answer() -> Response:
        use()
        return fresh()

    origin.answer = answer
    for number in (1, 2):
        assert "; detail=session" in member.get("/").headers["Cache-Status"]
        assert len(origin.seen) == number


def test_pages_without_session_are_stored_for_those_who_have_one(
    origin: Origin,
) -> None:
    """A page that leaves the session alone is stored, and gets no Vary: Cookie."""
    client = origin.client
    with client.session_transaction() as stored:
        stored["user"] = "me"
    origin.answer = lambda: fresh(render_template_string("no session"))
    response = client.get("/")
    assert response.headers["Cache-Status"].endswith("stored")
    assert "Cookie" not in response.headers.get("Vary", "")
    assert origin.get().headers["X-Cache"] == "hit"


def test_permanent_session(origin: Origin) -> None:
    """A cookie that Flask renews goes to its own client, stored page or not."""
    client = origin.client
    with client.session_transaction() as stored:
        stored.permanent = True
    origin.answer = fresh
    assert "Set-Cookie" in client.get("/").headers
    response = origin.get()
    assert response.headers["X-Cache"] == "hit"
    assert "Set-Cookie" not in response.headers


def test_session_of_another_kind() -> None:
    """A session that does not say whether it was used counts as used."""

    class Session(dict[str, Any], SessionMixin):
        accessed = True

    class Interface(SecureCookieSessionInterface):
        def open_session(self, app: Any, request: Any) -> Any:
            return Session()

        def save_session(self, app: Any, session: Any, response: Any) -> None:
            pass

    app = Flask(__name__)
    app.session_interface = Interface()
    WebCache(app)
    app.add_url_rule("/", view_func=fresh)
    status = app.test_client().get("/").headers["Cache-Status"]
    assert "; detail=session" in status


def test_cookies_are_not_shared(origin: Origin) -> None:
    """A response that sets a cookie is not stored, unless configured."""
    origin.says("public, max-age=60", Set_Cookie="sid=first")
    assert origin.get().headers["Cache-Status"].endswith("detail=set-cookie")
    origin.says("public, max-age=60")
    assert "Set-Cookie" not in origin.get().headers


def test_cookie_of_a_304_is_not_stored(origin: Origin, clock: Any) -> None:
    """A cookie on a 304 is only for the client that sent the request."""
    origin.says("max-age=10", "body", ETag='"a"')
    origin.get()
    clock.move(11)
    origin.says("max-age=10", b"", 304, Set_Cookie="sid=mine")
    assert origin.get().headers["Set-Cookie"] == "sid=mine"
    origin.says("max-age=10", b"", 304)
    for _ in range(2):
        assert "Set-Cookie" not in origin.get().headers


def test_host_poisoning(origin: Origin) -> None:
    """A page made for one host is not served to another."""
    origin.answer = lambda: fresh(request.url)
    client = origin.client
    client.get("/", headers={"Host": "evil.example"})
    for scheme in ("http", "https"):
        response = client.get("/", base_url=f"{scheme}://good.example")
        assert response.text == f"{scheme}://good.example/"


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-URL", "X-Host", "Forwarded"],
)
def test_unkeyed_fields(origin: Origin, name: str) -> None:
    """The cache reads only headers that are in the key."""
    origin.answer = lambda: fresh(request.url)
    origin.client.get("/", headers={name: "evil.example"})
    assert origin.get().text == "http://localhost/"


@pytest.mark.parametrize(
    "length", [{"content_length": 4}, {"headers": {"Transfer-Encoding": "chunked"}}],
    ids=["length", "chunked"],
)  # fmt: skip
def test_content_of_get(origin: Origin, length: dict[str, Any]) -> None:
    """A page made from the content of a GET is served to nobody else."""
    origin.answer = lambda: fresh(request.get_data(as_text=True))
    response = origin.client.get("/", data="evil", **length)
    assert response.headers["Cache-Status"].endswith("detail=content")
    assert origin.get().text == ""
    assert origin.get().headers["X-Cache"] == "hit"


def test_encoded_paths(origin: Origin) -> None:
    """Encoded characters in a path are not a query or a slash."""
    origin.answer = lambda: fresh(request.environ["REQUEST_URI"])
    for uri in ("/page%3Fq=1", "/page?q=1", "/a%2Fb", "/a/b", "/a%252Fb"):
        assert origin.get(uri).text == uri
    assert origin.get("/a/b").headers["X-Cache"] == "hit"


def test_deception(origin: Origin) -> None:
    """A private page is not stored because its path looks like a file."""

    def account() -> Response:
        session["seen"] = True
        return Response("private")

    origin.answer = account
    for path in ("/account/x.css", "/account;x.js", "/account%0A.png", "/account/"):
        assert "stored" not in origin.get(path).headers["Cache-Status"]
        assert origin.get(path).headers["X-Cache"] == "miss"


def test_parts_do_not_take_the_place_of_the_whole(origin: Origin) -> None:
    """A view's own 206 answers nobody else."""
    origin.says("max-age=60", "0", 206, Content_Range="bytes 0-0/10")
    origin.get(Range="bytes=0-0")
    origin.says("max-age=60", "0123456789")
    assert origin.get().text == "0123456789"


def test_smuggled_ranges(origin: Origin) -> None:
    """Many overlapping ranges do not make an answer larger than the body."""
    origin.says("max-age=60", "x" * 1000)
    origin.get()
    for value in ("bytes=" + "0-," * 10 + "0-", "bytes=" + "0-0," * 1000 + "0-"):
        assert len(origin.get(Range=value).data) == 1000


def test_streams_are_left_alone(origin: Origin, tmp_path: Path) -> None:
    """Streams and files are passed on unchanged."""
    path = tmp_path / "file"
    path.write_text("file")

    def stream() -> Response:
        parts = (part for part in ("a", "b"))
        return Response(parts, headers={"Cache-Control": "max-age=60"})

    origin.answer = stream
    for _ in range(2):
        response = origin.get()
        assert response.text == "ab"
        assert response.headers["Cache-Status"].endswith("detail=streamed")
        assert "ETag" not in response.headers
    origin.answer = lambda: send_file(path, max_age=60)
    response = origin.get()
    assert response.headers["Cache-Status"].endswith("detail=streamed")
    response.close()


def test_two_apps_share_a_backend_apart() -> None:
    """Prefixes and salts keep apps apart in one backend; the object stays as it is."""
    cache = SimpleCache()
    texts = []
    for number, config in enumerate(
        [Config(), Config(key_prefix="other:"), Config(master_salt="new"), Config()]
    ):
        app = Flask(f"app{number}")
        WebCache(app, cache=cache, config=config)
        app.add_url_rule("/", view_func=lambda number=number: fresh(str(number)))
        texts.append(app.test_client().get("/").text)
    assert texts == ["0", "1", "2", "0"]
    cache.set("own", {"a": 1})
    assert cache.get("own") == {"a": 1}


class Trap:
    """A pickle that leaves a trace where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "data", ["pickle", b"", b"garbage", b"12", b"WC2" + b"\0" * 40], ids=str
)
def test_poisoned_files(tmp_path: Path, data: Any) -> None:
    """Whatever is written to the backend is a miss at worst; no pickle is loaded."""
    trap = tmp_path / "trap"
    if data == "pickle":
        data = pickle.dumps(Trap(trap))
    app = Flask(__name__)
    app.config["WEBCACHE_URL"] = f"file://{tmp_path}/cache"
    WebCache(app)
    app.add_url_rule("/", view_func=fresh)
    client = app.test_client()
    for _ in range(3):
        client.get("/")
        for path in (tmp_path / "cache").iterdir():
            path.write_bytes(path.read_bytes()[:8] + data)
        assert client.get("/").status_code == 200
    assert not trap.exists()


def test_entries_cannot_be_moved_or_forged(tmp_path: Path) -> None:
    """A stored response is signed, for the name that it is stored under."""
    app = Flask(__name__)
    app.secret_key = "secret"
    app.config["WEBCACHE_URL"] = f"file://{tmp_path}"
    WebCache(app)
    app.add_url_rule("/<name>", view_func=lambda name: fresh(name))
    client = app.test_client()
    client.get("/one")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    client.get("/two")
    (one,) = [path for path, data in before.items() if b"one" in data]
    (two,) = [path for path in tmp_path.iterdir() if b"two" in path.read_bytes()]
    two.write_bytes(one.read_bytes())
    assert client.get("/two").text == "two"
    # The body alone, which is last: a signature covers all of it.
    one.write_bytes(before[one].removesuffix(b"one") + b"bad")
    assert client.get("/one").text == "one"
    other = Flask("other")
    other.secret_key = "another"
    WebCache(other, config=Config(url=f"file://{tmp_path}"))
    other.add_url_rule("/<name>", view_func=lambda name: fresh("other"))
    assert other.test_client().get("/one").text == "other"


@pytest.mark.parametrize("fast", [False, True], ids=["hooks", "fast"])
def test_selecting_values_are_not_in_the_store(
    make_origin: type[Origin], tmp_path: Path, fast: bool
) -> None:
    """Tokens and cookies that select a response are not written to the backend."""
    origin = make_origin(url=f"file://{tmp_path}", fast=fast)

    def answer() -> Response:
        response = fresh(str(len(request.cookies.get("theme", ""))))
        response.headers["Vary"] = "Authorization"
        return response

    origin.answer = answer
    for said in ("miss", "hit"):
        response = origin.get(Authorization="Bearer s3cret", Cookie="theme=h1dden")
        assert response.headers["X-Cache"] == said
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"authorization" in stored
    assert b"s3cret" not in stored
    assert b"h1dden" not in stored


def test_modified_view_of_a_hit(origin: Origin) -> None:
    """A hook that is registered later has done its work before a response is stored."""

    @origin.app.after_request
    def change(response: Response) -> Response:
        response.headers["X-Visitor"] = request.args.get("v", "")
        response.set_data(response.get_data() + b"!")
        return response

    origin.answer = modifiers.cache_for(minutes=1)(lambda: "body")
    texts = [origin.get().text for _ in range(3)]
    assert texts == ["body!", "body!", "body!"]


@pytest.mark.parametrize(
    ("page", "said"), [('<meta content="{}">', "miss"), ("<p>page</p>", "hit")]
)
def test_nonce_of_a_policy_that_is_added_later(page: str, said: str) -> None:
    """A page with the nonce is not kept; another one gets a policy of its own."""
    app = Flask(__name__)
    made: list[str] = []

    @app.after_request
    def add_policy(response: Response) -> Response:
        value = f"script-src 'nonce-{made[-1]}'"
        response.headers["Content-Security-Policy"] = value
        return response

    @app.before_request
    def make_nonce() -> None:
        made.append(f"nonce{len(made)}")

    WebCache(app)
    app.add_url_rule("/", view_func=lambda: fresh(page.format(made[-1])))
    client = app.test_client()
    client.get("/")
    for number in (1, 2):
        response = client.get("/")
        assert response.headers["X-Cache"] == said
        assert f"nonce{number}" in response.headers["Content-Security-Policy"]
