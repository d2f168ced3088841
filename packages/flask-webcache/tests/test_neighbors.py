"""Beside other hooks, middleware and extensions, by hooks and around the app."""

from __future__ import annotations

import secrets
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask import abort
from flask import g
from flask import request
from flask import stream_with_context
from flask.signals import got_request_exception
from werkzeug.local import LocalProxy

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import cache_event
from flask_webcache import unrecorded


if TYPE_CHECKING:
    from planned import Origin


@pytest.fixture(params=[False, True], ids=["hooks", "fast"])
def fast(request: pytest.FixtureRequest) -> bool:
    """Whether the cache is around the app."""
    value: bool = request.param
    return value


@pytest.fixture
def origin(make_origin: type[Origin], fast: bool) -> Origin:
    """An app with the cache."""
    return make_origin(fast=fast)


def fresh(text: str) -> Response:
    """Return a page that may be stored."""
    return Response(text, headers={"Cache-Control": "max-age=60"})


def read(origin: Origin, what: Any, **headers: Any) -> list[tuple[str, str]]:
    """Return two answers of a view that reads something: the text and X-Cache."""
    origin.answer = lambda: fresh(str(what()))
    client = origin.app.test_client(use_cookies=False)
    answers = [client.get("/", headers=headers) for _ in range(2)]
    return [(one.text, one.headers["X-Cache"]) for one in answers]


CHOICES = [
    pytest.param(lambda: request.cookies.get("a"), "Cookie", "a=", id="cookie"),
    pytest.param(lambda: request.headers.get("X-Plan"), "X-Plan", "", id="header"),
    pytest.param(
        lambda: request.environ.get("HTTP_X_PLAN"), "X-Plan", "", id="environ"
    ),
    pytest.param(
        lambda: request.accept_languages.best, "Accept-Language", "", id="language"
    ),
]


@pytest.mark.parametrize(("what", "name", "start"), CHOICES)
def test_reads_select(origin: Origin, what: Any, name: str, start: str) -> None:
    """A value that was read selects the stored response, and so does its absence."""
    seen = {}
    for value in ("a", "b", None):
        headers = {} if value is None else {name: start + value}
        seen[value] = read(origin, what, **headers)
    assert seen["a"] == [("a", "miss"), ("a", "hit")]
    assert seen["b"] == [("b", "miss"), ("b", "hit")]
    assert seen[None] == [("None", "miss"), ("None", "hit")]
    assert name in origin.client.get("/").headers["Vary"]


IDENTITIES = [
    pytest.param(
        lambda: request.cookies.get("jwt"), {"Cookie": "jwt=" + "x" * 40}, id="token"
    ),
    pytest.param(
        lambda: request.headers["Authorization"], {"Authorization": "a b"}, id="login"
    ),
    pytest.param(lambda: request.remote_addr, {}, id="address"),
    pytest.param(lambda: request.user_agent.string, {"User-Agent": "x"}, id="agent"),
    pytest.param(lambda: len(dict(request.headers)), {}, id="headers"),
    pytest.param(lambda: len(dict(request.environ)), {}, id="environ"),
    pytest.param(lambda: list(request.cookies), {"Cookie": "a=b"}, id="cookies"),
]


