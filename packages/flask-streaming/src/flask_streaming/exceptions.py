"""The errors of this package."""

from __future__ import annotations

import errno


class StreamingError(Exception):
    """The base of every error of this package."""


#: The same under one name in every package, for the modules that they share.
BaseError = StreamingError


class ConfigError(StreamingError, ValueError):
    """A configuration value is wrong.

    :param key: the configuration key.
    :param value: what it was set to.
    :param remedy: what to set instead.
    :param secret: show the value as ``***``.
    """

    def __init__(
        self, key: str, value: object, remedy: str, *, secret: bool = False
    ) -> None:
        shown = "***" if secret else value
        super().__init__(f"{key} is {shown!r}: {remedy}")
        self.key = key
        self.value = value
        self.remedy = remedy


class SetupError(StreamingError, RuntimeError):
    """The extension is set up twice on an app, or used where it is not set up."""


class BrokerError(StreamingError):
    """Redis did not take an event."""


class ClientDisconnected(StreamingError, ConnectionResetError):  # noqa: N818 - an event
    """The client left before the end of a stream.

    Servers treat it as what it is, a reset connection, and do not log a traceback.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "The client left before the end")


class StreamBroken(StreamingError, ConnectionResetError):  # noqa: N818 - an event
    """A stream failed, was reported, and must not look complete.

    Raised to the server in place of the error, which it would log once more.
    """

    def __init__(self) -> None:
        super().__init__(
            errno.ECONNRESET, "The stream failed; flask_streaming has logged why"
        )
