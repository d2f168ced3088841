"""The outcome of a request: what Cache-Status, explain, signals and counters tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .policy import Refusal


Kind = Literal["hit", "stale", "miss"]


@dataclass(slots=True)
class Outcome:
    """The result of a request in the cache."""

    kind: Kind = "miss"
    #: Why the view ran (RFC 9211, section 2.2); empty if it did not.
    forward: str = ""
    #: How long the stored response is fresh from now on, in seconds.
    ttl: int | None = None
    #: The status with which the view answered a validation.
    forward_status: int | None = None
    stored: bool = False
    #: Why the response is not stored, or the cache answered by itself.
    refusal: Refusal | str | None = None
    #: The read of the request that forbids to store the response.
    cause: str = ""
    #: Whether the request waited for another one that made the same page.
    collapsed: bool = False
    #: What the view read of the request, as selectors.
    reads: Sequence[str] = ()

    def cache_status(self, name: str) -> str:
        """Return the member of Cache-Status for a cache of this name (RFC 9211)."""
        said = [name]
        if self.forward:
            said.append(f"fwd={self.forward}")
        elif self.kind != "miss":
            said.append("hit")
        if self.forward_status is not None:
            said.append(f"fwd-status={self.forward_status}")
        if self.ttl is not None and not self.forward:
            said.append(f"ttl={self.ttl}")
        if self.stored:
            said.append("stored")
        if self.refusal is not None:
            said.append(f"detail={self.refusal}")
        if self.reads and self.kind == "miss":
            said.append(f'reads="{" ".join(map(_quotable, self.reads))}"')
        if self.collapsed:
            said.append("collapsed")
        return "; ".join(said)


def _quotable(name: str) -> str:
    return re.sub(r"[^!#-\[\]-~]", "?", name)
