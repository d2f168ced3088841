"""An app whose only view hands every request on to an origin, behind the cache."""

from __future__ import annotations

import http.client
import os

from flask import Flask
from flask import Response
from flask import request

from flask_webcache import Config
from flask_webcache import WebCache
from flask_webcache import unrecorded
from flask_webcache._rules.fields import members
from flask_webcache._rules.policy import HOP_BY_HOP


ORIGIN = os.environ["ORIGIN"]

app = Flask(__name__)
app.secret_key = "secret"
URL = os.environ["WEBCACHE_URL"]
SET = Config(
    url=URL,
    targeted_fields=("CDN-Cache-Control",),
    stale_on_error=3600,
    store_set_cookie=True,
)
WebCache(
    app,
    config=SET if os.environ["SETTINGS"] == "set" else Config(url=URL),
    fast=os.environ["MODE"] == "fast",
)
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "M-SEARCH"]


@app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
def forward(path: str) -> Response:
    """Return the origin's response as it came."""
    with unrecorded():
        # It is the origin that says in Vary what it read.
        return handed_on()


def handed_on() -> Response:
    """Hand the request on."""
    connection = http.client.HTTPConnection(ORIGIN, timeout=10)
    headers = {
        name: value
        for name, value in request.headers
        if name.lower() not in HOP_BY_HOP and name.lower() != "host"
    }
    try:
        connection.request(
            request.method,
            request.environ["REQUEST_URI"],
            request.get_data() or None,
            headers,
        )
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return Response("The origin hung up.", 502)
    finally:
        connection.close()
    listed = members(answer.headers.get("Connection", ""))
    left_out = HOP_BY_HOP | {name.lower() for name in listed}
    response = Response(body, f"{answer.status} {answer.reason}")
    response.headers.clear()
    for name, value in answer.headers.items():
        if name.lower() not in left_out:
            response.headers.add(name, value)
    return response
