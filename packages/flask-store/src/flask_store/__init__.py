"""Save uploads, somewhere, safely."""

from flask_store._accept import Incoming
from flask_store._attributes import Attributes
from flask_store.exceptions import BackendError
from flask_store.exceptions import ConfigError
from flask_store.exceptions import DigestError
from flask_store.exceptions import DisconnectedError
from flask_store.exceptions import InvalidAttributeError
from flask_store.exceptions import InvalidNameError
from flask_store.exceptions import MissingDependencyError
from flask_store.exceptions import NoFileError
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import NotFoundError
from flask_store.exceptions import RefusedError
from flask_store.exceptions import SetupError
from flask_store.exceptions import StoreError
from flask_store.extension import Provider
from flask_store.extension import Store
from flask_store.extension import deliver
from flask_store.file_wrapper import FileWrapper
from flask_store.signals import upload_failed
from flask_store.signals import upload_finished


__all__ = [
    "Attributes",
    "BackendError",
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
