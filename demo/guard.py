"""Requests of other sites are refused, and errors become helpful pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask
from flask import Response
from flask import current_app
from flask import render_template
from flask import request
from werkzeug.exceptions import Forbidden
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import SecurityError

from flask_store.exceptions import BackendError


SAFE = {"GET", "HEAD", "OPTIONS"}
#: What to do about an error, by its status.
REMEDIES = {
    400: "Go back and try again; nothing was changed.",
    403: "Open the page here and send the form from there; nothing was changed.",
    404: "It may have been deleted, or the address has a typing error.",
    405: "Go to the files and start from there.",
    410: "Ask whoever sent you the link for a new one.",
    413: "Choose a smaller file; nothing was stored.",
    422: "Choose another file; nothing was stored.",
    503: "The storage does not answer. Wait a moment, and try again.",
}


def init_app(app: Flask) -> None:
    """Guard a site."""
    app.before_request(refuse_other_sites)
    app.after_request(say_what_may_load)
    app.register_error_handler(HTTPException, explain)
    app.register_error_handler(
        BackendError, lambda error: explain(HTTPException(str(error)), 503)
    )


def refuse_other_sites() -> None:
    """Refuse what a page of another site sends in the visitor's name.

    Browsers say where a request comes from, older ones by ``Origin``. A token in the
    form would make each page personal, and no cache could keep it.
    """
    if request.method in SAFE:
        return
    site, origin = (request.headers.get(name) for name in ("Sec-Fetch-Site", "Origin"))
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == request.host else origin
    if site not in {None, "none", "same-origin"}:
        raise Forbidden("Another site tried to send this.")


def say_what_may_load(response: Response) -> Response:
    """Let pages load what this site serves, and pictures and forms also S3."""
    s3 = current_app.config.get("STORE_S3_ENDPOINT_URL", "")
    policy = (
        f"default-src 'self'; img-src 'self' data: {s3}; media-src 'self' {s3}; "
        f"form-action 'self' {s3}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def explain(error: HTTPException, code: int | None = None) -> tuple[str, int]:
    """Show an error as a page, or as a line where a script asks."""
    code = code or error.code or 500
    unknown_host = isinstance(error, SecurityError)
    if unknown_host or "text/html" not in request.accept_mimetypes.values():
        return f"{error.description}\n", code
    remedy = REMEDIES.get(code, "The log of the server says more. Try again later.")
    return render_template("error.html", error=error, remedy=remedy), code
