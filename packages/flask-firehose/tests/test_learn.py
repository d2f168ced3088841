"""Learned hints: what all pages of an endpoint push, and nothing about anybody."""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint
from flask import Flask
from flask import Response
from flask import g
from flask import make_response
from flask import render_template_string
from flask import request
from flask import session

from flask_firehose import Firehose
from flask_firehose import Link
from flask_firehose import hints
from flask_firehose import push
from flask_firehose import push_static
from flask_firehose._learn import MAX_ARGUMENTS
from flask_firehose._learn import MAX_LESSONS
from flask_firehose._learn import WINDOW
from flask_firehose._learn import Learned
from flask_firehose._learn import Visit


FILES = (
    "a.css", "a.js", "themes/dark.css", "shared/s3cret/cover.png", "b.css",
    *(f"products/{number}.png" for number in range(40)), "teams/1.png", "teams/2.png",
)  # fmt: skip
CSS = "</static/a.css>; rel=preload; as=style"
Visitor = Callable[..., list[str]]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with static files that browsers keep."""
    folder = tmp_path / "static"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("file")
    app = Flask(__name__, static_folder=str(folder))
    app.config.update(
        SECRET_KEY="secret",
        FIREHOSE_EARLY_HINTS=True,
        FIREHOSE_LEARN_PREFIXES=["/everyone/", "https://cdn.example/"],
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    Firehose(app)

    @app.get("/")
    def page() -> str:
        return render_template_string(
            "{% for n in request.headers.get('X-Names', '').split() %}"
            "{{ push_static(n) }}{% endfor %}"
        )

    return app


@pytest.fixture
def visit(app: Flask) -> Visitor:
    """Visit a page as somebody new; return the links of the 103."""
    numbers = count()

    def visit(path: str = "/", names: str = "", **options: Any) -> list[str]:
        sent: list[list[tuple[str, str]]] = []
        headers = {
            "Sec-Fetch-Mode": "navigate",
            "X-Names": names,
            "User-Agent": f"Browser {next(numbers)}",
            **options.pop("headers", {}),
        }
        environ = {"wsgi.early_hints": sent.append, **options.pop("environ", {})}
        app.test_client(use_cookies=False).get(
            path, headers=headers, environ_overrides=environ, **options
        ).close()
        return [link for ((_, value),) in sent for link in value.split(", ")]

    return visit


def test_learned(visit: Visitor) -> None:
    """Once several visitors' pages pushed it, the next is sent it early."""
    for _ in range(WINDOW):
        assert visit("/", "a.css a.js") == []
    assert visit("/", "a.css") == [CSS, "</static/a.js>; rel=preload; as=script"]


def test_forgotten(visit: Visitor) -> None:
    """A link that one page does not push is no longer sent."""
    for _ in range(WINDOW):
        visit("/", "a.css a.js")
    visit("/", "a.css")
    assert visit("/", "a.css") == [CSS]
    visit("/")
    assert visit("/") == []


def test_one_visitor_teaches_nothing(visit: Visitor) -> None:
    """Reloading is not agreement."""
    for _ in range(3 * WINDOW):
        assert visit("/", "a.css", headers={"User-Agent": "same"}) == []


def test_secret_path(app: Flask, visit: Visitor) -> None:
    """A secret link shared by many visitors is not sent to others."""

    @app.get("/share/<secret>")
    def share(secret: str) -> str:
        push_static("a.css")
        return push_static(f"shared/{secret}/cover.png")

    for _ in range(3 * WINDOW):
        visit("/share/s3cret")
    for number in range(3 * WINDOW):
        assert not any("s3cret" in link for link in visit(f"/share/{number}"))
    assert visit("/share/other") == [CSS]


def test_secret_query(app: Flask, visit: Visitor) -> None:
    """The same for a secret in the query, whatever is appended to it."""

    @app.get("/share")
    def share() -> str:
        return push_static(f"shared/{request.args['of']}/cover.png")

    for number in range(3 * WINDOW):
        assert visit(f"/share?of=s3cret&from={number}") == []
    assert visit("/share?of=other") == []


def test_dot_segments(app: Flask, visit: Visitor) -> None:
    """Nobody is made to fetch what a query names."""

    @app.get("/themed")
    def themed() -> str:
        return push(f"/static/themes/{request.args['theme']}")

    for theme in ("../../logout", "%2e%2e/%2E%2E/logout", "..%5c../logout", "x/../y"):
        for number in range(WINDOW + 1):
            assert visit("/themed", query_string={"theme": theme, "n": number}) == []


