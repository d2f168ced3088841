"""Attach an extension to an app, find it again and operate it.

This file is the same in every package that ships it.
"""

from __future__ import annotations

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
    """Refuse an app on which the extension is set up, and what is no app.

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


def echo_config(config: Settings, others: Mapping[str, object] | None = None) -> None:
    """Print each key and its value, with a star where it differs from the default.

    :param others: what else is in force, such as the options of the constructor.
    """
    for key, value, is_set in config.shown():
        click.echo(f"{'*' if is_set else ' '} {key} = {value!r}")
    for name, value in (others or {}).items():
        click.echo(f"  {name} = {value!r}")
