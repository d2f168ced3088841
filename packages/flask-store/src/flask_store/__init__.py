"""Save uploads, somewhere, safely."""

from ._accept import Incoming
from ._attributes import Attributes
from ._extension import Provider
from ._extension import Store
from ._extension import deliver
from ._signals import upload_failed
from ._signals import upload_finished
from .config import Config
from .exceptions import BackendError
from .exceptions import ConfigError
from .exceptions import DigestError
from .exceptions import DisconnectedError
from .exceptions import InvalidAttributeError
from .exceptions import InvalidNameError
from .exceptions import MissingDependencyError
from .exceptions import NoFileError
from .exceptions import NotConfiguredError
from .exceptions import NotFoundError
from .exceptions import RefusedError
from .exceptions import SetupError
from .exceptions import StoreError
from .file_wrapper import FileWrapper


__all__ = [
    "Attributes",
    "BackendError",
    "Config",
    "ConfigError",
    "DigestError",
    "DisconnectedError",
    "FileWrapper",
    "Incoming",
    "InvalidAttributeError",
    "InvalidNameError",
    "MissingDependencyError",
    "NoFileError",
    "NotConfiguredError",
    "NotFoundError",
    "Provider",
    "RefusedError",
    "SetupError",
    "Store",
    "StoreError",
    "deliver",
    "upload_failed",
    "upload_finished",
]
