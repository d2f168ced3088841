"""A small file-sharing site that uses all five extensions, and shows what they do."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
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
    app = Flask(__name__, instance_path=str(instance))
    app.config.from_mapping(
        MAX_CONTENT_LENGTH=GIGABYTE,
        SECRET_KEY=secret_key(instance),
        SEND_FILE_MAX_AGE_DEFAULT=31_536_000,
        TRUSTED_HOSTS=["127.0.0.1", "localhost", "[::1]"],
        STORE_PATH=str(instance / "uploads"),
        KACCEL_FILES_PATH=str(instance / "uploads" / "files"),
        FIREHOSE_EARLY_HINTS=True,
        # It reads what a request is for, and its page does not depend on that.
        WEBCACHE_IGNORED_READERS=("flask_firehose",),
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
    app.url_defaults(version_static_files(app))
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


def version_static_files(app: Flask) -> Any:
    """Return a hook that gives each static file's URL a part of its digest.

    So browsers may keep the file for a year, and get a new one at once.
    """
    folder = Path(app.root_path, "static")
    versions = {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()[:8]
        for path in folder.rglob("*")
        if path.is_file()
    }

    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and values.get("filename") in versions:
            values.setdefault("v", versions[values["filename"]])

    return add_version
