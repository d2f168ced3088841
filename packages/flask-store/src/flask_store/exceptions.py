"""What goes wrong, as exceptions that carry the facts."""

from __future__ import annotations

from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import ClientDisconnected
from werkzeug.exceptions import UnprocessableEntity


class StoreError(Exception):
    """Base class of all errors of Flask-Store."""


#: The same under one name in every package, for the modules that they share.
BaseError = StoreError


class ConfigError(StoreError, ValueError):
    """Report a configuration value that cannot be used.

    :param key: the configuration key.
    :param value: what it holds.
    :param remedy: what to do about it.
    """

    def __init__(self, key: str, value: object, remedy: str) -> None:
        shown = "'***'" if "SECRET" in key and value is not None else repr(value)
        super().__init__(f"{key} is {shown}: {remedy}")
        self.key = key
        self.value = value
        self.remedy = remedy


class NotConfiguredError(ConfigError):
    """Report a configuration key that the provider cannot do without."""


class SetupError(StoreError, RuntimeError):
    """Report an extension set up twice on an app, or not at all."""


class InvalidNameError(StoreError, ValueError):
    """Report a name that no file can have.

    :param name: the name.
    :param reason: what is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} is not the name of a file: {reason}")
        self.name = name
        self.reason = reason


class NoFileError(StoreError, BadRequest):
    """Report a save without a file; a view that lets it pass answers 400."""

    description = "No file was sent."


class DisconnectedError(StoreError, ClientDisconnected):
    """Report a request whose body cannot be read to its end; it answers 400.

    :param description: how much of it arrived.
    """


class InvalidAttributeError(StoreError, ValueError):
    """Report an attribute that no file can have.

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
        """Return the argument, its value, and what to do."""
        return f"{self.key} is {self.value!r}: {self.remedy}"


class RefusedError(StoreError, UnprocessableEntity):
    """Report a file that an accept hook refuses; unhandled, it answers 422.

    :param description: the reason, which the client may see.
    """

    description = "The file was refused."


class DigestError(StoreError, BadRequest):
    """Report bytes that do not match ``Content-Digest``; unhandled, it answers 400.

    :param description: what is wrong.
    """


class NotFoundError(StoreError, FileNotFoundError):
    """Report a file that is not in the store.

    :param name: its name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not in the store")
        self.name = name


class BackendError(StoreError):
    """Report what the disk or the S3 server did not do; the cause is chained.

    :param action: what was to be done, such as ``"save"``.
    :param name: the file.
    :param reason: what the backend said, in short.
    """

    def __init__(self, action: str, name: str, reason: str) -> None:
        super().__init__(f"cannot {action} {name!r}: {reason}")
        self.action = action
        self.name = name
        self.reason = reason


class MissingDependencyError(StoreError, ImportError):
    """Report an optional package that a provider needs.

    :param package: the package.
    :param extra: the extra of Flask-Store that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: "
            f"pip install 'flask-store[{extra}]'",
            name=package,
        )
        self.extra = extra
