"""The errors of this package."""

from __future__ import annotations


class WebCacheError(Exception):
    """The base of every error of this package."""


#: The same under one name in every package, for the modules that they share.
BaseError = WebCacheError


class ConfigError(WebCacheError, ValueError):
    """A configuration value that cannot be used.

    :param key: the configuration key.
    :param value: what it holds, a secret hidden.
    :param remedy: what to set instead.
    """

    def __init__(self, key: str, value: object, remedy: str) -> None:
        super().__init__(key, value, remedy)
        self.key = key
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the key, its value and the remedy."""
        return f"{self.key} is {self.value!r}: {self.remedy}"


class SetupError(WebCacheError, RuntimeError):
    """The extension is set up twice on an app, or used where it is not set up."""
