"""The commands under ``flask firehose``."""

from __future__ import annotations

from collections.abc import Iterable

import click
from flask import Flask
from flask import current_app
from flask.cli import AppGroup
from werkzeug.routing import Rule

from ._early import declared
from ._header import serialize


commands = AppGroup("firehose", help="Look at the links that pages push.")


@commands.command("routes")
@click.option("--visit", is_flag=True, help="GET each route that takes no argument.")
def routes(*, visit: bool) -> None:
    """List what each page declares, pushes, and would send ahead in a 103.

    What a page pushes is known when it was made: with --visit each route without
    arguments is asked for twice, as a new visitor's browser would.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        links = declared(app.view_functions[rule.endpoint])
        visited = visit and not rule.arguments and "GET" in (rule.methods or ())
        if links or visited:
            click.echo(f"{rule.rule}  {rule.endpoint}")
            _echo("declares", [serialize(links)])
        if visited:
            _visit(app, rule)


def _visit(app: Flask, rule: Rule) -> None:
    """Show the links of a page, and of the 103 before its next visit."""
    ahead: list[list[tuple[str, str]]] = []
    client = app.test_client(use_cookies=False)
    environ = {"wsgi.early_hints": ahead.append}
    try:
        client.get(rule.rule, environ_overrides=environ).close()
        ahead.clear()
        response = client.get(rule.rule, environ_overrides=environ)
        response.close()
    except Exception as error:  # noqa: BLE001 - one page must not end the list
        _echo("failed", [repr(error)])
        return
    _echo("pushes", response.headers.getlist("Link"))
    _echo("ahead", [value for headers in ahead for _, value in headers])


def _echo(label: str, values: Iterable[str]) -> None:
    for value in filter(None, values):
        click.echo(f"  {label:<9} {value}")
