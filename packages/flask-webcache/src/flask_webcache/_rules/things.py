"""Things that can be purged, and the result of a look into the store."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import Any

from .entry import Entry
from .entry import Metadata
from .keys import EXTRA


#: The thing that is everything.
ALL = "all"


def tag_thing(tag: str) -> str:
    """Return the thing that is a tag."""
    return f"tag {tag}"


def url_thing(key: str) -> str:
    """Return the thing that is a URL, for the key of any of its responses."""
    return f"url {key.partition(EXTRA)[0]}"


@dataclass(slots=True)
class Look:
    """The result of a look into the store for one request, and the generations then."""

    key: str
    entry: Entry | None = None
    metadata: Metadata | None = None
    #: The generations by thing, as far as they are there.
    tokens: dict[str, Any] = field(default_factory=dict)
    #: The generation that every purge of a tag takes away.
    purges: Any = None

    @property
    def reason(self) -> str:
        """Why a request is forwarded where there is no entry (RFC 9211)."""
        varies = self.metadata is not None and self.metadata.sets
        return "vary-miss" if varies else "uri-miss"

    def things(self, tags: tuple[str, ...]) -> list[str]:
        """Return the things that a response to the request belongs to."""
        return [ALL, url_thing(self.key), *map(tag_thing, tags)]
