"""The app behind the set-ups that are checked; its configuration is in CONFIG."""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask
from flask import Response
from flask import abort
from flask import redirect
from flask import request

from flask_kaccel import Kaccel


def make_app(config: dict[str, Any]) -> Flask:
    """Return an app that sends files of two directories, some of them to few."""
    app = Flask(__name__)
    app.config.update(config)
    kaccel = Kaccel(app, static=True)

    def send(directory: str) -> Response:
        response = kaccel.send_file_or_404(
            f"{directory}/{request.args['name']}", as_attachment=True, max_age=60
        )
        response.headers["Content-Security-Policy"] = "default-src 'none'"
        response.headers["X-Request-ID"] = "5"
        response.set_cookie("seen", "1")
        return response

    @app.get("/ready")
    def ready() -> str:
        return ""

    @app.get("/files")
    def files() -> Response:
        return send(config["KACCEL_FILES_PATH"])

    @app.get("/videos")
    def videos() -> Response:
        return send(next(iter(config["KACCEL_MAPPINGS"])))

    @app.get("/private")
    def private() -> Any:
        if request.authorization:
            abort(403)
        if request.cookies.get("user") != "5":
            return redirect("/login")
        return send(config["KACCEL_FILES_PATH"])

    @app.get("/members")
    def members() -> Response:
        if request.headers.get("Authorization") != "Bearer 5":
            abort(401)
        return send(config["KACCEL_FILES_PATH"])

    return app


if "CONFIG" in os.environ:
    app = make_app(json.loads(os.environ["CONFIG"]))
