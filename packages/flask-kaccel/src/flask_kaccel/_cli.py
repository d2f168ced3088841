"""The commands under ``flask kaccel``."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup
from werkzeug.urls import iri_to_uri

from ._check import Site
from .exceptions import InvalidValueError


if TYPE_CHECKING:
    from ._deployment import Deployment

commands = AppGroup("kaccel", help="Hand file downloads to nginx.")


@commands.command("nginx")
@click.option(
    "--upstream",
    metavar="URL",
    help="Where the app listens: print the block that passes requests to it too.",
)
def nginx_command(upstream: str | None) -> None:
    """Print the nginx location blocks for this app's configuration."""
    deployment: Deployment = current_app.extensions["kaccel"]
    try:
        click.echo(deployment.nginx_locations(upstream), nl=False)
    except InvalidValueError as error:
        raise click.ClickException(str(error)) from error
    if not any(it.prefix for it in deployment.locations.all):
        click.echo(
            "No directory has a prefix, so Flask sends the files: set "
            "KACCEL_REDIRECT_PATH or KACCEL_MAPPINGS first.",
            err=True,
        )


def _web_url(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("give a URL that starts with http:// or https://")
    return url


@commands.command("check")
@click.argument("url", callback=_web_url)
def check_command(url: str) -> None:
    """Check a running site, given the URL of any file that it sends.

    The file has to come through the server in front, and nothing internal may be
    reachable or shown.
    """
    deployment: Deployment = current_app.extensions["kaccel"]
    problems = 0
    try:
        for finding in Site(iri_to_uri(url), deployment.locations).findings():
            problems += finding.problem is not None
            mark = "ok  " if finding.problem is None else "FAIL"
            note = "" if finding.problem is None else f": {finding.problem}"
            click.echo(f"{mark} {finding.what}{note}")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no such host
        raise click.ClickException(f"{url} does not answer: {error}") from error
    if problems:
        raise click.ClickException(f"{problems} of the checks failed")
