"""The errors of the extension."""

from __future__ import annotations


class WebCacheError(Exception):
    """The base of every error of this package."""


#: The same under one name in every package, for the modules that they share.
BaseError = WebCacheError


class ConfigError(WebCacheError, ValueError):
    """A configuration value that cannot work.

    :param key: the configuration key.
    :param value: what it holds.
    :param remedy: what to set instead.
    """

    def __init__(self, key: str, value: object, remedy: str) -> None:
        super().__init__(f"{key} is {value!r}: {remedy}")
        self.key = key
        self.value = value
        self.remedy = remedy


class SetupError(WebCacheError, RuntimeError):
    """The extension is used on an app twice, too late, or not set up at all."""
