"""An app, and the tests against real servers where the workspace's harness is."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from flask import Flask
from flask import render_template_string

from flask_firehose import Connector
from flask_firehose import Firehose


collect_ignore_glob = [] if find_spec("harness") else ["servers/*"]


@pytest.fixture
def make_app() -> Callable[..., Flask]:
    """Make an app whose page at ``/`` is a template."""

    def make(
        template: str = "", *, connector: Any = Connector, **config: object
    ) -> Flask:
        app = Flask(__name__)
        app.config.update(**{"SECRET_KEY": "secret", **config})
        Firehose(app, connector=connector)

        @app.route("/", methods=["GET", "POST"])
        def page() -> str:
            return render_template_string(template)

        return app

    return make
