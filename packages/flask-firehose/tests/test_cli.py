"""``flask firehose``."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from flask_firehose import hints
from flask_firehose import push_static


def test_routes(make_app: Callable[..., Flask]) -> None:
    """The list tells what is declared; with a visit, what is pushed and sent ahead."""
    app = make_app("{{ push_static('a.css') }}", FIREHOSE_EARLY_HINTS=True)
    app.testing = True
    app.add_url_rule("/<name>", "name", hints("/b.js")(lambda name: name))
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/post", "post", lambda: push_static("c.css"), methods=["POST"])
    runner = app.test_cli_runner()
    declared = "/<name>  name\n  declares  </b.js>; rel=preload; as=script\n"
    assert runner.invoke(args=["firehose", "routes"]).output == declared
    link = "</static/a.css>; rel=preload; as=style"
    assert runner.invoke(args=["firehose", "routes", "--visit"]).output == (
        f"/  page\n  pushes    {link}\n  ahead     {link}\n{declared}"
        "/broken  broken\n  failed    ZeroDivisionError('division by zero')\n"
    )
