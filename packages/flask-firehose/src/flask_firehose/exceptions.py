"""The errors of this package."""

from __future__ import annotations


class FirehoseError(Exception):
    """The base of this package's errors."""


#: The same under one name in every package, for the modules that they share.
BaseError = FirehoseError


class ConfigError(FirehoseError, ValueError):
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


class SetupError(FirehoseError, RuntimeError):
    """The extension is set up twice on an app, or used where it is not set up."""


class LinkError(FirehoseError, ValueError):
    """A link that no header should carry."""

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(f"{name} is {value!r}: {remedy}")
        self.name = name
        self.value = value
        self.remedy = remedy


class ManifestError(FirehoseError, LookupError):
    """An entry that the build's manifest does not have."""

    def __init__(self, entry: str, manifest: str, hint: str = "") -> None:
        super().__init__(entry, manifest, hint)
        self.entry = entry
        self.manifest = manifest
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.entry!r} is not an entry of {self.manifest}{self.hint}"
