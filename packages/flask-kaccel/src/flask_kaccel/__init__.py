"""Hand file downloads to the server in front."""

from ._extension import Kaccel
from ._extension import nginx_locations
from .config import Config
from .exceptions import ConfigError
from .exceptions import InvalidValueError
from .exceptions import KaccelError
from .exceptions import SetupError


__all__ = [
    "Config",
    "ConfigError",
    "InvalidValueError",
    "Kaccel",
    "KaccelError",
    "SetupError",
    "nginx_locations",
]
