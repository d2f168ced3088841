"""Hand file downloads to nginx."""

from flask_kaccel.exceptions import ConfigError
from flask_kaccel.exceptions import InvalidValueError
from flask_kaccel.exceptions import KaccelError
from flask_kaccel.exceptions import SetupError
from flask_kaccel.extension import Kaccel
from flask_kaccel.extension import nginx_locations


__all__ = [
    "ConfigError",
    "InvalidValueError",
    "Kaccel",
    "KaccelError",
    "SetupError",
    "nginx_locations",
]
