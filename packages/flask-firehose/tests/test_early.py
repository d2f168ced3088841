"""103 Early Hints: their recipients, and learning from pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint
from flask import Flask
from flask import request
from flask import url_for
from flask.views import MethodView

from flask_firehose import Firehose
from flask_firehose import Link
from flask_firehose import LinkError
from flask_firehose import SetupError
from flask_firehose import hints
from flask_firehose import push
from flask_firehose import send_early_hints
from flask_firehose import static


MakeApp = Callable[..., Flask]
NAVIGATE = {"Sec-Fetch-Mode": "navigate"}
CSS = "</static/a.css>; rel=preload; as=style"
JS = "</static/a.js>; rel=preload; as=script"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app that sends early hints, and has a style sheet."""
    return make_app(FIREHOSE_EARLY_HINTS=True, FIREHOSE_STATIC_FRESH=True)


def early(app: Flask, path: str = "/", **options: Any) -> list[str]:
    """Return the links of the 103s that one new visitor is sent."""
    sent: list[list[tuple[str, str]]] = []
    environ = {"wsgi.early_hints": sent.append, **options.pop("environ", {})}
    headers = {"Sec-Fetch-Mode": "navigate", **options.pop("headers", {})}
    client = app.test_client(use_cookies=False)
    client.get(path, environ_overrides=environ, headers=headers, **options).close()
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
        headers=NAVIGATE,
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


def test_declared_by_a_method(app: Flask) -> None:
    """A method of a class-based view declares for itself."""

    class View(MethodView):
        @hints("/static/a.css")
        def get(self) -> str:
            return "page"

        def post(self) -> str:
            return "posted"

    app.add_url_rule("/view", view_func=View.as_view("view"))
    assert early(app, "/view") == [CSS]
    assert "Link" not in app.test_client().post("/view").headers


def test_declared_for_each_request(app: Flask) -> None:
    """Files and functions are resolved where the app is mounted, for this page."""
    blog = Blueprint("blog", __name__, static_folder="static", url_prefix="/blog")
    app.register_blueprint(blog)

    def of_the_page() -> list[str]:
        return [url_for("static", filename=f"{request.view_args['name']}.js")]  # type: ignore[index]

    app.add_url_rule(
        "/view/<name>",
        view_func=hints(
            static("a.css"), static("b.css", endpoint="blog.static"), of_the_page
        )(lambda name: name),
    )
    assert early(app, "/view/five", base_url="http://localhost/mounted") == [
        "</mounted/static/a.css>; rel=preload; as=style, "
        "</mounted/blog/static/b.css>; rel=preload; as=style, "
        "</mounted/static/five.js>; rel=preload; as=script"
    ]


FUNCTIONS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "url": (lambda: "/static/a.css", [CSS]),
    "link": (lambda: Link.make("/static/a.css"), [CSS]),
    "file": (lambda: static("a.css"), [CSS]),
    "nothing": (lambda: None, []),
    "broken": (lambda: str(1 / 0), []),
    "bad": (lambda: ["a.css"], []),
}


