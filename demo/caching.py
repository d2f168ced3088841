"""Pages that are cached in different ways, and one that is not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from flask import Blueprint
from flask import Response
from flask import current_app
from flask import jsonify
from flask import make_response
from flask import redirect
from flask import render_template
from flask import request
from flask import session
from flask import url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from demo.extensions import webcache
from demo.recorder import MEASURED
from flask_webcache.modifiers import cache_control
from flask_webcache.modifiers import cache_for


caching = Blueprint("caching", __name__)

#: How long it takes to make one of these pages.
SECONDS = 0.15
CROWD = 50


def made() -> Response:
    """Make a page, slowly, and tag it."""
    time.sleep(SECONDS)
    response = make_response(f"made at {time.strftime('%H:%M:%S')}\n")
    response.mimetype = "text/plain"
    response.headers["Cache-Tag"] = "specimen"
    return response


@caching.get("/cache/plain")
@cache_control(s_maxage=30, max_age=0)
def plain() -> Response:
    """A page that is fresh for 30 seconds here; browsers revalidate each time."""
    return made()


@caching.get("/cache/language")
@cache_control(s_maxage=30, max_age=0)
def language() -> Response:
    """One copy for each language, because the page reads it."""
    known = request.accept_languages.best_match(["de", "en", "fr"], "en")
    response = made()
    response.set_data(f"{known}: {response.get_data(as_text=True)}")
    response.vary.add("Accept-Language")
    return response


@caching.get("/cache/renewed")
@cache_control(s_maxage=3, max_age=0, stale_while_revalidate=60)
def renewed() -> Response:
    """Fresh for 3 seconds; for another minute the old one, while a new one is made."""
    return made()


@caching.get("/cache/personal")
@cache_for(seconds=30)
def personal() -> Response:
    """A page that reads the session, so it is not stored."""
    session["visits"] = session.get("visits", 0) + 1
    response = made()
    response.set_data(f"visit {session['visits']}\n")
    return response


@caching.get("/cache/off")
@cache_control(no_store=True)
def off() -> Response:
    """A page that is made each time."""
    return made()


SPECIMENS = (plain, language, renewed, personal, off)


@caching.get("/cache")
def page() -> str:
    """Show the specimens."""
    rows = [(view.__name__, view.__doc__) for view in SPECIMENS]
    return render_template("cache.html", rows=rows, crowd=CROWD)


@caching.post("/cache/purge")
def purge() -> WerkzeugResponse:
    """Drop what is cached: of one page, or all with the tag."""
    name = request.form.get("name", "")
    if name == "specimen":
        webcache.purge_tag("specimen")
    elif name in {view.__name__ for view in SPECIMENS}:
        webcache.purge(url_for(f".{name}", _external=True))
    else:
        raise BadRequest(f"There is no page “{name}” to purge.")
    return redirect(url_for(".page"), 303)


@caching.post("/cache/crowd")
def crowd() -> Response:
    """Ask 50 times at once for a page that is not there, with the cache and without."""
    webcache.purge(url_for(".plain", _external=True))
    return jsonify(
        {"cached": ask_at_once(url_for(".plain")), "not": ask_at_once(url_for(".off"))}
    )


def ask_at_once(url: str) -> dict[str, float]:
    """Ask for a page in many threads, and count how often its view ran."""
    client, base = current_app.test_client, request.host_url

    def ask(_: int) -> bool:
        answer = client(use_cookies=False).get(url, base_url=base, headers=[MEASURED])
        return "ran" in answer.headers["Server-Timing"]

    started = time.perf_counter()
    with ThreadPoolExecutor(CROWD) as threads:
        runs = sum(threads.map(ask, range(CROWD)))
    return {"runs": runs, "seconds": round(time.perf_counter() - started, 2)}
