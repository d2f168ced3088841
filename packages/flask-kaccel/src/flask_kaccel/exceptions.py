"""The errors of this package."""

from __future__ import annotations


class KaccelError(Exception):
    """The base of this package's errors."""


#: The same under one name in every package, for the modules that they share.
BaseError = KaccelError


class _RefusedError(KaccelError, ValueError):
    def __init__(self, key: str, value: object, remedy: str) -> None:
        super().__init__(key, value, remedy)
        self.key = key
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.key} is {self.value!r}: {self.remedy}"


class InvalidValueError(_RefusedError):
    """An argument that could not be carried out.

    :param key: the name of the argument.
    :param value: what was given.
    :param remedy: what to give in its place.
    """


class ConfigError(_RefusedError):
    """A configuration value that cannot work.

    :param key: the configuration key.
    :param value: what it holds; a secret is hidden.
    :param remedy: what to set instead.
    """


class SetupError(KaccelError, RuntimeError):
    """The extension is set up twice on an app, or used without being set up."""
