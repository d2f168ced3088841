"""The commands under ``flask kaccel``."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import urlsplit

import click
from flask import current_app
from werkzeug.urls import iri_to_uri

from ._check import Check
from ._check import Finding
from ._fronts import FrontName
from ._fronts import configuration
from ._setup import Commands
from ._setup import echo_config
from ._setup import echo_json
from ._setup import json_option
from ._state import get_state
from ._store import StoreOptions


EXAMPLES = """\b
Examples:
  flask kaccel config nginx --upstream http://127.0.0.1:8000
  flask kaccel check https://example.com/download/a.txt
  flask kaccel check --json --cookie session=… URL | jq -r .cause
"""
cli = Commands(
    "kaccel", help="Hand file downloads to the server in front.", epilog=EXAMPLES
)
keep_option: Callable[[Any], Any] = click.option(
    "--keep",
    metavar="NAME",
    multiple=True,
    help="A header of your own that nginx keeps with files, such as X-Request-ID.",
)


@cli.command("config")
@click.argument(
    "front",
    required=False,
    type=click.Choice(["nginx", "apache", "lighttpd", "caddy"]),
)
@click.option(
    "--upstream",
    metavar="URL",
    help="The URL at which the app listens: also print the lines that pass requests "
    "to it. uwsgi://… uses nginx's uwsgi_pass. Only nginx does not require it.",
)
@keep_option
@click.option(
    "--store-cache",
    metavar="ZONE",
    help="Cache objects of stores in this zone of proxy_cache_path.",
)
@click.option(
    "--resolver",
    metavar="ADDRESS",
    help="A name server for the hosts of stores. Without it, nginx looks them up once.",
)
@json_option
def config_command(
    front: FrontName | None,
    upstream: str | None,
    keep: tuple[str, ...],
    store_cache: str | None,
    resolver: str | None,
    as_json: bool,
) -> None:
    """Print the configuration of the server in front, or of the app.

    With a FRONT, print what that server needs; if there is nothing to print, the exit
    status is 1. Without one, print the app's own keys.
    """
    state = get_state()
    if front is None:
        others = {"static": state.static, "guard": state.guard}
        echo_config(state.config, others, as_json=as_json)
        return
    if as_json:
        raise click.UsageError(f"--json is for the app's keys, not for {front}.")
    options = StoreOptions(cache=store_cache, resolver=resolver)
    text = configuration(state, front, upstream, keep, options)
    if not any(it.prefix for it in state.locations.all) and front == "nginx":
        raise click.ClickException(
            "no directory has a prefix, so Flask sends the files; set "
            "KACCEL_REDIRECT_PATH or KACCEL_MAPPINGS first"
        )
    click.echo(text, nl=False)


def _web_urls(
    _context: click.Context, _parameter: click.Parameter, urls: tuple[str, ...]
) -> list[SplitResult]:
    split = []
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.BadParameter("give a URL that starts with http:// or https://")
        try:
            parts = urlsplit(iri_to_uri(url))
            parts.port  # noqa: B018 - it raises ValueError
            split.append(parts)
        except ValueError as error:
            raise click.BadParameter(f"{url!r} is not a URL: {error}") from error
    return split


def _pairs(separator: str) -> Callable[..., dict[str, str]]:
    def callback(
        _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
    ) -> dict[str, str]:
        pairs = {}
        for each in values:
            name, found, value = each.partition(separator)
            if not found or not name.strip():
                raise click.BadParameter(f"{each!r} has no {separator!r}")
            pairs[name.strip()] = value.strip()
        return pairs

    return callback


@cli.command("check")
@click.argument("urls", nargs=-1, required=True, callback=_web_urls, metavar="URL...")
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_pairs(":"),
    metavar="'NAME: VALUE'",
    help="A header of a visitor who may download the files, such as Authorization.",
)
@click.option(
    "--cookie",
    "cookies",
    multiple=True,
    callback=_pairs("="),
    metavar="NAME=VALUE",
    help="A cookie of such a visitor.",
)
@keep_option
@click.option(
    "--seconds", default=10.0, show_default=True, help="The timeout of one request."
)
@json_option
def check_command(
    urls: list[SplitResult],
    headers: dict[str, str],
    cookies: dict[str, str],
    keep: tuple[str, ...],
    seconds: float,
    as_json: bool,
) -> None:
    """Check a running site, given the URL of a file of each mapping.

    Each file has to come through the server in front as the app means it, and nothing
    internal may be reachable or shown.
    """
    if cookies:
        line = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = {**headers, "Cookie": line}
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]  # not in the stub
    check = Check(app, get_state(), headers, keep, seconds)
    problems = 0
    try:
        for finding in check.findings(urls):
            problems += finding.problem is not None
            (_echo_json if as_json else _echo)(finding)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no such host
        url = urls[0].geturl()
        raise click.ClickException(f"{url} does not answer: {error}") from error
    for note in check.notes:
        if as_json:
            echo_json({"level": "note", "what": note})
        else:
            click.echo(f"note {note}")
    if problems:
        raise click.ClickException(f"{problems} of the checks failed")


def _echo(finding: Finding) -> None:
    problem = finding.problem
    if problem is None:
        click.echo(f"{click.style('ok', fg='green')}   {finding.what}")
        return
    failed = click.style("FAIL", fg="red", bold=True)
    click.echo(f"{failed} {finding.what}: {problem.symptom}")
    if problem.cause:
        click.echo(f"     likely: {problem.cause}")


def _echo_json(finding: Finding) -> None:
    problem = finding.problem
    if problem is None:
        echo_json({"level": "ok", "what": finding.what})
        return
    why = {"symptom": problem.symptom, "cause": problem.cause or None}
    echo_json({"level": "bad", "what": finding.what, **why})
