"""The commands under ``flask firehose``."""

from __future__ import annotations

from collections.abc import Iterable

import click
from flask import Flask
from flask import current_app

from ._check import check
from ._header import serialize
from ._hints import declared
from ._hints import resolve
from ._setup import Commands
from ._setup import echo_config
from ._setup import echo_json
from ._setup import json_option
from ._state import get_state


EXAMPLES = """\b
Examples:
  flask firehose routes --visit /
  flask firehose check https://example.com/
  flask firehose check --json https://example.com/ | jq -r .text
"""
COLORS = {"ok": "green", "bad": "red"}

cli = Commands("firehose", help="Inspect the links that pages push.", epilog=EXAMPLES)


@cli.command("config")
@json_option
def config_command(as_json: bool) -> None:
    """Print each key and its value, with a star where it was set."""
    echo_config(get_state().config, as_json=as_json)


@cli.command("routes")
@click.option("--visit", multiple=True, metavar="PATH", help="Request this page first.")
def routes(visit: tuple[str, ...]) -> None:
    """List the hints that views declare, and what visited pages push.

    No view runs but those of the paths that you name.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        declarations = declared(app.view_functions[rule.endpoint])
        if declarations:
            click.echo(f"{rule.rule}  {rule.endpoint}")
            with app.test_request_context():
                links = [link for one in declarations for link in resolve(one.sources)]
            _echo("declares", [serialize(links)])
    for path in visit:
        click.echo(path)
        _visit(app, path)


def _visit(app: Flask, path: str) -> None:
    """Show the links of a page, and of the 103 ahead of it."""
    ahead: list[list[tuple[str, str]]] = []
    client = app.test_client(use_cookies=False)
    environ = {"wsgi.early_hints": ahead.append}
    try:
        response = client.get(
            path, environ_overrides=environ, headers={"Sec-Fetch-Mode": "navigate"}
        )
        response.close()
    except Exception as error:  # noqa: BLE001 - one page must not end the list
        _echo("failed", [repr(error)])
        return
    _echo("ahead", [value for headers in ahead for _, value in headers])
    _echo("pushes", response.headers.getlist("Link"))


@cli.command("check")
@click.argument("url")
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@json_option
def check_command(url: str, *, insecure: bool, as_json: bool) -> None:
    """Find out what a site's visitors get ahead of a page.

    Exits with 1 if something costs more than it gains.
    """
    failed = False
    for finding in check(url, insecure=insecure):
        failed = failed or finding.level == "bad"
        if as_json:
            echo_json(finding._asdict())
            continue
        level = click.style(f"{finding.level:<4}", fg=COLORS.get(finding.level))
        click.echo(f"{level}  {finding.text}")
    if failed:
        raise SystemExit(1)


def _echo(label: str, values: Iterable[str]) -> None:
    for value in filter(None, values):
        click.echo(f"  {label:<9} {value}")
