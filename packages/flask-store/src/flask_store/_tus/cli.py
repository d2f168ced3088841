"""The command for unfinished uploads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import click
from flask import current_app
from flask.cli import with_appcontext

from .._setup import echo_json
from .._setup import json_option


#: Where the group keeps the name of the store that was chosen.
CHOSEN = "flask_store.store"


EXAMPLES = """\b
Examples:
  flask store uploads
  flask store uploads --sweep
  flask store uploads --json | jq 'select(.state == "unfinished")'
"""


@click.command(epilog=EXAMPLES)
@click.option("--sweep", is_flag=True, help="Delete those that have expired.")
@json_option
@with_appcontext
def uploads(*, sweep: bool, as_json: bool) -> None:
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
            state = "finished" if upload.file else "unfinished"
            row = Row(
                upload.id,
                place.offset(upload),
                upload.length,
                int(time.time() - place.touched(upload)),
                "expired" if upload in expired else state,
                upload.owner,
                upload.file or upload.filename,
            )
            if as_json:
                echo_json(row._asdict())
            else:
                click.echo(str(row))
        for upload in expired if sweep else ():
            place.delete(upload)
        if sweep and not as_json:
            click.echo(f"{len(expired)} dropped")


class Row(NamedTuple):
    """An upload, as the command shows it.

    :param idle: seconds since the last byte came.
    """

    id: str
    offset: int
    length: int | None
    idle: int
    state: str
    owner: str
    name: str

    def __str__(self) -> str:
        length = "?" if self.length is None else f"{self.length:,}"
        bytes_, idle = f"{self.offset:,} of {length}", f"{self.idle // 60} min"
        return "  ".join((self.id, bytes_, idle, self.state, self.owner, self.name))


def check_url(url: str, headers: Iterable[str], *, as_json: bool = False) -> None:
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
        if as_json:
            echo_json({"good": finding.good, "finding": finding.text})
        else:
            click.echo(f"{'ok' if finding.good else 'PROBLEM'}: {finding.text}")
        good = good and finding.good
    if not good:
        raise click.ClickException("uploads cannot resume as they should")
