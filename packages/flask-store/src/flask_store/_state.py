"""The state of one app: its stores."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ._setup import state_of
from .config import Config
from .exceptions import SetupError
from .stores.base import BaseStore


logger: logging.Logger = logging.getLogger("flask_store")
NAME = "store"
#: The store that the ``STORE_`` keys configure.
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class State:
    """The stores of one app.

    :param config: the default store's.
    :param provider: the default store's.
    :param providers: all, by the names of their stores.
    """

    config: Config
    provider: BaseStore
    providers: Mapping[str, BaseStore]

    def of(self, store: str) -> BaseStore:
        """Return the provider of a store.

        :raises SetupError: where there is none of that name.
        """
        try:
            return self.providers[store]
        except KeyError:
            near = difflib.get_close_matches(store, self.providers, 1)
            hint = f"did you mean {near[0]!r}?" if near else "add it to STORES"
            raise SetupError(f"there is no store {store!r}; {hint}") from None


def get_state() -> State:
    """Return the current app's state.

    :raises SetupError: there is no current app, or no Store is set up on it.
    """
    return state_of(NAME, "Store", State)
