"""The commands under ``flask store``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import IO
from typing import Any

import click
from flask.cli import with_appcontext
from werkzeug.datastructures import FileStorage

from ._setup import Commands
from ._setup import echo_config
from ._setup import echo_json
from ._setup import json_option
from ._spool import rename_unless_taken
from ._state import DEFAULT
from ._state import get_state
from ._stores import STORES
from ._tus.cli import CHOSEN
from ._tus.cli import check_url
from ._tus.cli import uploads
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


CHUNK = 256 * 1024
HIDDEN = "***"

EXAMPLES = """\b
Examples:
  flask store check
  flask store put *.jpg --to avatars
  flask store ls avatars/ --json
  flask store --store private jobs
"""

CHECK_EXAMPLES = """\b
Examples:
  flask store check
  flask store check --clean
  flask store check https://example.com/uploads --header "Authorization: Bearer X"
"""
JOBS_EXAMPLES = """\b
Examples:
  flask store jobs
  flask store jobs --json | jq 'select(.state == "failed")'
  flask store jobs retry
"""
SWEEP_EXAMPLES = """\b
Examples:
  flask store sweep avatars/
  flask store sweep avatars/ --days 7 --delete
  flask store sweep avatars/ --session myapp.db:Session
"""


class Watched:
    """A file whose reading moves a progress bar, back too when it is read again."""

    def __init__(self, file: IO[bytes], bar: Any) -> None:
        self._file = file
        self._bar = bar

    def read(self, size: int = -1) -> bytes:
        """Read, and move the bar."""
        data = self._file.read(size)
        self._bar.update(self._file.tell() - self._bar.pos)
        return data

    def __getattr__(self, name: str) -> Any:
        # Without a descriptor nothing is copied behind the bar's back.
        if name == "fileno":
            raise AttributeError(name)
        return getattr(self._file, name)


@click.group("store", cls=Commands, epilog=EXAMPLES)
@click.option("--store", help="The name of a store in STORES.")
@click.pass_context
def cli(ctx: click.Context, store: str | None) -> None:
    """Look after stored files."""
    ctx.meta[CHOSEN] = store


cli.add_command(uploads)


def _provider() -> BaseStore:
    """Return the provider of the store that was chosen, or of the default one."""
    return get_state().of(_chosen() or DEFAULT)


def _providers() -> Sequence[BaseStore]:
    """Return the provider of the store that was chosen, or all."""
    if _chosen():
        return [_provider()]
    return list(get_state().providers.values())


def _chosen() -> str | None:
    chosen: str | None = click.get_current_context().meta.get(CHOSEN)
    return chosen


@cli.command()
@click.argument("prefix", default="")
@json_option
def ls(prefix: str, as_json: bool) -> None:
    """List the files whose names start with PREFIX: bytes, time, name."""
    for file in _provider().list(prefix):
        _echo_file(file, as_json=as_json)


def _echo_file(file: FileWrapper, *, as_json: bool) -> None:
    if as_json:
        modified = file.modified.isoformat()
        echo_json({"name": str(file), "size": file.size, "modified": modified})
    else:
        click.echo(f"{file.size:>14,}  {file.modified:%Y-%m-%d %H:%M:%S}  {file}")


@cli.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--to", "folder", help="The folder in the store.")
def put(files: tuple[Path, ...], folder: str | None) -> None:
    """Save FILES, and print what each is called in the store."""
    provider = _provider().within(folder)
    saved_names: set[str] = set()
    for path in files:
        size = path.stat().st_size
        with (
            path.open("rb") as stream,
            click.progressbar(length=size, label=path.name) as bar,
        ):
            watched: Any = Watched(stream, bar)
            saved = provider.save(FileStorage(watched, path.name))
        click.echo(str(saved))
        saved_names.add(str(saved))
    _await(provider, saved_names)


@cli.command()
@click.argument("name")
@click.argument("target", required=False, type=click.Path(path_type=Path))
def get(name: str, target: Path | None) -> None:
    """Copy the file NAME to TARGET, by default here; nothing is overwritten."""
    file = _provider().file(name)
    path = target or Path(file.filename)
    taken = path.exists()
    # Half a file is none, so it has its name last.
    made = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if not taken:
            _fetch(file, made)
            taken = not rename_unless_taken(str(made), str(path))
    finally:
        made.unlink(missing_ok=True)
    if taken:
        raise click.ClickException(f"{path} already exists")


def _fetch(file: FileWrapper, path: Path) -> None:
    with (
        file.open() as source,
        path.open("xb") as sink,
        click.progressbar(length=file.size, label=file.filename) as bar,
    ):
        while data := source.read(CHUNK):
            sink.write(data)
            bar.update(len(data))


@cli.command()
@click.argument("names", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Delete the files NAMES."""
    provider = _provider()
    missing = [name for name in names if not provider.exists(name)]
    for name in names:
        provider.delete(name)
    if missing:
        raise click.ClickException(f"not in the store: {', '.join(missing)}")


