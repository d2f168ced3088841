"""Attach an extension to an app, find it again and operate it.

This file is the same in every package that ships it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

import click
from flask import Flask
from flask import current_app
from flask import has_app_context
from flask.cli import AppGroup

from ._settings import Settings
from .exceptions import BaseError
from .exceptions import SetupError


T = TypeVar("T")


def refuse_twice(app: Flask, name: str, extension: str) -> None:
    """Refuse an app that has the extension already, and any other object.

    :param name: the key in ``app.extensions``.
    :param extension: the name of the class.
    :raises SetupError: if it is set up.
    """
    if not isinstance(app, Flask):
        raise TypeError(f"app is {app!r}: pass a Flask app")
    if name in app.extensions:
        raise SetupError(f"{extension} is already set up on the app {app.name!r}.")


def state_of(name: str, extension: str, kind: type[T]) -> T:
    """Return the current app's state.

    :raises SetupError: there is no current app, or the extension is not set up on it.
    """
    if not has_app_context():
        raise SetupError(f"{extension} needs an app context; use it in a request.")
    state = current_app.extensions.get(name)
    if not isinstance(state, kind):
        raise SetupError(
            f"{extension} is not set up on the app {current_app.name!r}; "
            f"call {extension}().init_app(app) first."
        )
    return state


class Commands(AppGroup):
    """The group ``flask <name>``: an error of this package is one line and exit 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BaseError as error:
            raise click.ClickException(str(error)) from error


json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line."
)


def echo_json(values: Mapping[str, object]) -> None:
    """Print a JSON object on one line, with what JSON lacks as its ``repr``."""

    def plain(value: object) -> object:
        return dict(value) if isinstance(value, Mapping) else repr(value)

    click.echo(json.dumps(values, default=plain))


def echo_config(
    config: Settings,
    others: Mapping[str, object] | None = None,
    *,
    as_json: bool = False,
    labels: Mapping[str, object] | None = None,
) -> None:
    """Print each key and its value, with a star where it differs from the default.

    :param others: what else is in force, such as the options of the constructor.
    :param as_json: print an object per key: ``key``, ``value`` and ``set``.
    :param labels: members to put first in each object.
    """
    rows = list(config.shown())
    rows += [(name, value, False) for name, value in (others or {}).items()]
    for key, value, is_set in rows:
        if as_json:
            row = {"key": key, "value": value, "set": is_set}
            echo_json({**(labels or {}), **row})
        else:
            click.echo(f"{'*' if is_set else ' '} {key} = {value!r}")
