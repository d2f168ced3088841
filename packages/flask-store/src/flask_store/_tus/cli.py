"""The command for unfinished uploads."""

from __future__ import annotations

import time
from collections.abc import Iterable

import click
from flask import current_app
from flask.cli import with_appcontext


#: Where the group keeps the name of the store that was chosen.
CHOSEN = "flask_store.store"


@click.command()
@click.option("--sweep", is_flag=True, help="Drop those that have expired.")
@with_appcontext
def uploads(*, sweep: bool) -> None:
    """List uploads that resume: id, bytes, minutes since the last, state, owner, name.

    Finished ones are remembered until they expire; dropping them leaves the file.
    """
    from .receiver import Receiver

    chosen = click.get_current_context().meta.get(CHOSEN)
    for routes in current_app.blueprints.values():
        if not isinstance(routes, Receiver):
            continue
        if chosen and routes.provider().config.store != chosen:
            continue
        place = routes.provider().uploads_place()
        expired = set(routes.expired(place))
        for upload in place.uploads():
            length = "?" if upload.length is None else f"{upload.length:,}"
            minutes = int((time.time() - place.touched(upload)) / 60)
            state = "finished" if upload.file else "unfinished"
            columns = (
                upload.id,
                f"{place.offset(upload):,} of {length}",
                f"{minutes} min",
                "expired" if upload in expired else state,
                upload.owner,
                upload.file or upload.filename,
            )
            click.echo("  ".join(columns))
        if sweep:
            for upload in expired:
                place.delete(upload)
            click.echo(f"{len(expired)} dropped")


def check_url(url: str, headers: Iterable[str]) -> None:
    """Try out whether uploads to a URL can resume.

    :param headers: what to send with each request, as ``NAME: VALUE``.
    :raises ClickException: where they cannot.
    """
    from .probe import Probe

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("give it with http:// or https://", param_hint="URL")
    pairs = [header.partition(":")[::2] for header in headers]
    if not all(name and value for name, value in pairs):
        raise click.BadParameter("give 'NAME: VALUE'", param_hint="--header")
    good = True
    for finding in Probe(url, {name: it.strip() for name, it in pairs}).run():
        click.echo(f"{'ok' if finding.good else 'PROBLEM'}: {finding.text}")
        good = good and finding.good
    if not good:
        raise click.ClickException("uploads cannot resume as they should")
