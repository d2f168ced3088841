"""Pages with versions: each write is acknowledged after it was purged, or refused."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from flask import Flask
from flask import Response
from flask import request

from flask_webcache import WebCache


DATA = Path(os.environ["DATA"])

app = Flask(__name__)
app.secret_key = "secret"
app.config["WEBCACHE_URL"] = os.environ["WEBCACHE_URL"]
app.config["WEBCACHE_LOCK_SECONDS"] = float(os.environ.get("LOCK_SECONDS", "5"))
cache = WebCache(app, fast=os.environ.get("FAST") == "1")


@app.get("/ready")
def ready() -> Response:
    """Keep a worker busy for a moment."""
    time.sleep(0.2)
    return Response("ready", headers={"Cache-Control": "no-store"})


@app.get("/page/<int:number>")
def page(number: int) -> Response:
    """Read the version first, and take a while, so that it may be old when stored."""
    version = (DATA / str(number)).read_text()
    time.sleep(random.uniform(0.005, 0.08))
    variant = request.headers.get("X-Variant", "")
    return Response(
        f"{version} {variant}",
        headers={
            "Cache-Control": "max-age=300",
            "Cache-Tag": f"all, group-{number % 2}",
            "Vary": "X-Variant",
        },
    )


@app.get("/plain/<int:number>")
def plain(number: int) -> Response:
    """The same without a tag or Vary."""
    version = (DATA / str(number)).read_text()
    time.sleep(random.uniform(0.005, 0.08))
    return Response(f"{version} ", headers={"Cache-Control": "max-age=300"})


@app.post("/write/<int:number>/<int:version>")
def write(number: int, version: int) -> tuple[str, int]:
    """Store a version, and purge; refuse the write where that was not carried out."""
    new = DATA / f"{number}.new"
    new.write_text(str(version))
    new.replace(DATA / str(number))
    purged: list[object] = [cache.purge(f"/plain/{number}")]
    if request.args["by"] == "tag":
        purged.append(cache.purge_tag(f"group-{number % 2}"))
    else:
        purged.append(cache.purge(f"/page/{number}"))
    return ("not purged", 503) if False in purged else ("written", 200)


def log(line: str) -> None:
    """Note what a view does, in a file that all processes append to."""
    with (DATA / "runs").open("ab") as file:
        file.write(f"{line} {os.getpid()} {time.monotonic()}\n".encode())


@app.get("/slow/<float:seconds>")
def slow(seconds: float) -> Response:
    """Take a while, and note when."""
    log("begin")
    time.sleep(seconds)
    log("end")
    return Response("slow", headers={"Cache-Control": "max-age=300"})
