"""The page about the set-up: server, proxy, protocol and configuration."""

from __future__ import annotations

import platform
from importlib.metadata import version

from flask import Blueprint
from flask import current_app
from flask import render_template
from flask import request

from demo.files import in_s3
from demo.source import PACKAGES


setup = Blueprint("setup", __name__)


FRONTS = {
    "nginx": "nginx, which sends the files",
    "caddy": "Caddy, which speaks HTTP/2 and forwards a 103",
}


@setup.get("/setup")
def page() -> str:
    """Show how this demo runs, and the configuration in force."""
    environ = request.environ
    front = current_app.config["DEMO_FRONT"]
    facts = {
        "Python": platform.python_version(),
        "Flask": version("flask"),
        "Server": environ.get("SERVER_SOFTWARE", "none: a test"),
        "In front": FRONTS.get(front, "nothing"),
        "Protocol": f"{environ['SERVER_PROTOCOL']}, {request.scheme}",
        "Files": "S3" if in_s3() else "a local folder",
        "Events": "Redis" if current_app.config.get("STREAMING_REDIS_URL")
        else "the memory of this process",
        "Early Hints": "on" if current_app.config["FIREHOSE_EARLY_HINTS"] else
        "off: this nginx could take a 103 for the page",
    }  # fmt: skip
    configs = {name.replace("_", "-"): config(name) for name in PACKAGES}
    return render_template("setup.html", facts=facts, configs=configs)


def config(package: str) -> str:
    """Return what a package's own command says of its configuration."""
    command = package.removeprefix("flask_")
    result = current_app.test_cli_runner().invoke(args=[command, "config"])
    return result.output.strip()
