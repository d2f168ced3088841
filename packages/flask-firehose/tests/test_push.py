"""Links on the response: what a page pushes."""

from __future__ import annotations

import logging
import random
import string
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Blueprint
from flask import Flask
from flask import Response
from flask import abort
from flask import after_this_request
from flask import jsonify
from flask import redirect
from flask import render_template_string
from flask import request_finished
from flask import session
from flask import stream_template_string
from flask import stream_with_context

import flask_firehose
from flask_firehose import Firehose
from flask_firehose import SetupError
from flask_firehose import _push
from flask_firehose import push
from flask_firehose import push_static


MakeApp = Callable[..., Flask]

TEMPLATES = {
    "seed": (
        "{{ push('/static/css/main.css', as='style', rel='preload') }}",
        "/static/css/main.css",
        "</static/css/main.css>; rel=preload; as=style",
    ),
    "inferred": ("{{ push('/a.css') }}", "/a.css", "</a.css>; rel=preload; as=style"),
    "flag": (
        "{{ push('/a.css', 'nopush') }}",
        "/a.css",
        "</a.css>; rel=preload; as=style; nopush",
    ),
    "preload": ("{{ preload('/a.css') }}", "/a.css", "</a.css>; rel=preload; as=style"),
    "modulepreload": (
        "{{ modulepreload('/a.js') }}",
        "/a.js",
        "</a.js>; rel=modulepreload; crossorigin",
    ),
    "preconnect": (
        "{{ preconnect('https://cdn.example') }}",
        "https://cdn.example",
        "<https://cdn.example>; rel=preconnect",
    ),
    "dns_prefetch": (
        "{{ dns_prefetch('https://cdn.example') }}",
        "https://cdn.example",
        "<https://cdn.example>; rel=dns-prefetch",
    ),
    "prefetch": ("{{ prefetch('/next') }}", "/next", "</next>; rel=prefetch"),
    "push_static": (
        "{{ push_static('a b.css') }}",
        "/static/a%20b.css",
        "</static/a%20b.css>; rel=preload; as=style",
    ),
    "encoded in the header alone": (
        "{{ push('/é.css') }}",
        "/é.css",
        "</%C3%A9.css>; rel=preload; as=style",
    ),
}


@pytest.mark.parametrize(("template", "url", "link"), TEMPLATES.values(), ids=TEMPLATES)
def test_template(make_app: MakeApp, template: str, url: str, link: str) -> None:
    """Each function is a Jinja global, gives the URL back and pushes it."""
    response = make_app(template).test_client().get("/")
    assert response.text == url
    assert response.headers.getlist("Link") == [link]


@pytest.mark.parametrize("attributes", [{"as_": "style"}, {"as": "style"}], ids=str)
def test_view(make_app: MakeApp, attributes: Any) -> None:
    """A view pushes too, where ``as`` is a keyword."""
    app = make_app()

    @app.get("/view")
    def view() -> str:
        return push("/main", rel="preload", **attributes)

    response = app.test_client().get("/view")
    assert response.text == "/main"
    assert response.headers["Link"] == "</main>; rel=preload; as=style"


def test_nothing_pushed(make_app: MakeApp) -> None:
    """A page that pushes nothing leaves as it came: no session is read for it."""
    response = make_app("plain").test_client().get("/")
    assert "Link" not in response.headers
    assert "Vary" not in response.headers
    assert "Set-Cookie" not in response.headers


def test_one_header(make_app: MakeApp) -> None:
    """All links leave in one header, each once, the most important first."""
    template = (
        "{% for u in ['/a.png', '/a.js', '/a.css', '/a.js'] %}{{ push(u) }}{% endfor %}"
    )
    response = make_app(template).test_client().get("/")
    assert response.headers.getlist("Link") == [
        "</a.css>; rel=preload; as=style, </a.js>; rel=preload; as=script, "
        "</a.png>; rel=preload; as=image"
    ]