@pytest.mark.parametrize(("function", "sent"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_declared_by_a_function(
    app: Flask, function: Callable[[], Any], sent: list[str]
) -> None:
    """Whatever a function returns or raises, the page arrives."""
    app.add_url_rule("/view", view_func=hints(function)(lambda: "page"))
    assert early(app, "/view") == sent
    assert app.test_client().get("/view").text == "page"


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("by_method", [False, True])
def test_declared_behind_a_login(app: Flask, public: bool, by_method: bool) -> None:
    """A refused visitor learns nothing of a page, unless its hints are public."""

    @app.before_request
    def log_in() -> Any:
        return ("log in", 401) if "user" not in request.args else None

    declare = hints("/static/a.css", public=public)

    class View(MethodView):
        get = declare(lambda _: "secret")

    view = View.as_view("view") if by_method else declare(lambda: "secret")
    app.add_url_rule("/admin", view_func=view, endpoint="admin")
    assert early(app, "/admin") == ([CSS] if public else [])
    assert early(app, "/admin?user") == [CSS]


def test_declared_below_a_login(app: Flask) -> None:
    """A decorator above ``@hints`` decides first."""

    def login_required(view: Callable[[], str]) -> Callable[[], Any]:
        return lambda: view() if "user" in request.args else ("log in", 401)

    view = login_required(hints("/static/a.css")(lambda: "secret"))
    app.add_url_rule("/admin", view_func=view, endpoint="admin")
    assert early(app, "/admin") == []
    assert early(app, "/admin?user") == [CSS]


def test_declared_wrongly() -> None:
    """A declaration that cannot be sent fails when the module is imported."""
    with pytest.raises(LinkError, match=r"^url is 'static/a.css': start it with"):
        hints("static/a.css")
    with pytest.raises(LinkError, match=r"^hint is 5: use a URL, a Link, static\(\)"):
        hints(5)  # type: ignore[arg-type]


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


REFUSED: dict[str, dict[str, Any]] = {
    "http/1.0": {"environ": {"SERVER_PROTOCOL": "HTTP/1.0"}},
    "http/0.9": {"environ": {"SERVER_PROTOCOL": "HTTP/0.9"}},
    "fetch": {"headers": {"Sec-Fetch-Mode": "cors"}},
    "embedded": {"headers": {"Sec-Fetch-Mode": "no-cors"}},
    "prefetched": {"headers": {"Sec-Purpose": "prefetch"}},
    "prerendered": {"headers": {"Sec-Purpose": "prefetch;prerender"}},
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

    assert early(app, "/view") == [CSS]
    assert early(app, "/view", **options) == []


def test_never_sent_to_what_says_nothing(app: Flask) -> None:
    """Clients other than browsers take a 103 for the answer, and get none."""
    app.add_url_rule("/view", view_func=hints("/static/a.css")(lambda: "page"))
    sent: list[Any] = []
    app.test_client().get("/view", environ_overrides={"wsgi.early_hints": sent.append})
    assert sent == []


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
        "/view", environ_overrides={"wsgi.early_hints": fail}, headers=NAVIGATE
    )
    assert response.text == "page"
    assert "'/view': sending early hints failed" in caplog.text


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
        "/view", environ_overrides={"wsgi.early_hints": print}, headers=NAVIGATE
    )
    assert "Vary" not in response.headers


def serving(folder: Path, max_age: int | None, **config: Any) -> Flask:
    """Return an app that has a style sheet."""
    (folder / "a.css").write_text("p {}")
    app = Flask(__name__, static_folder=str(folder), static_url_path="/static")
    app.config.update(
        FIREHOSE_EARLY_HINTS=True, SEND_FILE_MAX_AGE_DEFAULT=max_age, **config
    )
    Firehose(app)
    cdn = Link.make("https://cdn.example", rel="preconnect")
    view = hints("/static/a.css", "https://cdn.example/b.css", cdn)(lambda: "page")
    app.add_url_rule("/view", view_func=view)
    return app


FRESH: dict[str, tuple[int | None, dict[str, Any], bool]] = {
    "Flask's default": (None, {}, False),
    "zero": (0, {}, False),
    "an hour": (3600, {}, True),
    "given by a proxy": (None, {"FIREHOSE_STATIC_FRESH": True}, True),
}


@pytest.mark.parametrize(("max_age", "config", "fresh"), FRESH.values(), ids=FRESH)
def test_only_what_browsers_keep(
    tmp_path: Path,
    max_age: int | None,
    config: dict[str, Any],
    fresh: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file without a max age is left out of the 103, with a warning."""
    app = serving(tmp_path, max_age, **config)
    (link,) = early(app, "/view")
    assert (CSS in link) is fresh
    assert "<https://cdn.example/b.css>" in link
    assert "rel=preconnect" in link
    assert CSS in app.test_client().get("/view").headers["Link"]
    assert ("set SEND_FILE_MAX_AGE_DEFAULT" in caplog.text) is not fresh


def test_no_warning_without_static_files(caplog: pytest.LogCaptureFixture) -> None:
    """An app without a static folder has nothing to set."""
    app = Flask(__name__, static_folder=None)
    app.config["FIREHOSE_EARLY_HINTS"] = True
    Firehose(app)
    assert caplog.text == ""