@pytest.mark.parametrize(("what", "headers"), IDENTITIES)
def test_identities_are_not_stored(
    origin: Origin, what: Any, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A page that reads what identifies a visitor is not stored."""
    answers = read(origin, what, **headers)
    assert [said for _, said in answers] == ["miss", "miss"]
    assert caplog.text.count("are not stored, for example that of /") <= 1


def test_remote_user(origin: Origin) -> None:
    """A name that the server vouches for is an identity; its absence is shared."""
    origin.answer = lambda: fresh(str(request.remote_user))
    alice = {"REMOTE_USER": "alice"}
    texts = [
        origin.client.get("/", environ_overrides=who).text
        for who in (alice, {}, {"REMOTE_USER": "bob"}, {}, alice)
    ]
    assert texts == ["alice", "None", "bob", "None", "alice"]
    assert origin.client.get("/").headers["X-Cache"] == "hit"


def test_public_is_for_everybody(origin: Origin) -> None:
    """A page that says public is stored, whatever it read."""
    origin.answer = lambda: Response(
        request.headers.get("X-Plan", "none"),
        headers={"Cache-Control": "public, max-age=60"},
    )
    assert origin.client.get("/", headers={"X-Plan": "a"}).text == "a"
    assert origin.client.get("/").text == "a"


def test_unrecorded(origin: Origin) -> None:
    """Reads for a log do not select."""

    @origin.app.before_request
    def log() -> None:
        with unrecorded():
            _ = request.remote_addr, dict(request.headers)

    assert read(origin, lambda: "x") == [("x", "miss"), ("x", "hit")]


def test_ignored_readers(make_origin: type[Origin]) -> None:
    """Modules whose reads make no difference can be named."""
    origin = make_origin(ignored_readers=(__name__,))
    answers = read(origin, lambda: request.remote_addr)
    assert [said for _, said in answers] == ["miss", "hit"]


def test_writes_reach_the_server(origin: Origin) -> None:
    """The app may change its environment."""
    seen: list[Any] = []
    inner = origin.app.wsgi_app

    def outer(environ: Any, start_response: Any) -> Any:
        parts = inner(environ, start_response)
        seen.append(environ.get("my.value"))
        return parts

    origin.app.wsgi_app = outer  # type: ignore[method-assign]

    def answer() -> Response:
        request.environ["my.value"] = 1
        request.environ.setdefault("my.other", 2)
        request.environ.update({"my.third": 3})
        del request.environ["my.third"]
        return fresh(str(request.environ.pop("my.other")))

    origin.answer = answer
    assert origin.get().text == "2"
    assert seen == [1]


def test_hooks_below_do_not_run_twice(make_origin: type[Origin], fast: bool) -> None:
    """A toolbar that is set up after the cache is in the page once."""
    origin = make_origin(fast=fast)

    @origin.app.after_request
    def toolbar(response: Response) -> Response:
        response.set_data(response.get_data() + b"+bar")
        response.headers.add("X-Bar", "1")
        return response

    origin.answer = lambda: fresh("page")
    for _ in range(3):
        response = origin.get()
        assert (response.text, response.headers.getlist("X-Bar")) == ("page+bar", ["1"])


def test_hooks_above(fast: bool) -> None:
    """Hits carry the fields of hooks that are set up first, in either mode."""
    app = Flask(__name__)

    @app.after_request
    def policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    WebCache(app, fast=fast)
    app.add_url_rule("/", view_func=lambda: fresh("x"))
    for said in ("miss", "hit"):
        headers = app.test_client().get("/").headers
        assert headers["X-Cache"] == said
        assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]


def test_hooks_without_a_name(make_origin: type[Origin], fast: bool) -> None:
    """Any callable may be a hook, before the cache's own or after it."""
    origin = make_origin(fast=fast)

    def add(name: str, response: Response) -> Response:
        response.headers.add(name, "1")
        return response

    origin.app.after_request(partial(add, "X-Bar"))
    origin.answer = lambda: fresh("page")
    for said in ("miss", "hit"):
        headers = origin.get().headers
        assert (headers["X-Cache"], headers.getlist("X-Bar")) == (said, ["1"])


def test_variables_of_the_app(origin: Origin) -> None:
    """Values that the app itself put into the environment make no difference."""

    @origin.app.before_request
    def begin() -> None:
        request.environ["timer.began"] = 1
        request.environ.update({"timer.name": "x"})

    read_both = read(
        origin, lambda: [request.environ[f"timer.{it}"] for it in ("began", "name")]
    )
    assert [said for _, said in read_both] == ["miss", "hit"]


def test_variables_of_a_middleware(origin: Origin) -> None:
    """A value put there by middleware may be a login: the page is not stored."""
    origin.answer = lambda: fresh(request.environ["beaker.session"])
    for user in ("alice", "bob"):
        answer = origin.client.get("/", environ_overrides={"beaker.session": user})
        assert (answer.text, answer.headers["X-Cache"]) == (user, "miss")


def test_variables_made_unseen(origin: Origin) -> None:
    """A page made from reads that were not recorded is not stored."""

    @origin.app.before_request
    def login() -> None:
        with unrecorded():
            request.environ["my.user"] = request.headers["X-User"]

    origin.answer = lambda: fresh(request.environ["my.user"])
    for user in ("alice", "bob"):
        answer = origin.client.get("/", headers={"X-User": user})
        assert (answer.text, answer.headers["X-Cache"]) == (user, "miss")


def test_names_of_the_server(origin: Origin) -> None:
    """A CGI variable identifies the visitor, whatever set it."""

    @origin.app.before_request
    def login() -> None:
        with unrecorded():
            user = request.headers["X-User"]
        request.environ["REMOTE_USER"] = user

    origin.answer = lambda: fresh(str(request.remote_user))
    for user in ("alice", "bob"):
        answer = origin.client.get("/", headers={"X-User": user})
        assert (answer.text, answer.headers["X-Cache"]) == (user, "miss")


def test_nonce(fast: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A page whose policy has a nonce is not stored, and the log says so once."""
    app = Flask(__name__)
    WebCache(app, fast=fast)

    @app.after_request
    def policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = f"script-src 'nonce-{id(g):x}'"
        return response

    app.add_url_rule("/", view_func=lambda: fresh("x"))
    for _ in range(2):
        status = app.test_client().get("/").headers["Cache-Status"]
        assert status.endswith("detail=nonce")
    assert caplog.text.count("nonce") == 1


@pytest.mark.parametrize("tag", ["<script nonce='%s'>", '<style a="b" NONCE="%s">'])
def test_nonce_of_a_policy_that_comes_later(fast: bool, tag: str) -> None:
    """A page with a nonce is not stored where its policy is added after that."""
    app = Flask(__name__)

    @app.after_request
    def policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = f"script-src 'nonce-{g.nonce}'"
        return response

    WebCache(app, fast=fast)

    @app.before_request
    def choose() -> None:
        g.nonce = secrets.token_hex(8)

    def view() -> Response:
        page = fresh(tag % g.nonce)
        page.cache_control.public = True
        return page

    app.add_url_rule("/", view_func=view)
    for _ in range(2):
        answer = app.test_client().get("/")
        assert answer.headers["Cache-Status"].endswith("detail=nonce")


def test_no_nonce(origin: Origin) -> None:
    """An empty nonce, or the word alone, forbids nothing."""
    text = '<script nonce="">1</script><p>nonce=1</p>'
    assert [said for _, said in read(origin, lambda: text)] == ["miss", "hit"]


def test_fields_of_one_visitor(origin: Origin) -> None:
    """Limits and names of one request are not replayed to the next visitor."""
    origin.says(
        "max-age=60", X_RateLimit_Remaining="3", RateLimit="1", X_Request_ID="7", X="1"
    )
    origin.get()
    headers = origin.get().headers
    assert headers["X"] == "1"
    assert not {name for name in headers.keys() if "Limit" in name or "ID" in name}  # noqa: SIM118 - a multi dict


def test_negative_caching(make_origin: type[Origin], fast: bool) -> None:
    """A response of abort() is stored if it says for how long."""
    origin = make_origin(fast=fast)

    @origin.app.after_request
    def briefly(response: Response) -> Response:
        if response.status_code == 404:
            response.headers["Cache-Control"] = "max-age=5"
        return response

    origin.answer = lambda: abort(404)
    for said in ("miss", "hit"):
        response = origin.get()
        assert (response.status_code, response.headers["X-Cache"]) == (404, said)


def test_error_outside_of_a_request(origin: Origin) -> None:
    """An error reported outside of a request does not affect the cache."""
    got_request_exception.send(origin.app, exception=OSError("late"))


def test_failing_stream(origin: Origin) -> None:
    """The error of a stream is the stream's own."""

    def parts() -> Any:
        yield "a"
        raise OSError("broken stream")

    origin.answer = lambda: Response(stream_with_context(parts()))
    with pytest.raises(OSError, match="broken stream"):
        _ = origin.get().data


def test_events(origin: Origin) -> None:
    """Every event is sent, for fast hits too."""
    events: list[tuple[str, str]] = []

    def listen(sender: Flask, event: str, reason: str) -> None:
        if sender is origin.app:
            events.append((event, reason))

    cache_event.connect(listen)
    origin.says("max-age=60")
    origin.get()
    origin.get()
    origin.says("no-store")
    origin.get("/no")
    with origin.app.test_request_context("/"):
        origin.cache.purge("/")
    assert events == [
        ("stored", ""), ("miss", "uri-miss"), ("hit", ""), ("refused", "no-store"),
        ("miss", "uri-miss"), ("purged", ""),
    ]  # fmt: skip


def test_key_callback(fast: bool) -> None:
    """The app may add to the key; a purge of a URL is for all that it added."""
    app = Flask(__name__)
    config = Config(key_callback=lambda environ: environ.get("HTTP_X_TENANT", ""))
    cache = WebCache(app, config=config, fast=fast)
    made: list[str] = []

    @app.get("/")
    def view() -> Response:
        made.append("x")
        return fresh(f"made {len(made)}")

    def get(tenant: str) -> str:
        return app.test_client().get("/", headers={"X-Tenant": tenant}).text

    assert [get(one) for one in "abab"] == ["made 1", "made 2", "made 1", "made 2"]
    with app.test_request_context("/"):
        assert cache.purge("/")
    assert [get(one) for one in "ab"] == ["made 3", "made 4"]


def test_explain_says_what_was_read(make_origin: type[Origin], tmp_path: Any) -> None:
    """The command names the reads."""
    origin = make_origin(url=f"file://{tmp_path}")
    origin.answer = lambda: fresh(str(request.cookies.get("theme")))
    runner = origin.app.test_cli_runner()
    output = runner.invoke(args=["webcache", "explain", "http://localhost/"]).output
    assert "the app read cookie=theme\n" in output
    output = runner.invoke(args=["webcache", "explain", "/"]).output
    assert "'/' is a path: give an absolute URL" in output


def noted(how: str) -> str:
    """Note something for oneself in the environment, and return it."""
    if how == "setdefault":
        request.environ.setdefault("ours.notes", []).append("a")
    elif how == "looked first":
        if "ours.notes" not in request.environ:
            request.environ["ours.notes"] = ["a"]
    else:
        request.environ["ours.notes"] = ["a"]
    return str(request.environ["ours.notes"])


@pytest.mark.parametrize("how", ["setdefault", "looked first", "set"])
def test_what_the_app_notes_for_itself(origin: Origin, how: str) -> None:
    """A variable that the app adds is nobody's identity, looked for before or not."""
    assert read(origin, lambda: noted(how)) == [("['a']", "miss"), ("['a']", "hit")]


@pytest.mark.parametrize("how", ["setdefault", "looked first"])
def test_what_others_note_is_an_identity(origin: Origin, how: str) -> None:
    """A page made without a variable is not served to requests that have it."""
    origin.answer = lambda: fresh(noted(how))
    client = origin.app.test_client(use_cookies=False)
    assert [client.get("/").headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
    theirs = {"ours.notes": ["b"]}
    for _ in range(2):
        answer = client.get("/", environ_overrides=theirs)
        assert answer.headers["X-Cache"] == "miss"
        assert "b" in answer.text
        theirs = {"ours.notes": ["b"]}
    assert client.get("/").text == "['a']"


class Login:
    """Middleware that identifies the visitor, in the environment or a copy."""

    def __init__(self, app: Any, *, copies: bool) -> None:
        self.app = app
        self.copies = copies

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        inner = environ.copy() if self.copies else environ
        token = environ.get("HTTP_X_TOKEN", "")
        inner["HTTP_X_USER"] = {"1": "alice", "2": "bob"}.get(token, "nobody")
        return self.app(inner, start)


@pytest.mark.parametrize("copies", [False, True], ids=["same", "copied"])
@pytest.mark.parametrize("says", ["max-age=60", "public, max-age=60"])
def test_identity_by_a_middleware_within(copies: bool, says: str) -> None:
    """Values about a visitor from middleware inside of the cache select nothing."""
    app = Flask(__name__)
    app.wsgi_app = Login(app.wsgi_app, copies=copies)  # type: ignore[method-assign,assignment]
    WebCache(app, config=Config(), fast=True)

    @app.get("/")
    def page() -> Response:
        name = request.headers["X-User"]
        return Response(name, headers={"Cache-Control": says, "Vary": "X-User"})

    client = app.test_client(use_cookies=False)
    for token, name in (("1", "alice"), ("2", "bob"), ("", "nobody"), ("1", "alice")):
        assert client.get("/", headers={"X-Token": token}).text == name
    forged = client.get("/", headers={"X-User": "alice"})
    assert forged.text == "nobody"


@pytest.mark.parametrize("copies", [False, True], ids=["same", "copied"])
def test_middleware_that_asks_twice(copies: bool) -> None:
    """Of a request that a middleware makes twice, nothing is stored."""
    app = Flask(__name__)
    inner = app.wsgi_app

    def again(environ: dict[str, Any], start: Any) -> Any:
        parts: Any = b""
        for _ in range(2):
            parts = inner(environ.copy() if copies else environ, start)
        return parts

    app.wsgi_app = again  # type: ignore[method-assign,assignment]
    WebCache(app, config=Config(), fast=True)
    runs: list[str | None] = []

    @app.get("/")
    def page() -> Response:
        runs.append(request.headers.get("X-User") if runs else None)
        return fresh(str(runs[-1]))

    client = app.test_client()
    for name in ("alice", "bob"):
        answer = client.get("/", headers={"X-User": name})
        assert [answer.text, answer.headers["X-Cache"]] == [name, "miss"]


OBSERVER = """
def around(app):
    return lambda environ, start: app(environ, start)
"""


def test_observer_around_the_app() -> None:
    """What Flask reads for a view counts, also where a library measures the app."""
    app = Flask(__name__)
    observer: dict[str, Any] = {"__name__": "opentelemetry.instrumentation"}
    exec(OBSERVER, observer)
    app.wsgi_app = observer["around"](app.wsgi_app)  # type: ignore[method-assign]
    WebCache(app, config=Config())
    headers = LocalProxy(lambda: request.headers)
    # No module but those of Flask is between the view and the measuring library.
    view = partial(methodcaller("get", "User-Agent"), headers)
    app.add_url_rule("/", "view", view)

    @app.after_request
    def keep(response: Response) -> Response:
        response.headers["Cache-Control"] = "max-age=60"
        return response

    client = app.test_client()
    for agent in ("a", "b", "a"):
        answer = client.get("/", headers={"User-Agent": agent})
        assert [answer.text, answer.headers["X-Cache"]] == [agent, "miss"]
