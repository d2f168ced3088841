"""The errors of this package."""

from __future__ import annotations

import errno


class StreamingError(Exception):
    """The base of every error of this package."""


#: The same under one name in every package, for the modules that they share.
BaseError = StreamingError


class ConfigError(StreamingError, ValueError):
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


class SetupError(StreamingError, RuntimeError):
    """The extension is set up twice on an app, or used where it is not set up."""


class BrokerError(StreamingError):
    """Redis did not take an event."""


class ClientDisconnected(StreamingError, ConnectionResetError):  # noqa: N818 - an event
    """The client disconnected before the end of a stream.

    Servers treat it as what it is, a reset connection, and do not log a traceback.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "The client disconnected before the end")


class StreamBroken(StreamingError, ConnectionResetError):  # noqa: N818 - an event
    """A stream failed, was reported, and must not look complete.

    Raised to the server in place of the error, which it would log once more.
    """

    def __init__(self) -> None:
        super().__init__(
            errno.ECONNRESET,
            "The stream failed; flask_streaming has logged why",
        )
