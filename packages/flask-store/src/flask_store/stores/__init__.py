"""The providers; each that ships is a module of its own."""

from flask_store.stores.base import BaseStore


__all__ = ["BaseStore"]
