"""``flask firehose``."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from flask_firehose import hints
from flask_firehose import static


def test_routes(make_app: Callable[..., Flask]) -> None:
    """The list shows what is declared, and runs only the views that are named."""
    app = make_app("{{ push_static('a.css') }}", FIREHOSE_EARLY_HINTS=True)
    app.testing = True
    ran: list[str] = []
    declare = hints("/b.js", static("c.css"))
    app.add_url_rule("/<name>", "name", declare(lambda name: name))
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))

    @app.get("/logout")
    def logout() -> str:
        ran.append("logout")
        return "bye"

    runner = app.test_cli_runner()
    link = "</static/c.css>; rel=preload; as=style, </b.js>; rel=preload; as=script"
    declared = (
        "/<name>  name\n  declares  </b.js>; rel=preload; as=script, "
        "</static/c.css>; rel=preload; as=style\n"
    )
    assert runner.invoke(args=["firehose", "routes"]).output == declared
    visits = ["--visit=/", "--visit=/five", "--visit=/broken"]
    assert runner.invoke(args=["firehose", "routes", *visits]).output == (
        f"{declared}/\n  pushes    </static/a.css>; rel=preload; as=style\n"
        f"/five\n  ahead     {link}\n  pushes    {link}\n"
        "/broken\n  failed    ZeroDivisionError('division by zero')\n"
    )
    assert ran == []


def test_config(make_app: Callable[..., Flask]) -> None:
    """Each key is shown, with a star where it was set."""
    runner = make_app(FIREHOSE_MAX_LINKS=5).test_cli_runner()
    output = runner.invoke(args=["firehose", "config"]).output
    assert "* FIREHOSE_MAX_LINKS = 5\n" in output
    assert "  FIREHOSE_EARLY_HINTS = False\n" in output
