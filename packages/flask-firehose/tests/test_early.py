"""103 Early Hints: who gets them, and what pages teach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint
from flask import Flask
from flask import Response
from flask import make_response
from flask import request
from flask import session
from flask.views import MethodView

from flask_firehose import Firehose
from flask_firehose import Link
from flask_firehose import LinkError
from flask_firehose import SetupError
from flask_firehose import hints
from flask_firehose import push
from flask_firehose import push_static
from flask_firehose import send_early_hints
from flask_firehose._early import MAX_PAGES
from flask_firehose._early import Learned


MakeApp = Callable[..., Flask]
CSS = "</static/a.css>; rel=preload; as=style"
JS = "</static/a.js>; rel=preload; as=script"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app whose page at ``/`` pushes the static files that the query names."""
    return make_app(
        "{% for n in request.args.getlist('n') %}{{ push_static(n) }}{% endfor %}",
        FIREHOSE_EARLY_HINTS=True,
        FIREHOSE_LEARN_PREFIXES=["/everyone/", "https://cdn.example/"],
    )


def early(app: Flask, path: str = "/", **options: Any) -> list[str]:
    """Return the links of the 103s that one new visitor is sent."""
    sent: list[list[tuple[str, str]]] = []
    environ = {"wsgi.early_hints": sent.append, **options.pop("environ", {})}
    client = app.test_client(use_cookies=False)
    client.get(path, environ_overrides=environ, **options).close()
    assert all(name == "Link" for headers in sent for name, _ in headers)
    return [value for headers in sent for _, value in headers]


def test_declared(app: Flask) -> None:
    """A view's hints leave before it runs, and on the page too."""
    order: list[str] = []

    @app.get("/view")
    @hints("/static/a.css", Link.make("https://cdn.example", rel="preconnect"))
    def view() -> str:
        order.append("view")
        return "page"

    link = f"{CSS}, <https://cdn.example>; rel=preconnect"
    response = app.test_client().get(
        "/view",
        environ_overrides={"wsgi.early_hints": lambda headers: order.append(headers)},
    )
    assert order == [[("Link", link)], "view"]
    assert response.headers["Link"] == link


def test_declared_twice(app: Flask) -> None:
    """Decorators add up, and still make one 103."""

    @app.get("/view")
    @hints("/static/a.css")
    @hints("/static/a.js", "/static/a.css")
    def view() -> str:
        return "page"

    assert early(app, "/view") == [f"{CSS}, {JS}"]


def test_declared_asynchronous(app: Flask) -> None:
    """An asynchronous view declares as well."""
    pytest.importorskip("asgiref")

    @app.get("/view")
    @hints("/static/a.css")
    async def view() -> str:
        return "page"

    assert early(app, "/view") == [CSS]
    assert app.test_client().get("/view").text == "page"


def test_declared_by_a_class(app: Flask) -> None:
    """A class-based view declares by its decorators."""

    class View(MethodView):
        decorators = [hints("/static/a.css")]  # noqa: RUF012 - Flask's own type

        def get(self) -> str:
            return "page"

    app.add_url_rule("/view", view_func=View.as_view("view"))
    assert early(app, "/view") == [CSS]


def test_declared_wrongly() -> None:
    """A declaration that cannot be sent fails when the module is imported."""
    with pytest.raises(LinkError, match=r"^url is 'static/a.css': start it with"):
        hints("static/a.css")


def test_declared_without_the_extension() -> None:
    """A view of an app without the extension is told what to do."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=hints("/static/a.css")(lambda: ""))
    app.testing = True
    with pytest.raises(SetupError, match="init_app"):
        app.test_client().get("/")


def test_explicit(app: Flask) -> None:
    """A view sends what it knows before it starts its work; once."""
    answers: list[bool] = []

    @app.get("/view")
    def view() -> str:
        push("/static/a.js")
        answers.append(send_early_hints("/static/a.css"))
        answers.append(send_early_hints())
        return "page"

    app.config["FIREHOSE_LEARN"] = False
    assert early(app, "/view") == [f"{CSS}, {JS}"]
    assert answers == [True, False]


def test_nothing_to_send(app: Flask) -> None:
    """A 103 without a link that browsers act on there is not sent."""

    @app.get("/view")
    def view() -> str:
        return str(send_early_hints("/static/unknown"))

    assert early(app, "/view") == []
    assert early(app, "/missing") == []


def test_learned(app: Flask) -> None:
    """The second visitor gets early what the first one's page pushed."""
    assert early(app, "/?n=a.css&n=a.js") == []
    assert early(app, "/?n=a.css&n=a.js") == [f"{CSS}, {JS}"]


def test_forgotten(app: Flask) -> None:
    """What the last page no longer pushed is not sent."""
    early(app, "/?n=a.css&n=a.js")
    early(app, "/?n=a.js")
    assert early(app, "/") == [JS]
    assert early(app, "/") == []