def test_existing_links_stay(make_app: MakeApp) -> None:
    """The app's own links are kept, and not repeated."""
    app = make_app()

    @app.get("/view")
    def view() -> Response:
        push("/a.css")
        push("/b.css")
        links = "</2>; rel=next, </a.css>; rel=preload; as=style"
        return Response("", headers={"Link": links})

    response = app.test_client().get("/view")
    assert response.headers.getlist("Link") == [
        "</2>; rel=next, </a.css>; rel=preload; as=style",
        "</b.css>; rel=preload; as=style",
    ]


REFUSED = [
    "/x>; rel=preload, </b",
    "javascript:alert(1)",
    "//evil.example",
    "a.css",
    "",
]


@pytest.mark.parametrize("url", [*REFUSED, None, 5, ["/a"]], ids=repr)
def test_refused(make_app: MakeApp, url: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No input is worth the page: a bad link is logged and left out."""
    app = make_app("{{ push(url) is sameas(url) }}{{ push('/a.css') }}")
    app.jinja_env.globals["url"] = url
    response = app.test_client().get("/")
    assert response.text == "True/a.css"
    assert response.headers["Link"] == "</a.css>; rel=preload; as=style"
    assert f"'/': pushing {url!r} failed: " in caplog.text


class Incomparable(str):
    """A string that an app made odd."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("not comparable")


def test_odd_objects(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that cannot be compared does not break a page."""
    app = make_app("{{ push('/a.css', media=odd) }}{{ push('/b.css') }}")
    app.jinja_env.globals["odd"] = Incomparable("print")
    client = app.test_client(use_cookies=False)
    for _ in range(2):
        assert client.get("/").headers["Link"].startswith("</a.css>; rel=preload")
    app.jinja_env.globals["odd"] = [Incomparable("print")]
    assert client.get("/").headers["Link"] == "</b.css>; rel=preload; as=style"
    assert "'/': pushing '/a.css' failed: media is ['print']: use" in caplog.text


def test_made_up_links(make_app: MakeApp) -> None:
    """However many links are pushed, those that are kept are few."""
    client = make_app("{{ push('/own.css', nonce=request.args.n) }}").test_client()
    for number in range(20):
        link = client.get(f"/?n=r4nd0m{number}").headers["Link"]
        assert link.endswith(f"nonce=r4nd0m{number}")
    assert ("/own.css", ()) not in _push._made
    client = make_app("{{ push('/way.css', media=request.args.m) }}").test_client()
    for number in range(20):
        link = client.get(f"/?m=print{number}").headers["Link"]
        assert link.endswith(f"media=print{number}")
    assert len(_push._made["/way.css", ()]) == _push.MAX_WAYS + 1


def test_undefined(make_app: MakeApp) -> None:
    """An undefined template variable makes no link."""
    response = make_app("{{ push(nothing) }}").test_client().get("/")
    assert (response.status_code, response.text) == (200, "")


def test_budget(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """A page may push anything: the header stays short, the rest is logged."""
    caplog.set_level(logging.DEBUG, "flask_firehose")
    template = (
        "{% for n in range(299) %}{{ push('/static/%d.png' % n) }}{% endfor %}"
        "{{ push('/static/main.css') }}"
    )
    response = make_app(template, FIREHOSE_MAX_LINKS=300).test_client().get("/")
    assert response.status_code == 200
    link = response.headers["Link"]
    assert 950 < len(link) <= 1024
    assert link.startswith("</static/main.css>; rel=preload; as=style, </static/0.png>")
    assert "'/': no room for </static/" in caplog.text


def test_budget_counts_existing_links(make_app: MakeApp) -> None:
    """The app's own links take their part of the budget."""
    app = make_app(FIREHOSE_MAX_BYTES=40)

    @app.get("/view")
    def view() -> Response:
        push("/a.css")
        return Response("", headers={"Link": "</2>; rel=next"})

    response = app.test_client().get("/view")
    assert response.headers.getlist("Link") == ["</2>; rel=next"]


def pushing(answer: Callable[[], Any]) -> Callable[[], Any]:
    """Make a view that pushes, and then answers."""

    def view() -> Any:
        push("/a.css")
        return answer()

    return view


CARRIED: dict[str, tuple[str, Callable[[], Any], bool]] = {
    "page": ("GET", lambda: "page", True),
    "created": ("GET", lambda: ("page", 201), True),
    "head": ("HEAD", lambda: "page", True),
    "xhtml": ("GET", lambda: Response("", mimetype="application/xhtml+xml"), True),
    "post": ("POST", lambda: "page", False),
    "json": ("GET", lambda: jsonify(a=1), False),
    "redirect": ("GET", lambda: redirect("/other"), False),
    "not found": ("GET", lambda: abort(404), False),
    "failed": ("GET", lambda: ("page", 500), False),
    "not modified": ("GET", lambda: ("", 304), False),
}


@pytest.mark.parametrize(("method", "answer", "carried"), CARRIED.values(), ids=CARRIED)
def test_carried(
    make_app: MakeApp, method: str, answer: Callable[[], Any], carried: bool
) -> None:
    """Pages that arrive carry links, and nothing else does or is recorded."""
    app = make_app()
    app.add_url_rule("/view", view_func=pushing(answer), methods=["GET", "POST"])
    response = app.test_client().open("/view", method=method)
    assert ("Link" in response.headers) is carried
    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers


def test_other_types(make_app: MakeApp) -> None:
    """The types of responses with links are configurable."""
    app = make_app(FIREHOSE_MIMETYPES=["image/svg+xml"])
    app.add_url_rule(
        "/view", view_func=pushing(lambda: Response("", mimetype="image/svg+xml"))
    )
    assert "Link" in app.test_client().get("/view").headers


def test_error_page(make_app: MakeApp) -> None:
    """A view that pushed and then raised leaves nothing to the next request."""
    app = make_app("page")
    app.add_url_rule("/view", view_func=pushing(lambda: 1 / 0))
    with app.app_context():
        client = app.test_client()
        assert "Link" not in client.get("/view").headers
        app.testing = True
        with pytest.raises(ZeroDivisionError, match="division"):
            client.get("/view")
        assert "Link" not in client.get("/").headers


def test_no_log_injection(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """No link begins a line of the log."""
    app = make_app()
    app.add_url_rule("/view", view_func=lambda: push("/a\nERROR forged"))
    app.test_client().get("/view")
    assert r"'/view': pushing '/a\nERROR forged' failed" in caplog.text
    assert caplog.text.count("\n") == 1


def test_streamed(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """A push before the stream is carried; one after its head is logged."""
    app = make_app()

    @app.get("/view")
    def view() -> Response:
        push("/early.css")

        def stream() -> Iterator[str]:
            yield push("/late.css")

        return Response(stream_with_context(stream()))

    response = app.test_client().get("/view")
    assert response.text == "/late.css"
    assert response.headers["Link"] == "</early.css>; rel=preload; as=style"
    assert (
        "'/view': pushed too late, the response had already started: '/late.css'"
        in caplog.text
    )


def test_streamed_template(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """A streamed template that pushes too late logs a warning."""
    app = make_app()

    @app.get("/view")
    def view() -> Any:
        return stream_template_string("{{ push('/late.css') }}")

    response = app.test_client().get("/view")
    assert response.text == "/late.css"
    assert "Link" not in response.headers
    assert "'/view': pushed too late" in caplog.text


def test_pushed_after_the_page(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Functions after this request still push; those after every request do not."""
    app = make_app("{{ push('/a.css') }}")

    @app.before_request
    def before() -> None:
        @after_this_request
        def late(response: Response) -> Response:
            push("/b.css")
            return response

    @app.after_request
    def after(response: Response) -> Response:
        push("/c.css")
        return response

    headers = app.test_client().get("/").headers
    assert headers.getlist("Link") == [
        "</a.css>; rel=preload; as=style, </b.css>; rel=preload; as=style"
    ]
    assert "pushed too late, the response had already started: '/c.css'" in caplog.text


def test_no_static_folder(make_app: MakeApp) -> None:
    """A file that no folder serves is an error that says what to do."""
    app = Flask(__name__, static_folder=None)
    Firehose(app)
    message = r"'a.css' has no URL: 'static' has no static folder; give"
    with app.test_request_context(), pytest.raises(SetupError, match=message):
        push_static("a.css")


def test_static_file_of_a_blueprint(make_app: MakeApp) -> None:
    """A blueprint pushes the files of its own static folder."""
    app = make_app()
    blog = Blueprint("blog", __name__, static_folder="static", url_prefix="/blog")

    @blog.get("/")
    def index() -> str:
        return push_static("a.css", endpoint=".static")

    app.register_blueprint(blog)
    app.add_url_rule(
        "/view", "view", lambda: push_static("a.css", endpoint="blog.static")
    )
    for path in ("/blog/", "/view"):
        assert app.test_client().get(path).text == "/blog/static/a.css"


@pytest.mark.parametrize("note", [0, 1000, 1900, 2400, 2800])
def test_whole_head(make_app: MakeApp, note: int) -> None:
    """With links, the headers are never longer than allowed."""
    app = make_app()

    @app.get("/view")
    def view() -> str:
        session["note"] = "".join(random.Random(1).choices(string.printable, k=note))
        for number in range(30):
            push(f"/static/images/picture-number-{number}.png")
        return "page"

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; " * 20
        return response

    headers = app.test_client().get("/view").headers
    assert "Set-Cookie" in headers
    links = headers.get("Link", "").count("rel=preload")
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    assert size <= 3840 or links == 0
    assert links > 0 or size + 60 > 3840


def test_whole_head_behind_middleware(make_app: MakeApp) -> None:
    """A response is settled where middleware copies, delays and adds to it."""
    app = Flask(__name__)
    app.config["FIREHOSE_MAX_HEAD"] = 300
    inner = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Iterator[bytes]:
        held: list[Any] = []

        def hold(*start: Any) -> Any:
            held.extend(start)

        body = list(inner(dict(environ), hold))
        start_response(held[0], [*held[1], ("X-Long", "long" * 40)])
        yield from body

    app.wsgi_app = middleware  # type: ignore[method-assign]
    Firehose(app)

    @app.get("/view")
    def view() -> str:
        for number in range(3):
            push(f"/static/{number}.css")
        return "page"

    headers = app.test_client().get("/view").headers
    assert headers["X-Long"]
    assert headers["Link"] == "</static/0.css>; rel=preload; as=style"


def test_no_signal(make_app: MakeApp) -> None:
    """No receiver of a signal is left, which every request of the process would pay."""
    before = len(request_finished.receivers)
    make_app().test_client().get("/")
    assert len(request_finished.receivers) == before


def test_whole_head_keeps_other_links(make_app: MakeApp) -> None:
    """The app's own links are never taken away."""
    app = make_app(FIREHOSE_MAX_HEAD=300)

    @app.get("/view")
    def view() -> Response:
        push("/static/a.css")
        return Response("page", headers={"Link": "</2>; rel=next"})

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-Long"] = "long" * 60
        return response

    assert app.test_client().get("/view").headers.getlist("Link") == ["</2>; rel=next"]


def test_login_during_a_slow_page(make_app: MakeApp) -> None:
    """A page that pushes does not write the session that it began with."""
    app = make_app()
    gate = threading.Barrier(2, timeout=10)

    @app.get("/slow")
    def slow() -> str:
        push("/static/a.css")
        gate.wait()
        gate.wait()
        return str(session.get("user"))

    @app.get("/login")
    def login() -> str:
        session["user"] = "me"
        return "welcome"

    with ThreadPoolExecutor(1) as pool:
        for _ in range(100):
            slow_page = pool.submit(app.test_client().get, "/slow")
            gate.wait()
            client = app.test_client()
            client.get("/login")
            gate.wait()
            assert "Set-Cookie" not in slow_page.result(10).headers


def test_async_view(make_app: MakeApp) -> None:
    """An asynchronous view pushes."""
    pytest.importorskip("asgiref")
    app = make_app()

    @app.get("/view")
    async def view() -> str:
        return push("/a.css")

    assert "/a.css" in app.test_client().get("/view").headers["Link"]


def test_nested_requests(make_app: MakeApp) -> None:
    """A view that asks its own app gets the answer's links apart from its own."""
    app = make_app("{{ push('/inner.css') }}")

    @app.get("/outer")
    def outer() -> str:
        push("/first.css")
        inner = app.test_client().get("/").headers["Link"]
        push("/second.css")
        return inner

    response = app.test_client().get("/outer")
    assert response.text == "</inner.css>; rel=preload; as=style"
    assert response.headers["Link"] == (
        "</first.css>; rel=preload; as=style, </second.css>; rel=preload; as=style"
    )


def test_one_context_for_two_requests(make_app: MakeApp) -> None:
    """Requests that follow under one context keep their links apart."""
    app = make_app("{{ push('/a.css') if request.args }}", connector=None)
    with app.app_context():
        client = app.test_client()
        assert "Link" in client.get("/?a").headers
        assert "Link" not in client.get("/").headers


def test_mounted(make_app: MakeApp) -> None:
    """Under a prefix the static files are pushed from there."""
    app = make_app("{{ push_static('a.css') }}")
    response = app.test_client().get("/", base_url="http://localhost/mounted")
    assert response.headers["Link"].startswith("</mounted/static/a.css>")


def test_blueprint(make_app: MakeApp) -> None:
    """A blueprint's views and templates push."""
    app = make_app()
    blueprint = Blueprint("blog", __name__, url_prefix="/blog")

    @blueprint.get("/")
    def index() -> str:
        return render_template_string("{{ push('/blog.css') }}")

    app.register_blueprint(blueprint)
    assert "/blog.css" in app.test_client().get("/blog/").headers["Link"]


def test_two_apps() -> None:
    """One object serves two apps with their own configuration."""
    firehose = Firehose(connector=None)
    apps = []
    for limit in (1, 2):
        app = Flask(__name__)
        app.config["FIREHOSE_MAX_LINKS"] = limit
        firehose.init_app(app)

        @app.get("/")
        def page() -> str:
            push_static("a.css")
            push_static("b.css")
            return ""

        apps.append(app)
    links = [app.test_client().get("/").headers["Link"] for app in apps]
    assert [link.count("rel=") for link in links] == [1, 2]


def test_set_up_twice() -> None:
    """An app is set up once."""
    app = Flask(__name__)
    firehose = Firehose(app)
    with pytest.raises(SetupError, match="already"):
        firehose.init_app(app)


def test_without_the_extension() -> None:
    """An app without the extension is told what to do."""
    app = Flask(__name__)
    with (
        app.test_request_context(),
        pytest.raises(SetupError, match=r"not set up on the app .*init_app"),
    ):
        push("/a.css")


def test_outside_a_request(make_app: MakeApp) -> None:
    """Without a request there is no page that could push."""
    with pytest.raises(SetupError, match="needs an app context"):
        push("/a.css")
    with (
        make_app().app_context(),
        pytest.raises(SetupError, match="needs a request"),
    ):
        push("/a.css")


def test_star_import() -> None:
    """Every public name exists."""
    names: dict[str, object] = {}
    exec("from flask_firehose import *", names)
    assert set(flask_firehose.__all__) <= set(names)
    assert flask_firehose.__all__ == sorted(flask_firehose.__all__)
