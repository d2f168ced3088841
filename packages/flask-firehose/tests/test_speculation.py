"""Speculation rules: marked views, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask import request
from flask import session
from flask.views import MethodView

from flask_firehose import Firehose
from flask_firehose import prefetch
from flask_firehose import prefetchable
from flask_firehose import speculative
from flask_firehose._patterns import overlap
from flask_firehose._patterns import pattern
from flask_firehose._patterns import segments


AHEAD = {"Sec-Purpose": "prefetch", "Sec-Fetch-Dest": "document"}


def make_app(**config: Any) -> Flask:
    """Return a shop, whose articles may be fetched ahead."""
    app = Flask(__name__)
    app.config.update({"FIREHOSE_SPECULATION": "moderate", **config})
    app.secret_key = "secret"
    Firehose(app)
    app.add_url_rule("/", "home", lambda: "home")
    app.add_url_rule("/article/new", "new", lambda: "new")
    app.add_url_rule("/logout", "logout", lambda: "bye")
    app.add_url_rule("/cart", "cart", lambda: str(session.get("cart")))

    @app.get("/article/<int:number>")
    @prefetchable
    def article(number: int) -> str:
        return str(speculative())

    @app.get("/tour/<path:place>")
    @prefetchable(prerender=True)
    def tour(place: str) -> str:
        return place

    return app


def rules_of(app: Flask, **options: Any) -> Any:
    """Return the rules that a page names."""
    client = app.test_client()
    field = client.get("/", **options).headers["Speculation-Rules"]
    path = field.strip('"').removeprefix(options.get("base_url", "")[16:])
    response = client.get(path, **options)
    assert response.mimetype == "application/speculationrules+json"
    assert "max-age=300" in response.headers["Cache-Control"]
    return json.loads(response.text)


def matched(rules: Any, kind: str) -> list[str]:
    """Return the patterns that rules match."""
    ((any_of, *_),) = [rule["where"]["and"] for rule in rules.get(kind, ())]
    return [one["href_matches"] for one in any_of["or"]]


def excepted(rules: Any, kind: str) -> list[str]:
    """Return the patterns that rules except."""
    ((_, *rest),) = [rule["where"]["and"] for rule in rules.get(kind, ())]
    return [one["not"]["href_matches"] for one in rest if "href_matches" in one["not"]]


def test_rules() -> None:
    """Marked views alone are named, in the way that each asked for."""
    rules = rules_of(make_app())
    assert matched(rules, "prefetch") == [r"/article/:number(\d+)"]
    assert matched(rules, "prerender") == ["/tour/:place(.+)"]
    assert {rule["eagerness"] for kind in rules.values() for rule in kind} == {
        "moderate"
    }
    assert r"/*\?(.+)" in excepted(rules, "prefetch")
    assert "[rel~=nofollow]" in json.dumps(rules)


def test_mounted() -> None:
    """Below a mount point, patterns start there."""
    rules = rules_of(make_app(), base_url="http://localhost/shop")
    assert matched(rules, "prefetch") == [r"/shop/article/:number(\d+)"]


#: A marked rule, one that is not, and whether that has to be excepted.
OVERLAPS: dict[str, tuple[str, str, bool]] = {
    "fixed in a variable": ("/<page>", "/logout", True),
    "other fixed": ("/article/<page>", "/logout", False),
    "fixed in a path": ("/<path:page>", "/cart/add", True),
    "number in a word": ("/a/<word>", "/a/<int:number>", True),
    "word around a number": ("/a/<int:number>", "/a/<word>", False),
    "word is no number": ("/a/<int:number>", "/a/new", False),
    "catch-all around": ("/a/<word>", "/<path:rest>", False),
    "both vary": ("/article/<page>", "/<section>/<page>", False),
    "unknown converter": ("/<word>", "/<any(out, in):way>", True),
    "half a variable": ("/<word>", "/out-<way>", True),
    "longer": ("/<word>", "/<word>/edit", False),
}


@pytest.mark.parametrize(
    ("marked", "other", "expected"), OVERLAPS.values(), ids=OVERLAPS
)
def test_overlap(marked: str, other: str, expected: bool) -> None:
    """Only URLs of unmarked views are excluded."""
    app = Flask(__name__)
    app.config["FIREHOSE_SPECULATION"] = "eager"
    Firehose(app)
    app.add_url_rule(marked, "marked", prefetchable(lambda **_: "marked"))
    app.add_url_rule(other, "other", lambda **_: "other")
    client = app.test_client()
    rules = json.loads(client.get("/speculation-rules.json").text)
    assert (pattern(segments(other)) in excepted(rules, "prefetch")) is expected


def test_unsafe_pattern() -> None:
    """A marked view whose URLs no pattern describes is left out."""
    app = Flask(__name__)
    app.config["FIREHOSE_SPECULATION"] = "eager"
    Firehose(app)
    app.add_url_rule("/<any(a, b):x>", "x", prefetchable(lambda x: x))
    assert app.test_client().get("/speculation-rules.json").text == "{}"


def test_overlapping_paths() -> None:
    """A path that both patterns match is found, if one exists."""
    assert overlap(segments("/a/<x>"), segments("/<y>/b")) == "/a/b"
    assert overlap(segments("/a/<x>"), segments("/b/<x>")) is None
    assert overlap(segments("/a"), segments("/a/b")) is None
    assert pattern(segments("/a*b/c")) == "/a\\*b/c"


@pytest.mark.parametrize("path", ["/cart", "/missing"])
def test_not_named(path: str) -> None:
    """Personal pages and those that are none do not name the rules."""
    assert "Speculation-Rules" not in make_app().test_client().get(path).headers


def test_off() -> None:
    """Nothing happens unless it is configured."""
    client = make_app(FIREHOSE_SPECULATION=None).test_client()
    assert "Speculation-Rules" not in client.get("/").headers
    assert client.get("/speculation-rules.json").status_code == 404


def test_save_data() -> None:
    """Clients that save data get no rules; pages are the same for everyone."""
    client = make_app().test_client()
    response = client.get("/speculation-rules.json", headers={"Save-Data": "on"})
    assert response.text == "{}"
    assert response.headers["Vary"] == "Save-Data"
    assert "Vary" not in client.get("/", headers={"Save-Data": "on"}).headers


PURPOSES = [
    (None, "None"),
    ("prefetch", "prefetch"),
    ("prefetch;prerender", "prerender"),
]


@pytest.mark.parametrize(("purpose", "expected"), PURPOSES)
def test_speculative(purpose: str | None, expected: str) -> None:
    """A view knows whether somebody waits."""
    headers = {"Sec-Purpose": purpose} if purpose else {}
    assert make_app().test_client().get("/article/1", headers=headers).text == expected


@pytest.mark.parametrize(
    ("config", "path", "status"),
    [
        (False, "/logout", 200),
        (True, "/logout", 503),
        (True, "/article/1", 200),
        (True, "/missing", 404),
    ],
)
def test_refused(config: bool, path: str, status: int) -> None:
    """A page that is not marked is not made ahead, where that is configured."""
    client = make_app(FIREHOSE_REFUSE_SPECULATION=config).test_client()
    assert client.get(path, headers=AHEAD).status_code == status
    assert client.get(path, headers={"Sec-Purpose": "prefetch"}).status_code != 503


def test_marked_method() -> None:
    """A method of a class-based view is marked."""
    app = make_app(FIREHOSE_REFUSE_SPECULATION=True)

    class View(MethodView):
        @prefetchable
        def get(self) -> str:
            return request.path

    app.add_url_rule("/view", view_func=View.as_view("view"))
    assert "/view" in matched(rules_of(app), "prefetch")
    assert app.test_client().get("/view", headers=AHEAD).status_code == 200


def test_prefetch_links() -> None:
    """Links for another page are left out for clients that save data."""
    app = make_app()
    app.add_url_rule("/view", "view", lambda: prefetch("/next"))
    client = app.test_client()
    for value, carried in (("on", False), ("off", True)):
        response = client.get("/view", headers={"Save-Data": value})
        assert ("Link" in response.headers) is carried
        assert response.headers["Vary"] == "Save-Data"