def test_one_endpoint_only(app: Flask) -> None:
    """What one page pushes is not sent for another, nor for another host."""
    app.add_url_rule("/other", view_func=lambda: "other", endpoint="other")
    early(app, "/?n=a.css")
    assert early(app, "/other") == []
    assert early(app, "/", base_url="http://other.example") == []
    assert early(app, "/?n=a.css") == [CSS]


BAD_PAGES: dict[str, Callable[[], Any]] = {
    "failed": lambda: ("page", 500),
    "json": lambda: {"a": 1},
    "redirect": lambda: ("", 302),
    "from a cache": lambda: ("page", 200, {"Age": "5"}),
}


@pytest.mark.parametrize("answer", BAD_PAGES.values(), ids=BAD_PAGES)
def test_only_good_pages_teach(app: Flask, answer: Callable[[], Any]) -> None:
    """An answer that is not a page of this moment neither teaches nor forgets."""

    @app.get("/view")
    def view() -> Any:
        if request.args:
            return push_static("a.css")
        push_static("a.js")
        return answer()

    early(app, "/view")
    assert early(app, "/view?good") == []
    assert early(app, "/view") == [CSS]
    assert early(app, "/view") == [CSS]


PERSONAL: dict[str, dict[str, Any]] = {
    "cookie": {"headers": {"Cookie": "session=abc"}},
    "credentials": {"headers": {"Authorization": "Bearer abc"}},
    "user of the server": {"environ": {"REMOTE_USER": "me"}},
    "private": {"query_string": {"cache": "private"}},
    "no-store": {"query_string": {"cache": "no-store"}},
}


@pytest.mark.parametrize("options", PERSONAL.values(), ids=PERSONAL)
def test_nothing_is_learned_from_a_user(app: Flask, options: dict[str, Any]) -> None:
    """A page that may be one user's makes nobody else's hints, but forgets."""

    @app.get("/view")
    def view() -> Response:
        for name in request.headers.get("X-Names", "").split():
            push_static(name)
        response = make_response("page")
        if "cache" in request.args:
            response.headers["Cache-Control"] = request.args["cache"]
        return response

    def visit(names: str, **options: Any) -> list[str]:
        headers = {**options.pop("headers", {}), "X-Names": names}
        return early(app, "/view", headers=headers, **options)

    assert visit("mine.css", **options) == []
    assert visit("a.css a.js") == []
    assert visit("mine.css a.js", **options) == [f"{CSS}, {JS}"]
    assert visit("") == [JS]
    assert visit("") == []


LEARNABLE: dict[str, tuple[str, dict[str, Any], bool]] = {
    "static": ("/static/a.css", {}, True),
    "static with a version": ("/static/a.css?v=1", {}, True),
    "blueprint's static": ("/blog/static/a.css", {}, True),
    "allowed path": ("/everyone/a.css", {}, True),
    "allowed origin": ("https://cdn.example/a.css", {}, True),
    "preconnect to it": ("https://cdn.example", {"rel": "preconnect"}, True),
    "other path": ("/users/5/avatar.png", {}, False),
    "other origin": ("https://cdn.example.evil/a.css", {}, False),
    "preconnect elsewhere": ("https://evil.example", {"rel": "preconnect"}, False),
    "nonce": ("/static/a.js", {"nonce": "r4nd0m"}, False),
    "not for a 103": ("/static/a.css", {"rel": "prefetch"}, False),
}


@pytest.mark.parametrize(
    ("url", "attributes", "learned"), LEARNABLE.values(), ids=LEARNABLE
)
def test_learnable(
    app: Flask, url: str, attributes: dict[str, Any], learned: bool
) -> None:
    """Only static files and what the configuration allows is sent to others."""
    blog = Blueprint("blog", __name__, static_folder="static", url_prefix="/blog")
    app.register_blueprint(blog)
    app.register_blueprint(Blueprint("bare", __name__))
    app.add_url_rule("/view", view_func=lambda: push(url, **attributes))
    early(app, "/view")
    expected = [Link.make(url, **attributes).value] if learned else []
    assert early(app, "/view") == expected


def test_allowed_from_any_page(app: Flask) -> None:
    """What is the same for every user is learned from every user."""
    app.add_url_rule("/view", view_func=lambda: push("/everyone/a.css"))
    early(app, "/view", headers={"Cookie": "a=b"})
    assert early(app, "/view") == ["</everyone/a.css>; rel=preload; as=style"]


def test_static_at_the_root() -> None:
    """Static files that cannot be told from pages teach nothing by themselves."""
    app = Flask(__name__, static_url_path="/")
    app.config["FIREHOSE_EARLY_HINTS"] = True
    Firehose(app, connector=None)
    app.add_url_rule("/view", view_func=lambda: push("/me.css"))
    early(app, "/view")
    assert early(app, "/view") == []


