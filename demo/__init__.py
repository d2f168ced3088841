"""A small file-sharing site that uses all five extensions, and shows what they do."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from demo import guard
from demo.caching import caching
from demo.exporting import exporting
from demo.extensions import EXTENSIONS
from demo.files import files
from demo.files import receive_uploads
from demo.hinting import hinting
from demo.hood import Hood
from demo.hood import hood
from demo.live import activity
from demo.measure import measure
from demo.setup import setup
from demo.source import sources


ROOT = Path(__file__).parent.parent
PAGES = (files, caching, hinting, exporting, activity, setup, measure, hood)
GIGABYTE = 10**9
YEAR = 31_536_000
UPLOAD_ENDPOINTS: tuple[str, ...] = (
    "flask_store_uploads.collection",
    "flask_store_uploads.upload",
)


def create_app(**config: object) -> Flask:
    """Create the site; without configuration it needs nothing but a writable folder.

    What it keeps goes into ``instance/demo``, or the folder that the environment
    variable ``DEMO_INSTANCE`` names. Variables such as ``FLASK_STREAMING_REDIS_URL``
    configure it further.

    :param config: keys that replace the defaults.
    """
    instance = Path(os.environ.get("DEMO_INSTANCE", ROOT / "instance" / "demo"))
    instance = instance.resolve()
    app = Site(__name__, instance_path=str(instance))
    app.config.from_mapping(
        MAX_CONTENT_LENGTH=GIGABYTE,
        SECRET_KEY=secret_key(instance),
        TRUSTED_HOSTS=["127.0.0.1", "localhost", "[::1]"],
        STORE_PATH=str(instance / "uploads"),
        KACCEL_FILES_PATH=str(instance / "uploads" / "files"),
        FIREHOSE_EARLY_HINTS=True,
        FIREHOSE_STATIC_FRESH=True,  # see Site
        STREAMING_HISTORY=50,
        DEMO_EXPORT_ROWS=100_000,
        DEMO_ACCESS_LOG=None,
        DEMO_FRONT=None,
        DEMO_UPSTREAM=None,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    for extension in EXTENSIONS:
        extension.init_app(app)
    guard.init_app(app)
    for page in PAGES:
        app.register_blueprint(page)
    receive_uploads(app)
    app.url_defaults(app.add_version)
    others = dict.fromkeys(UPLOAD_ENDPOINTS, receive_uploads)
    Hood(app, sources(app, others))
    if app.config["DEMO_FRONT"]:
        # The scheme that the browser uses.
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return app


def secret_key(instance: Path) -> str:
    """Return the key that signs cookies and links, made at the first start.

    Kept, so that an upload goes on after a restart.
    """
    instance.mkdir(parents=True, exist_ok=True)
    path = instance / "secret.txt"
    if not path.exists():
        fresh = instance / f"secret-{secrets.token_hex(4)}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex())
        # Another process may be starting too: the first one's key is everybody's.
        with suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text()


class Site(Flask):
    """An app whose static files have a part of their digest in the URL.

    So browsers may keep them for a year, and get a new one at once. Stored files are
    asked for each time: the name of one that was deleted may come again.
    """

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of each static file."""
        folder = Path(self.root_path, "static")
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()[:8]
            for path in folder.rglob("*")
            if path.is_file()
        }

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Return a year for static files."""
        return YEAR if filename in self.versions else None

    def add_version(self, endpoint: str, values: dict[str, Any]) -> None:
        """Add the version to the URL of a static file."""
        if endpoint == "static" and values.get("filename") in self.versions:
            values.setdefault("v", self.versions[values["filename"]])
