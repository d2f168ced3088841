"""The providers; each that ships is a module of its own."""

from .._upload import Upload
from .base import BaseStore


__all__ = ["BaseStore", "Upload"]
