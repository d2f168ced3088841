"""The providers; each that ships is a module of its own."""

from .base import BaseStore


__all__ = ["BaseStore"]
