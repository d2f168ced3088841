"""The errors of this package, with the data that tells why."""

from __future__ import annotations

from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import ClientDisconnected
from werkzeug.exceptions import UnprocessableEntity


class StoreError(Exception):
    """Base class of all errors of Flask-Store."""


#: The same under one name in every package, for the modules that they share.
BaseError = StoreError


class ConfigError(StoreError, ValueError):
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


class NotConfiguredError(ConfigError):
    """A configuration key is missing that the provider needs."""


class SetupError(StoreError, RuntimeError):
    """The extension is set up twice on an app, or used where it is not set up."""


class InvalidNameError(StoreError, ValueError):
    """No file can have this name.

    :param name: the name.
    :param reason: what is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name!r} is not the name of a file: {self.reason}"


class NoFileError(StoreError, BadRequest):
    """A form was sent without a file; unhandled, it answers 400."""

    description: str = "No file was sent."


class DisconnectedError(StoreError, ClientDisconnected):
    """A request's body cannot be read to its end; unhandled, it answers 400.

    :param description: how much of it arrived.
    """


class InvalidAttributeError(StoreError, ValueError):
    """No file can have this attribute.

    :param key: the argument.
    :param value: what was given.
    :param remedy: what to give instead.
    """

    def __init__(self, key: str, value: object, remedy: str) -> None:
        super().__init__(key, value, remedy)
        self.key = key
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.key} is {self.value!r}: {self.remedy}"


class RefusedError(StoreError, UnprocessableEntity):
    """An accept hook refuses the file; unhandled, it answers 422.

    :param description: the reason, which the client may see.
    """

    description: str = "The file was refused."


class DigestError(StoreError, BadRequest):
    """The bytes do not match ``Content-Digest``; unhandled, it answers 400.

    :param description: what is wrong.
    """


class NotFoundError(StoreError, FileNotFoundError):
    """There is no such file in the store.

    :param name: its name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name!r} is not in the store"


class BackendError(StoreError):
    """The disk or the S3 server did not do what it was asked; the cause is chained.

    :param action: what was to be done, such as ``"save"``.
    :param name: the file.
    :param reason: what the backend said, in short.
    """

    def __init__(self, action: str, name: str, reason: str) -> None:
        super().__init__(action, name, reason)
        self.action = action
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot {self.action} {self.name!r}: {self.reason}"


class MissingDependencyError(StoreError, ImportError):
    """An optional package is missing that a provider needs.

    :param package: the package.
    :param extra: the extra of Flask-Store that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra, name=package)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return (
            f"{self.package} is not installed; install it with: "
            f"pip install 'flask-store[{self.extra}]'"
        )
