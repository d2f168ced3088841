"""Prefetches of Chromium, by the rules and without a click."""

from __future__ import annotations

from pathlib import Path

import harness


APP = """\
from flask import Flask, request
from flask_firehose import Firehose, prefetchable

app = Flask(__name__)
app.config["FIREHOSE_SPECULATION"] = "eager"
Firehose(app)
ASKED = []
LINKS = (
    "/article/1", "/article/new", "/article/2?page=2", "/logout", "/cart/add",
    "/tour/a/b", "/tour/secret/b", "/free",
)


@app.before_request
def log():
    ASKED.append((request.full_path.rstrip("?"), request.headers.get("Sec-Purpose")))


@app.get("/asked")
def asked():
    return ASKED


@app.get("/")
def page():
    links = "".join(f"<p><a href='{link}'>{link}</a>" for link in LINKS)
    links += "<p><a rel=nofollow href='/article/3'>nofollow</a>"
    return f"<!doctype html><link rel=icon href='data:,'>{links}"


@app.get("/article/<int:number>")
@prefetchable
def article(number):
    return "article"


@app.get("/tour/<path:place>")
@prefetchable
def tour(place):
    return "tour"


@app.get("/free")
@prefetchable
def free():
    return "free"


@app.get("/article/new")
@app.get("/logout")
@app.get("/cart/add")
@app.get("/tour/secret/<place>")
def unsafe(place=""):
    return "unsafe"
"""


def test_chromium(tmp_path: Path) -> None:
    """Marked pages are fetched when the pointer rests on them, others never."""
    file = tmp_path / "speculating.py"
    file.write_text(APP)
    with (
        harness.gunicorn(file, worker="gthread") as server,
        harness.browser() as chromium,
    ):
        page = chromium.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text))
        with page.expect_request("**/speculation-rules.json"):
            page.goto(server.url)
        asked: list[list[str]] = []
        ahead: list[list[str]] = []
        links = page.locator("a")
        for number in range(links.count()):
            links.nth(number).hover()
            page.wait_for_timeout(300)
        for _ in range(20):
            asked = page.request.get(f"{server.url}/asked").json()
            ahead = [one for one in asked if one[1] == "prefetch"]
            if len(ahead) >= 3:
                break
            page.wait_for_timeout(200)
        assert {path for path, _ in ahead} == {"/article/1", "/tour/a/b", "/free"}
        assert {path for path, purpose in asked if not purpose} == {
            "/", "/asked", "/speculation-rules.json",
        }  # fmt: skip
        assert errors == []
