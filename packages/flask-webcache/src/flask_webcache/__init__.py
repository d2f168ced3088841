"""A compliant HTTP cache inside a Flask app."""

from . import modifiers
from . import recache
from . import storage
from . import validation
from ._backends import MemoryCache
from .exceptions import ConfigError
from .exceptions import SetupError
from .exceptions import WebCacheError
from .extension import WebCache
from .extension import easy_setup
from .handlers import RequestHandler
from .handlers import ResponseHandler
from .storage import Config


__all__ = [
    "Config",
    "ConfigError",
    "MemoryCache",
    "RequestHandler",
    "ResponseHandler",
    "SetupError",
    "WebCache",
    "WebCacheError",
    "easy_setup",
    "modifiers",
    "recache",
    "storage",
    "validation",
]
