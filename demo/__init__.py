"""A small file-sharing site that uses all five extensions."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flask import Flask

from demo.extensions import EXTENSIONS
from demo.pages import pages


ROOT = Path(__file__).parent.parent


def create_app(**config: object) -> Flask:
    """Create the site; without configuration it needs nothing but a writable folder.

    What it keeps goes into ``instance/demo``, or the folder that the environment
    variable ``DEMO_INSTANCE`` names. Variables such as ``FLASK_STREAMING_REDIS_URL``
    configure it further.

    :param config: keys that replace the defaults.
    """
    instance = Path(os.environ.get("DEMO_INSTANCE", ROOT / "instance" / "demo"))
    app = Flask(__name__, instance_path=str(instance.resolve()))
    app.config.from_mapping(
        MAX_CONTENT_LENGTH=1 << 30,
        SECRET_KEY=secrets.token_hex(),
        STORE_PATH=str(instance.resolve() / "uploads"),
        KACCEL_FILES_PATH=str(instance.resolve() / "uploads"),
        FIREHOSE_EARLY_HINTS=True,
        FIREHOSE_LEARN_PREFIXES=("/static/",),
        DEMO_EXPORT_ROWS=100_000,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    for extension in EXTENSIONS:
        extension.init_app(app)
    app.register_blueprint(pages)
    return app
