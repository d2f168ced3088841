"""The commands ``flask webcache …``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from flask import Flask
from flask import current_app
from flask import request_started

from ._setup import Commands
from ._setup import echo_config
from ._setup import json_option
from .modifiers import check_views


if TYPE_CHECKING:
    from ._state import State


EXAMPLES = """\b
Examples:
  flask webcache explain https://example.com/
  flask webcache purge --tag news --soft
  flask webcache stats --json
"""
cli = Commands(
    "webcache", help="Explain, purge and count what is stored.", epilog=EXAMPLES
)

REASONS = {
    "method": "its request was neither GET nor HEAD with something stored",
    "content": "its request had content, which no other request is known to share",
    "exempt": "its path is in WEBCACHE_RESOURCE_EXEMPTIONS",
    "streamed": "it is streamed, or a file",
    "size": "its body is longer than WEBCACHE_MAX_BODY_BYTES",
    "session": "the app used the session, or looked at one that is not empty",
    "set-cookie": "it sets a cookie",
    "authorization": "its request had Authorization, and it is not public",
    "status": "responses with its status are not stored",
    "no-store": "it says no-store",
    "private": "it says private",
    "vary": "it says Vary: *",
    "expired": "it was stale from the start and cannot be validated",
    "no-freshness": "it says neither how long it is fresh nor how to validate it",
    "identity": "the app read who the visitor is",
    "read": "the app read all of the request",
    "nonce": "its Content-Security-Policy has a nonce, made for one response",
    "not-kept": "it was purged while it was made, or the backend failed",
}


def equip(app: Flask) -> None:
    """Give an app the commands, and the look at its views."""
    app.cli.add_command(cli)
    request_started.connect(check_views, app)


@cli.command()
@click.argument("url")
def explain(url: str) -> None:
    """Explain why URL is or is not stored and reused; request it once."""
    state = _state()
    address = _absolute(state, url)
    look = state.cache.stock.look(state.cache.url_key(address), {})
    metadata, entry, now = look.metadata, look.entry, time.time()
    if metadata is not None and metadata.sets:
        names = sorted({name for one in metadata.sets for name in one})
        click.echo(f"varies by {', '.join(names)}")
        click.echo(f"{len(metadata.variants)} variants are stored")
    if entry is not None:
        click.echo(f"stored: {entry.status}, {len(entry.body)} bytes")
        click.echo(
            f"age {now - entry.born:.0f} s, fresh for {entry.fresh_until - now:.0f} s"
        )
        if entry.tags:
            click.echo(f"tags: {', '.join(entry.tags)}")
    else:
        click.echo("nothing is stored for a request without selecting fields")
    response = current_app.test_client().get(address)
    status = response.headers.get("Cache-Status", "no handler is installed")
    click.echo(f"a GET now: {response.status}, {status}")
    said: dict[str, str] = {}
    for part in status.split("; "):
        name, _, value = part.partition("=")
        said[name] = value
    if "reads" in said:
        click.echo(f"the app read {said['reads'].strip(chr(34)).replace(' ', ', ')}")
    if said.get("detail") in REASONS:
        click.echo(f"not stored: {REASONS[said['detail']]}")


@cli.command()
@click.argument("url", required=False)
@click.option("--tag", help="Purge the responses with this tag.")
@click.option("--all", "everything", is_flag=True, help="Purge everything.")
@click.option("--soft", is_flag=True, help="Only mark the responses stale.")
def purge(url: str | None, tag: str | None, everything: bool, soft: bool) -> None:
    """Purge URL, a tag, or everything."""
    state = _shared_state()
    if [url is not None, tag is not None, everything].count(True) != 1:
        raise click.UsageError("Give one of URL, --tag TAG and --all.")
    if url is not None:
        done = state.purge(_absolute(state, url), soft=soft)
    elif tag is not None:
        done = state.purge_tag(tag, soft=soft)
    else:
        done = state.cache.purge_all()
    if not done:
        raise click.ClickException("The backend failed; the purge was not carried out.")
    click.echo("purged")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(as_json: bool) -> None:
    """Count hits, misses, purges and failures."""
    state = _shared_state()
    try:
        found = state.cache.stats()
    except Exception as error:
        raise click.ClickException(f"The backend failed: {error}") from error
    if as_json:
        click.echo(json.dumps(found))
        return
    for what, number in found.items():
        click.echo(f"{what} {number}")


@cli.command()
@json_option
def config_command(as_json: bool) -> None:
    """Print the configuration, with a star before each key that is set."""
    echo_config(_state().config, as_json=as_json)


def _absolute(state: State, url: str) -> str:
    try:
        return state.absolute(url)
    except ValueError as error:
        raise click.UsageError(
            f"{url!r} is a path: give an absolute URL, or set SERVER_NAME."
        ) from error


def _state() -> State:
    from ._state import get_state

    return get_state()


def _shared_state() -> State:
    from ._state import DEBUG_SALT

    state = _state()
    if state.config.master_salt.startswith(DEBUG_SALT):
        raise click.ClickException(
            "In debug mode each process has a cache of its own, which commands cannot "
            "reach; leave out --debug, or set WEBCACHE_MASTER_SALT."
        )
    if state.cache.stock.local:
        raise click.ClickException(
            "Each process of this app has a cache of its own, which commands cannot "
            "reach; set WEBCACHE_URL to a shared one, such as redis://."
        )
    return state