def _await(provider: BaseStore, names: set[str]) -> None:
    """Wait until files are sent, unless sending them fails.

    :raises ClickException: where some wait; they are safe in the spool.
    """
    while not provider.wait(0.5):
        # Some troubles pass within a second.
        if any(it.attempts > 2 for it in provider.pending() if it.name in names):
            break
    left = [it for it in provider.pending() if it.name in names]
    if left:
        raise click.ClickException(
            f"{len(left)} of these are still in the spool: {left[0].error}"
        )


@cli.command()
@click.option("--timeout", type=float, help="Stop after this many seconds.")
def resume(timeout: float | None) -> None:
    """Send now what waits in the spool, and what has failed."""
    end = None if timeout is None else time.monotonic() + timeout
    waiting = [(it, job) for it in _providers() for job in it.pending()]
    with click.progressbar(waiting, label=f"{len(waiting)} to send") as bar:
        for provider, job in bar:
            if end is not None and time.monotonic() >= end:
                break
            provider.deliver(job.id)
    left = [job for provider in _providers() for job in provider.pending()]
    for job in left:
        click.echo(f"{job.name}: {job.error or job.state}", err=True)
    if left:
        raise click.ClickException(f"{len(left)} uploads have not been sent")


@cli.group(invoke_without_command=True, epilog=JOBS_EXAMPLES)
@json_option
@click.pass_context
@with_appcontext
def jobs(ctx: click.Context, as_json: bool) -> None:
    """List the uploads in the spool: id, state, attempts, bytes, name, last error."""
    if ctx.invoked_subcommand is not None:
        return
    for job in _provider().pending():
        if as_json:
            shown = ("id", "state", "attempts", "size", "name", "error")
            echo_json({name: getattr(job, name) for name in shown})
            continue
        click.echo(
            f"{job.id}  {job.state:<7}  {job.attempts:>3}  {job.size:>14,}  "
            f"{job.name}  {job.error}".rstrip()
        )


@jobs.command("retry")
@click.argument("ids", nargs=-1)
def retry_jobs(ids: tuple[str, ...]) -> None:
    """Let uploads be sent again by a process that runs: IDS, or all that failed."""
    provider = _provider()
    for job_id in ids or _failed(provider):
        if not provider.retry(job_id):
            raise click.ClickException(f"no upload {job_id} is waiting")


@jobs.command("drop")
@click.argument("ids", nargs=-1, required=True)
def drop_jobs(ids: tuple[str, ...]) -> None:
    """Delete the uploads IDS."""
    provider = _provider()
    known = {job.id: job.name for job in provider.pending()}
    for job_id in ids:
        if job_id not in known:
            raise click.ClickException(f"no upload {job_id} is waiting")
        provider.delete(known[job_id])
        provider.deliver(job_id)


def _failed(provider: BaseStore) -> list[str]:
    return [job.id for job in provider.pending() if job.state == "failed"]


@cli.command("check", epilog=CHECK_EXAMPLES)
@click.argument("url", required=False)
@click.option(
    "--clean", is_flag=True, help="Remove the files that killed processes left."
)
@click.option("--header", "headers", multiple=True, help="Send 'NAME: VALUE' to URL.")
@json_option
def check_command(
    url: str | None, clean: bool, headers: Sequence[str], as_json: bool
) -> None:
    """Test the store, and report what it supports and what was left behind.

    With the URL of resumable uploads, test whether they resume through the servers
    and proxies in between.
    """
    if url is not None:
        check_url(url, headers, as_json=as_json)
        return
    providers = _providers()
    for provider in providers:
        label = f"{provider.config.store}: " if len(providers) > 1 else ""
        with closing(provider.check(clean=clean)) as findings:
            for finding in findings:
                if as_json:
                    echo_json({"store": provider.config.store, "finding": finding})
                else:
                    click.echo(f"{label}{finding}")


@cli.command(epilog=SWEEP_EXAMPLES)
@click.argument("prefix")
@click.option("--session", "path", help="The session, as 'module:name'.")
@click.option("--days", default=1.0, help="Keep files that are younger; 1 by default.")
@click.option(
    "--delete", is_flag=True, help=("Delete the files instead of only listing them.")
)
@json_option
def sweep(
    prefix: str, path: str | None, days: float, delete: bool, as_json: bool
) -> None:
    """List the files under PREFIX that no row of the database names.

    All models have to be imported by the app. The session is Flask-SQLAlchemy's, or
    what --session names: a session, or something that makes one when called.
    """
    from .sqlalchemy import _session_of
    from .sqlalchemy import sweep as files_without_rows

    found = _session_of(path)
    with closing(found() if not hasattr(found, "scalars") else found) as session:
        age = timedelta(days=days)
        for file in files_without_rows(
            session, prefix, store=_chosen() or DEFAULT, older=age, delete=delete
        ):
            _echo_file(file, as_json=as_json)


@cli.command("config")
@json_option
def config_command(as_json: bool) -> None:
    """Print the configuration in force, with a star where it was set."""
    for provider in _providers():
        config = provider.config
        if config.store != DEFAULT and not as_json:
            click.echo(f"{STORES}[{config.store!r}]:")
        others = dict.fromkeys(config.other, HIDDEN)
        labels = {"store": config.store}
        echo_config(config, others, as_json=as_json, labels=labels)
