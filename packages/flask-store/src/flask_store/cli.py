"""The commands under ``flask store``."""

from __future__ import annotations

from flask.cli import AppGroup


def commands() -> AppGroup:
    """Return the group of commands."""
    return AppGroup("store", help="Look after stored files.")
