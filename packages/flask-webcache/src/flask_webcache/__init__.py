"""A compliant HTTP cache inside a Flask app."""

from . import modifiers
from . import recache
from . import storage
from . import validation
from ._backends import MemoryCache
from ._events import cache_event
from ._extension import WebCache
from ._extension import easy_setup
from ._reads import unrecorded
from .config import Config
from .exceptions import ConfigError
from .exceptions import SetupError
from .exceptions import WebCacheError
from .handlers import RequestHandler
from .handlers import ResponseHandler


__all__ = [
    "Config",
    "ConfigError",
    "MemoryCache",
    "RequestHandler",
    "ResponseHandler",
    "SetupError",
    "WebCache",
    "WebCacheError",
    "cache_event",
    "easy_setup",
    "modifiers",
    "recache",
    "storage",
    "unrecorded",
    "validation",
]
