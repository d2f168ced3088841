"""Save uploads, somewhere, safely."""

from ._accept import Accept
from ._accept import Incoming
from ._attributes import Attributes
from ._attributes import SaveOptions
from ._extension import Provider
from ._extension import Store
from ._extension import deliver
from ._jobs import Job
from ._jobs import JobState
from ._listing import Page
from ._signals import upload_failed
from ._signals import upload_finished
from ._tus.companion import Companion
from ._tus.endpoint import Uploads
from ._tus.receiver import Authorize
from ._tus.upload import Step
from ._tus.upload import Upload
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
    "Accept",
    "Attributes",
    "Authorize",
    "BackendError",
    "Companion",
    "Config",
    "ConfigError",
    "DigestError",
    "DisconnectedError",
    "FileWrapper",
    "Incoming",
    "InvalidAttributeError",
    "InvalidNameError",
    "Job",
    "JobState",
    "MissingDependencyError",
    "NoFileError",
    "NotConfiguredError",
    "NotFoundError",
    "Page",
    "Provider",
    "RefusedError",
    "SaveOptions",
    "SetupError",
    "Step",
    "Store",
    "StoreError",
    "Upload",
    "Uploads",
    "deliver",
    "upload_failed",
    "upload_finished",
]
