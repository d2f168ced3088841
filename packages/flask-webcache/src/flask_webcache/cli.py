"""The commands ``flask webcache …``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup


if TYPE_CHECKING:
    from .handlers import State


webcache = AppGroup("webcache", help="Explain, purge and count what is stored.")

_REASONS = {
    "method": "its request was neither GET nor HEAD with something stored",
    "content": "its request had content, which no other request is known to share",
    "exempt": "its path is in WEBCACHE_RESOURCE_EXEMPTIONS",
    "streamed": "it is streamed, or a file",
    "size": "its body is longer than WEBCACHE_MAX_BODY_BYTES",
    "session": "the view used the session",
    "set-cookie": "it sets a cookie",
    "authorization": "its request had Authorization, and it is not public",
    "status": "responses with its status are not stored",
    "no-store": "it says no-store",
    "private": "it says private",
    "vary": "it says Vary: *",
    "expired": "it was stale from the start and cannot be validated",
    "no-freshness": "it says neither how long it is fresh nor how to validate it",
    "not-kept": "it was purged while it was made, or the backend failed",
}


@webcache.command()
@click.argument("url")
def explain(url: str) -> None:
    """Tell why URL is or is not stored and reused; request it once."""
    state = _state()
    key = state.key(url)
    stored = state.resources.find(key, {})
    metadata = stored.metadata
    if metadata is not None and metadata.vary:
        click.echo(f"varies by {', '.join(metadata.vary)}")
        click.echo(f"{len(metadata.variants)} variants are stored")
    if stored.entry is not None:
        entry, now = stored.entry, time.time()
        click.echo(f"stored: {entry.status}, {len(entry.body)} bytes")
        click.echo(
            f"age {now - entry.born:.0f} s, fresh for {entry.fresh_until - now:.0f} s"
        )
        if entry.tags:
            click.echo(f"tags: {', '.join(entry.tags)}")
    else:
        click.echo("nothing is stored for a request without selecting fields")
    response = current_app.test_client().get(state.absolute(url))
    status = response.headers.get("Cache-Status", "no handler is installed")
    click.echo(f"a GET now: {response.status}, {status}")
    detail = status.rpartition("detail=")[2]
    if detail in _REASONS:
        click.echo(f"not stored, for {_REASONS[detail]}")


@webcache.command()
@click.argument("url", required=False)
@click.option("--tag", help="Purge the responses with this tag.")
@click.option("--all", "everything", is_flag=True, help="Purge everything.")
def purge(url: str | None, tag: str | None, everything: bool) -> None:
    """Purge URL, a tag, or everything."""
    state = _shared_state()
    if [url is not None, tag is not None, everything].count(True) != 1:
        raise click.UsageError("Give one of URL, --tag TAG and --all.")
    if url is not None:
        state.purge(url)
    elif tag is not None:
        state.purge_tag(tag)
    else:
        state.purge_all()
    click.echo("purged")


@webcache.command()
def stats() -> None:
    """Count hits, stale answers and misses."""
    for what, number in _shared_state().stats().items():
        click.echo(f"{what} {number}")


def _state() -> State:
    from .handlers import state_of_app

    return state_of_app()


def _shared_state() -> State:
    state = _state()
    if state.resources.backend.local:
        raise click.ClickException(
            "This cache lives in each process of the app, where no command reaches "
            "it; set WEBCACHE_URL to a shared one, such as redis://."
        )
    return state
