"""What can go wrong."""

from __future__ import annotations


class KaccelError(Exception):
    """The base of this package's errors."""


#: The same under one name in every package, for the modules that they share.
BaseError = KaccelError


class InvalidValueError(KaccelError, ValueError):
    """A value that could not be carried out, and what to give in its place.

    :param key: the argument or configuration key.
    """

    def __init__(self, key: str, value: object, remedy: str) -> None:
        shown = "***" if "SECRET" in key else value
        super().__init__(f"{key} is {shown!r}: {remedy}")
        self.key = key
        self.value = value
        self.remedy = remedy


class ConfigError(InvalidValueError):
    """A configuration key with a wrong value."""


class SetupError(KaccelError, RuntimeError):
    """The extension is set up twice on an app, or used without being set up."""