def test_tenant(app: Flask, visit: Visitor) -> None:
    """Static files below a tenant's name are not everybody's."""
    folder = app.static_folder
    blueprint = Blueprint(
        "tenant", __name__, static_folder=folder, url_prefix="/t/<tenant>"
    )

    @blueprint.get("/page/<int:number>")
    def page(tenant: str, number: int) -> str:
        push(f"/t/{tenant}/static/a.css")
        return push(f"/t/{tenant}/private")

    app.register_blueprint(blueprint)
    for number in range(3 * WINDOW):
        assert visit(f"/t/one/page/{number}") == []
    assert visit("/t/two/page/1") == []


def test_tenant_taken_away(app: Flask, visit: Visitor) -> None:
    """An argument that the app takes away before the view still selects the page."""

    @app.url_value_preprocessor
    def take(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.tenant = values and values.pop("tenant", None)

    @app.get("/<tenant>/page/<int:number>")
    def tenant_page(number: int) -> str:
        return push_static("a.css" if g.tenant == "one" else "a.js")

    for number in range(3 * WINDOW):
        assert visit(f"/one/page/{number}") == []
    assert visit("/two/page/1") == []


def test_other_product(app: Flask, visit: Visitor) -> None:
    """A product's picture is not the next one's."""

    @app.get("/product/<int:number>")
    def product(number: int) -> str:
        push_static("a.css")
        return push_static(f"products/{number}.png")

    for number in range(WINDOW):
        assert visit(f"/product/{number}") == []
    for number in range(WINDOW, 40):
        assert visit(f"/product/{number}") == [CSS]


def test_run_of_a_team(app: Flask, visit: Visitor) -> None:
    """Many pages of one team say nothing of what depends on the team."""

    @app.get("/team/<int:team>/<int:number>")
    def team_page(team: int, number: int) -> str:
        push_static("a.css")
        return push_static(f"teams/{team}.png")

    for number in range(5 * WINDOW):
        assert visit(f"/team/1/{number}") == []
    assert visit("/team/2/1") == []
    assert visit("/team/2/2") == [CSS]


def test_mount_points(app: Flask, visit: Visitor) -> None:
    """An app that is mounted twice learns twice."""
    for _ in range(WINDOW):
        visit("/", "a.css", base_url="http://localhost/a")
    assert visit("/", "a.css", base_url="http://localhost/b") == []
    assert visit("/", "a.css", base_url="http://localhost/a") == [
        "</a/static/a.css>; rel=preload; as=style"
    ]


def test_made_up_hosts(visit: Visitor) -> None:
    """More of them than are kept push out nothing, and are told nothing."""
    for _ in range(WINDOW):
        visit("/", "a.css")
    for number in range(MAX_LESSONS + 44):
        assert visit("/", "a.css", base_url=f"http://made-up-{number}.example") == []
    assert visit("/", "a.css") == [CSS]


def test_other_endpoint(app: Flask, visit: Visitor) -> None:
    """Nothing is learned from the pages of another endpoint."""
    app.add_url_rule("/other", "other", lambda: "other")
    for _ in range(WINDOW):
        visit("/", "a.css")
    assert visit("/other") == []


BAD_PAGES: dict[str, Callable[[], Any]] = {
    "failed": lambda: ("page", 500),
    "json": lambda: {"a": 1},
    "redirect": lambda: ("", 302),
    "from a cache": lambda: ("page", 200, {"Age": "5"}),
    "private": lambda: ("page", 200, {"Cache-Control": "private"}),
    "no-store": lambda: ("page", 200, {"Cache-Control": "No-Store"}),
    "sets a cookie": lambda: ("page", 200, {"Set-Cookie": "user=5"}),
    "varies by cookie": lambda: ("page", 200, {"Vary": "Accept, Cookie"}),
    "reads the session": lambda: str(session.get("user")),
    "writes the session": lambda: str(session.setdefault("user", 5)),
}


@pytest.mark.parametrize("answer", BAD_PAGES.values(), ids=BAD_PAGES)
def test_pages_that_teach_nothing(
    app: Flask, visit: Visitor, answer: Callable[[], Any]
) -> None:
    """Only a page of this moment, made for nobody in particular, teaches."""

    @app.get("/view")
    def view() -> Any:
        push_static("a.css")
        return answer()

    for _ in range(WINDOW + 1):
        assert visit("/view") == []


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": "Bearer abc"}},
        {"environ": {"REMOTE_USER": "me"}},
        {"headers": {"Sec-Purpose": "prefetch"}},
    ],
    ids=str,
)
def test_visitors_who_teach_nothing(visit: Visitor, options: dict[str, Any]) -> None:
    """Neither users nor pages that nobody has asked for teach."""
    for _ in range(WINDOW):
        visit("/", "a.css", **options)
    assert visit("/", "a.css") == []


