"""Hand file downloads to nginx."""

from ._extension import Kaccel
from ._extension import nginx_locations
from .exceptions import ConfigError
from .exceptions import InvalidValueError
from .exceptions import KaccelError
from .exceptions import SetupError


__all__ = [
    "ConfigError",
    "InvalidValueError",
    "Kaccel",
    "KaccelError",
    "SetupError",
    "nginx_locations",
]
