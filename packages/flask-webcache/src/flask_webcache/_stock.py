"""The stored responses of one app, and how they stay valid.

**Generations.** Everything that can be purged is a *thing*: a URL, a tag, or all. A
thing has a *generation*, a token that is made at random when the thing is first used
and that a purge takes away. A response is stored with the generations that were there
**before its view ran**, and answers only as long as each of them is still there and
has the same value. Nothing compares clocks.

============================  ========================================================
what happens                  why no old response answers
============================  ========================================================
a purge while a view runs     the view's response carries the generation of before
the response is stored late   likewise
a generation is evicted       a missing one does not match; the next request that
or the backend restarts       wants to store makes another one, with another value
an old response is put back   its generations are gone
an old index is put back      it is only a hint: each response proves itself
a purge cannot be carried     it is remembered and retried until it succeeds;
out                           until then this process uses nothing that it concerns
============================  ========================================================

An old *generation* that is put back cannot be told from a current one.

A view decides on the tags of its response only while it runs. Tags that were known
before it use their generations of before. For new ones there is one more generation,
``purges``, which every purge of a tag takes away: a response with new tags is stored
only if no tag was purged while it was made; else its tags are remembered for the next
run.

A *soft* purge adds one to a generation. Another count means stale, and good for
stale-while-revalidate; another base means gone.

Two classes do this: :class:`flask_webcache._local.Local` in one process, where a
generation is an object that entries refer to, and
:class:`flask_webcache._shared.Shared`, where it is an item of the backend.
"""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from ._rules.entry import Entry
from ._rules.entry import Metadata
from ._rules.things import ALL
from ._rules.things import Look
from ._rules.things import tag_thing
from ._rules.things import url_thing
from .config import Config


if TYPE_CHECKING:
    from ._vault import Vault

#: How many resources a process keeps hints on.
HINTS = 10_000


class Stock(ABC):
    """The stored responses of one app: found, kept and purged."""

    #: Whether the responses are in this process only.
    local: bool
    #: What the processes that share the responses have in common.
    vault: Vault | None = None

    def __init__(self, config: Config) -> None:
        self.config = config
        #: How long what is stale is kept: for errors, and to be validated.
        self._stale: tuple[int, int] = (config.stale_on_error, config.keep_seconds)

    @abstractmethod
    def first(self, key: str, environ: Mapping[str, Any], now: float) -> Entry | Look:
        """Return the entry that answers a plain request at once, or a look."""

    @abstractmethod
    def look(self, key: str, environ: Mapping[str, Any]) -> Look:
        """Return what is stored for a request, fresh or not."""

    @abstractmethod
    def claim(self, look: Look, tags: Iterable[str] = ()) -> None:
        """Make the generations that are missing, before the view runs."""

    @abstractmethod
    def keep(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        """Store a response with the generations that were claimed; return whether."""

    @abstractmethod
    def purge(self, thing: str, *, soft: bool = False) -> bool:
        """Make the responses of a thing invalid, or stale; return whether done."""

    @abstractmethod
    def renew(self, look: Look) -> bool:
        """Replace the generation of the URL; return whether it was the claimed one."""

    def purge_key(self, key: str, *, soft: bool = False) -> bool:
        """Purge the resource with a key; return whether it is done."""
        return self.purge(url_thing(key), soft=soft)

    def purge_tag(self, tag: str, *, soft: bool = False) -> bool:
        """Purge the responses with a tag; return whether it is done."""
        return self.purge(tag_thing(tag), soft=soft)

    def purge_all(self) -> bool:
        """Purge everything; return whether it is done."""
        return self.purge(ALL)

    def answers(self, entry: Entry, now: float) -> bool:
        """Return whether a valid entry may answer a plain request at once."""
        early = self.config.preemptive_recache_seconds
        return now < entry.fresh_until - early and not entry.no_cache


def latest(entries: Iterable[Entry]) -> Entry | None:
    """Return the entry that was generated last."""
    return max(entries, key=lambda entry: entry.born, default=None)


def remembered(look: Look, entry: Entry) -> Metadata:
    """Return the index of a response that could not be stored for its new tags."""
    metadata = look.metadata or Metadata()
    return replace(metadata, tags=metadata.tagged(entry.tags))