def test_learned_under_a_prefix(app: Flask) -> None:
    """An app under a prefix learns its static files there."""
    options = {"base_url": "http://localhost/mounted"}
    early(app, "/?n=a.css", **options)
    assert early(app, "/", **options) == [
        "</mounted/static/a.css>; rel=preload; as=style"
    ]


def test_learning_turned_off(make_app: MakeApp) -> None:
    """Learning can be turned off."""
    app = make_app(
        "{{ push_static('a.css') }}", FIREHOSE_EARLY_HINTS=True, FIREHOSE_LEARN=False
    )
    early(app)
    assert early(app) == []


def test_learned_is_tracked_apart(app: Flask) -> None:
    """A visitor who has everything still teaches what the page needs."""
    sent: list[Any] = []
    environ = {"wsgi.early_hints": sent.append}
    early(app, "/?n=a.css")
    client = app.test_client()
    for _ in range(3):
        client.get("/?n=a.css", environ_overrides=environ)
    assert sent == [[("Link", CSS)]] * 3


def test_learned_is_bounded() -> None:
    """A flood of made-up hosts costs a bounded amount of memory."""
    learned = Learned(())
    links = [Link.make("/static/a.css")]
    for number in range(MAX_PAGES + 50):
        learned.learn(("page", number), links, ("/static/",), personal=False)
    assert learned.get(("page", 0)) == ()
    assert learned.get(("page", 50)) == tuple(links)


REFUSED: dict[str, dict[str, Any]] = {
    "http/1.0": {"environ": {"SERVER_PROTOCOL": "HTTP/1.0"}},
    "http/0.9": {"environ": {"SERVER_PROTOCOL": "HTTP/0.9"}},
    "fetch": {"headers": {"Sec-Fetch-Mode": "cors"}},
    "embedded": {"headers": {"Sec-Fetch-Mode": "no-cors"}},
    "post": {"environ": {"REQUEST_METHOD": "POST"}},
    "head": {"environ": {"REQUEST_METHOD": "HEAD"}},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_never_sent(app: Flask, options: dict[str, Any]) -> None:
    """Only a navigation over HTTP/1.1 or later is sent a 103."""

    @app.route("/view", methods=["GET", "POST"])
    @hints("/static/a.css")
    def view() -> str:
        return str(send_early_hints())

    assert early(app, "/view", headers={"Sec-Fetch-Mode": "navigate"}) == [CSS]
    assert early(app, "/view", **options) == []


def test_opt_in(make_app: MakeApp) -> None:
    """Nothing is sent early unless the deployment says that it can be."""
    app = make_app()

    @app.get("/view")
    @hints("/static/a.css")
    def view() -> str:
        return str(send_early_hints())

    assert early(app, "/view") == []
    response = app.test_client().get("/view")
    assert response.text == "False"
    assert response.headers["Link"] == CSS


def test_server_without(app: Flask) -> None:
    """A server that cannot send a 103 serves the page."""

    @app.get("/view")
    @hints("/static/a.css")
    def view() -> str:
        return str(send_early_hints())

    assert app.test_client().get("/view").text == "False"


def test_server_that_fails(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the server raises, the page arrives."""

    def fail(headers: object) -> None:
        raise BrokenPipeError("gone")

    app.add_url_rule("/view", view_func=hints("/static/a.css")(lambda: "page"))
    response = app.test_client().get(
        "/view", environ_overrides={"wsgi.early_hints": fail}
    )
    assert response.text == "page"
    assert "'/view': the server sent no early hints" in caplog.text


def test_budget(app: Flask) -> None:
    """A 103 keeps the budget of the header."""
    urls = [f"/static/{number:03}.png" for number in range(300)]
    app.add_url_rule("/view", view_func=hints(*urls, "/static/a.css")(lambda: "page"))
    (value,) = early(app, "/view")
    assert len(value) <= 1024
    assert value.startswith(CSS)


def test_no_session_for_a_hint(app: Flask) -> None:
    """A hint reads no session: the page that pushes nothing has no Vary."""
    app.add_url_rule("/view", view_func=lambda: "page")
    response = app.test_client().get(
        "/view", environ_overrides={"wsgi.early_hints": print}
    )
    assert "Vary" not in response.headers


def test_session_page_teaches_nothing(app: Flask) -> None:
    """A page that a login made is one user's."""

    @app.get("/login")
    def login() -> str:
        session["user"] = "me"
        return "page"

    @app.get("/view")
    def view() -> str:
        return push_static(f"{session.get('user', 'all')}.css")

    client = app.test_client()
    client.get("/login")
    sent: list[Any] = []
    environ = {"wsgi.early_hints": sent.append}
    client.get("/view", environ_overrides=environ)
    assert early(app, "/view") == []
    assert early(app, "/view") == ["</static/all.css>; rel=preload; as=style"]
    assert sent == []
