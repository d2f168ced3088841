"""Live events of the site in every tab, across lost connections and restarts."""

from __future__ import annotations

import os
import signal
import threading

from flask import Blueprint
from flask import redirect
from flask import render_template
from flask import request
from flask import url_for
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response as WerkzeugResponse

from demo.journal import happened
from demo.journal import journal


activity = Blueprint("live", __name__)

SHOWN = 50
LONGEST = 200
#: Time for the answer to leave before its worker does.
RESTART_SECONDS = 0.3


@activity.get("/log")
def page() -> str:
    """Show what happened last."""
    return render_template("log.html", entries=journal().latest(SHOWN))


@activity.post("/log")
def say() -> WerkzeugResponse:
    """Send a message to all tabs."""
    text = " ".join(request.form.get("text", "").split())
    if not 0 < len(text) <= LONGEST:
        raise BadRequest(f"Write something, at most {LONGEST} characters.")
    happened(f"“{text}”")
    return redirect(url_for(".page"), 303)


@activity.post("/restart")
def restart() -> WerkzeugResponse:
    """Have gunicorn replace this worker, as a deployment does."""
    if "gunicorn" not in request.environ.get("SERVER_SOFTWARE", ""):
        raise ServiceUnavailable("Only gunicorn can restart its worker.")
    happened("the worker is restarted")
    again = (os.getppid(), signal.SIGHUP)
    threading.Timer(RESTART_SECONDS, os.kill, again).start()
    return redirect(url_for(".page"), 303)