def test_analytics_cookie(visit: Visitor) -> None:
    """A cookie that the page does not read does not prevent learning."""
    for number in range(WINDOW):
        visit("/", "a.css", headers={"Cookie": f"_ga={number}"})
    assert visit("/", "a.css", headers={"Cookie": "_ga=1"}) == [CSS]


def test_personal_page_takes_away(app: Flask, visit: Visitor) -> None:
    """A user's page that lacks a link is a page that lacks it."""

    @app.get("/view")
    def view() -> Response:
        for name in request.headers["X-Names"].split():
            push_static(name)
        response = make_response("page")
        if request.authorization:
            response.headers["Cache-Control"] = "private"
        return response

    for _ in range(WINDOW):
        visit("/view", "a.css b.css")
    user = {"Authorization": "Bearer abc"}
    assert len(visit("/view", "a.css themes/dark.css", headers=user)) == 2
    assert visit("/view", "a.css") == [CSS]


LEARNABLE: dict[str, tuple[str, dict[str, Any], bool]] = {
    "static": ("/static/a.css", {}, True),
    "static with a version": ("/static/a.css?v=1", {}, True),
    "encoded": ("/static/%61.css", {}, True),
    "blueprint's static": ("/blog/static/a.css", {}, True),
    "allowed path": ("/everyone/a.css", {}, True),
    "allowed origin": ("https://cdn.example/a.css", {}, True),
    "preconnect to it": ("https://cdn.example", {"rel": "preconnect"}, True),
    "no such file": ("/static/secret.css", {}, False),
    "a folder": ("/static/themes", {"as_": "style"}, False),
    "other path": ("/users/5/avatar.png", {}, False),
    "other origin": ("https://cdn.example.evil/a.css", {}, False),
    "preconnect elsewhere": ("https://evil.example", {"rel": "preconnect"}, False),
    "nonce": ("/static/a.js", {"nonce": "r4nd0m"}, False),
    "not for a 103": ("/static/a.css", {"rel": "prefetch"}, False),
    "never fetched": ("/static/a.css", {"as_": "video"}, False),
}


@pytest.mark.parametrize(
    ("url", "attributes", "learned"), LEARNABLE.values(), ids=LEARNABLE
)
def test_learnable(
    app: Flask, visit: Visitor, url: str, attributes: dict[str, Any], learned: bool
) -> None:
    """Only files that exist and what the configuration allows is sent to others."""
    blog = Blueprint(
        "blog", __name__, static_folder=app.static_folder, url_prefix="/blog"
    )
    app.register_blueprint(blog)
    app.register_blueprint(Blueprint("bare", __name__))
    app.add_url_rule("/view", "view", view_func=lambda: push(url, **attributes))
    for _ in range(WINDOW):
        assert visit("/view") == []
    expected = [Link.make(url, **attributes).value] if learned else []
    assert visit("/view") == expected


def test_static_at_the_root(tmp_path: Path) -> None:
    """Files at the root of the site are told from its pages by existing."""
    (tmp_path / "a.css").write_text("file")
    app = Flask(__name__, static_folder=str(tmp_path), static_url_path="/")
    app.config.update(FIREHOSE_EARLY_HINTS=True, SEND_FILE_MAX_AGE_DEFAULT=60)
    firehose = Firehose(app)
    static = app.extensions["firehose"].static
    assert firehose is not None
    assert static.max_age("/a.css", "") == 60
    assert static.max_age("/me", "") is None


@pytest.mark.parametrize(
    ("config", "options"),
    [({"FIREHOSE_LEARN": False}, {}), ({}, {"learn": False})],
    ids=["app", "view"],
)
def test_turned_off(
    app: Flask, visit: Visitor, config: dict[str, Any], options: dict[str, Any]
) -> None:
    """Learning can be turned off, for the app or for a view."""
    quiet = Flask(__name__, static_folder=app.static_folder)
    quiet.config.update({**app.config, **config})
    Firehose(quiet)
    view = hints("/static/b.css", **options)(lambda: push_static("a.css"))
    quiet.add_url_rule("/", "view", view_func=view)
    sent: list[Any] = []
    for number in range(WINDOW + 1):
        quiet.test_client().get(
            "/",
            headers={"Sec-Fetch-Mode": "navigate", "User-Agent": f"Browser {number}"},
            environ_overrides={"wsgi.early_hints": sent.append},
        )
    assert all("a.css" not in str(links) for links in sent)


def test_declared_and_learned(app: Flask, visit: Visitor) -> None:
    """A view that declares takes along what was learned, in one 103."""
    view = hints("/static/a.js")(lambda: push_static("a.css"))
    app.add_url_rule("/view", "view", view_func=view)
    for _ in range(WINDOW):
        visit("/view")
    assert visit("/view") == [CSS, "</static/a.js>; rel=preload; as=script"]


def test_save_data(visit: Visitor) -> None:
    """Clients that save data get no learned hints."""
    for _ in range(WINDOW):
        visit("/", "a.css")
    assert visit("/", "a.css", headers={"Save-Data": "on"}) == []
    assert visit("/", "a.css", headers={"Save-Data": "off"}) == [CSS]


def some(number: int, **arguments: int) -> Visit:
    """Return a visit of a page without arguments in its path."""
    return Visit(number, None, arguments)


def test_a_thousand_hosts() -> None:
    """Hints learned for the app's own hosts stay, and no other host gets them."""
    learned = Learned()
    links = {"a": Link.make("/static/a.css")}
    own = ("page", "", "example.com")
    for number in range(WINDOW):
        learned.learn(own, links, some(number))
    for number in range(1000):
        made_up = ("page", "", f"made-up-{number}.example")
        for key in (made_up, own):
            learned.learn(key, links, some(number))
        assert learned.get(made_up) == {}
        assert learned.get(own) == links


def test_bounded() -> None:
    """Made-up keys cost a bounded amount of memory."""
    learned = Learned()
    links = {"a": Link.make("/static/a.css")}
    for key in range(MAX_LESSONS):
        for number in range(WINDOW):
            learned.learn(key, links, some(number))
    for number in range(WINDOW):
        learned.learn("late", links, some(number))
    assert learned.get("late") == {}
    assert learned.get(0) == learned.get(MAX_LESSONS - 1) == links


def test_too_many_arguments() -> None:
    """A flood of parameters is not remembered."""
    learned = Learned()
    links = {"a": Link.make("/static/a.css")}
    arguments = {f"name{number}": number for number in range(MAX_ARGUMENTS + 1)}
    for number in range(WINDOW):
        learned.learn("page", links, some(number, **arguments))
    assert learned.get("page") == {}


def simulated(steps: int, by_team: bool) -> Iterator[tuple[str, str, set[str], Visit]]:
    """Yield pages of a site: an endpoint, its secret, its links and the visit."""
    chance = random.Random(17)
    team, left = 1, 0
    for step in range(steps):
        if left == 0:
            team, left = chance.randrange(1, 30), 60 if by_team else 1
        left -= 1
        user = team * 100 + chance.randrange(25)
        kind = chance.choice(["home", "product", "theme", "share", "team", "me", "ab"])
        number = chance.randrange(300)
        secret, arguments, has_path = "", {}, True
        match kind:
            case "home":
                has_path = False
            case "theme":
                theme = chance.choice(["dark", "light", "dark", f"x{number}"])
                secret, arguments, has_path = theme, {"theme": hash(theme)}, False
            case "product":
                secret, arguments = f"product{number}", {"id": number}
            case "share":
                secret, arguments = f"share{team}", {"secret": team}
            case "team":
                secret = f"team{team}"
                arguments = {"team": team, "page": number}
            case "me":
                secret, has_path = f"user{user}", False
            case _:
                has_path = False
        links = {"app.css", f"{kind}.js", secret} - {""}
        if kind == "ab":
            links.add(f"variant{chance.randrange(2)}.css")
        path = hash((kind, *arguments.values())) if has_path else None
        yield kind, secret, links, Visit(user * 1000 + step % 3, path, arguments)


@pytest.mark.parametrize("by_team", [False, True], ids=["mixed", "in runs"])
def test_simulation(by_team: bool) -> None:
    """No leak in 10,000 visits, and most of what all pages share is hinted."""
    learned = Learned()
    made: dict[str, Link] = {}
    leaks = hinted = shared = 0
    for kind, _, links, visit in simulated(10_000, by_team):
        ahead = learned.get(kind).keys()
        leaks += sum(
            1 for link in ahead if link not in links and not link.startswith("variant")
        )
        common = {"app.css", f"{kind}.js"}
        shared += len(common)
        hinted += len(common & ahead)
        found = {
            name: made.setdefault(name, Link.make(f"/static/{name}")) for name in links
        }
        learned.learn(kind, found, visit)
    assert leaks == 0
    assert hinted / shared >= 0.8
