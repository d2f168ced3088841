"""The stored responses in a backend that several processes share.

A look is one round trip: the entry or index of the URL, the candidates that this
process knows of, and the generations. See :mod:`flask_webcache._stock` for the rule,
:class:`Shared` for the order of operations that keeps it, and
:mod:`flask_webcache._vault` for where everything is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from . import _failing
from ._backends.base import Backend
from ._failing import Owed
from ._rules.entry import LONGEST
from ._rules.entry import Entry
from ._rules.entry import Item
from ._rules.entry import Metadata
from ._rules.policy import kept_seconds
from ._rules.things import ALL
from ._rules.things import Look
from ._rules.things import tag_thing
from ._rules.things import url_thing
from ._stock import HINTS
from ._stock import Stock
from ._stock import latest
from ._stock import remembered
from ._vault import COUNT_BITS
from ._vault import PURGES
from ._vault import Secrets
from ._vault import Vault
from .config import Config


logger = logging.getLogger("flask_webcache")


class Shared(Stock):
    """Responses in a backend.

    :param cache: the backend.
    :param front: the start of every key.
    :param secrets: returns what signs entries: the first signs, any verifies.
    :param report: called with each error of the backend.
    """

    local = False

    def __init__(
        self,
        config: Config,
        cache: Backend,
        front: str,
        secrets: Secrets,
        report: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        super().__init__(config)
        self._vault = self.vault = Vault(
            cache, config.key_prefix, front, secrets, report
        )
        self._hints: dict[str, Metadata] = {}
        self._owed = Owed(self._carry_out)

    def first(self, key: str, environ: Mapping[str, Any], now: float) -> Entry | Look:
        """Return the entry that answers a plain request at once, or a look."""
        look = self.look(key, environ)
        entry = look.entry
        return entry if entry is not None and self.answers(entry, now) else look

    def look(self, key: str, environ: Mapping[str, Any]) -> Look:
        """Return what is stored for a request, fresh or not."""
        look = Look(key)
        home, hint = self._vault.home(key), self._hints.get(key)
        things = [ALL, PURGES, url_thing(key)]
        places = []
        if hint is not None:
            places = hint.places(key, environ)
            things += map(tag_thing, hint.tags)
        found: dict[str, Entry] = {}
        item = self._read(look, home, [key, *places], things, found)
        if isinstance(item, Metadata):
            look.metadata = item
            places = item.places(key, environ)
        else:
            # No index, or none any more: the next response that varies makes it anew.
            if hint is not None and hint.sets:
                hint = Metadata(tags=hint.tags)
            look.metadata = hint
            places = []
        known = set(things)
        wanted = [place for place in places if place not in found]
        if hint is not None and hint.leads_to(look.metadata):
            wanted = []
        tags = look.metadata.tags if look.metadata is not None else ()
        entries = [found[one] for one in (key, *places) if one in found]
        tags = (*tags, *(tag for entry in entries for tag in entry.tags))
        missing = [
            one for one in dict.fromkeys(map(tag_thing, tags)) if one not in known
        ]
        if wanted or missing:
            self._read(look, home, wanted, missing, found)
            known.update(missing)
            entries = [found[one] for one in (key, *places) if one in found]
            late = {tag_thing(tag) for entry in entries for tag in entry.tags} - known
            if late:
                self._read(look, home, [], sorted(late), found)
        self._remember(look, entries)
        valid = [one for entry in entries if (one := self._valid(look, entry))]
        look.entry = latest(valid)
        return look

    def _read(
        self,
        look: Look,
        home: str,
        keys: Sequence[str],
        things: Sequence[str],
        found: dict[str, Entry],
    ) -> Item | None:
        """Read entries and generations; return the item at the key of the look."""
        items, tokens = self._vault.read(home, keys, things)
        found.update(
            (one, item) for one, item in items.items() if isinstance(item, Entry)
        )
        for thing, token in tokens.items():
            if not self._owed.has(thing):
                look.tokens[thing] = token
        if PURGES in look.tokens:
            look.purges = look.tokens.pop(PURGES)
        return items.get(look.key)

    def _valid(self, look: Look, entry: Entry) -> Entry | None:
        """Return an entry if its generations are there; stale if counted up."""
        for thing, value in entry.tokens:
            current = look.tokens.get(thing)
            if current != value:
                if current is None or current >> COUNT_BITS != value >> COUNT_BITS:
                    return None
                entry = entry._replace(fresh_until=min(entry.fresh_until, time.time()))
        # Signed, but by an app that made it without the generation of everything.
        return entry if entry.tokens else None

    def claim(self, look: Look, tags: Iterable[str] = ()) -> None:
        """Make the generations that are missing, before the view runs.

        Where two processes add one at the same time, both go on with the one that is
        there; without one, nothing is stored.
        """
        known = {*tags, *(look.metadata.tags if look.metadata is not None else ())}
        if look.entry is not None:
            known.update(look.entry.tags)
        things = look.things(tuple(sorted(known)))
        missing = [thing for thing in things if thing not in look.tokens]
        look.tokens.update(self._made(look, missing))
        if look.purges is None:
            # By itself: where its server is down, only new tags have to wait for it.
            look.purges = self._made(look, [PURGES]).get(PURGES)

    def _made(self, look: Look, things: Sequence[str]) -> dict[str, int]:
        """Return the generations of things that had none, made by whoever."""
        wanted = [thing for thing in things if not self._owed.has(thing)]
        return self._vault.make(self._vault.home(look.key), wanted) if wanted else {}

    def keep(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        """Store a response with the generations that were claimed; return whether."""
        things = look.things(entry.tags)
        new = [thing for thing in things if thing not in look.tokens]
        if ALL in new or url_thing(look.key) in new:
            return False
        if new and not self._claim_late(look, new):
            self._index(look, remembered(look, entry), entry.born + LONGEST, now)
            return False
        if any(self._owed.has(thing) for thing in things):
            return False
        tokens = tuple((thing, look.tokens[thing]) for thing in things)
        return self._put(look, environ, entry.under(tokens), now)

    def _claim_late(self, look: Look, things: Sequence[str]) -> bool:
        """Get the generations of new tags; return whether no tag was purged meanwhile.

        The generations first and ``purges`` after them: a purge takes ``purges`` away
        first, so that a generation from after a purge is never taken for one of before.
        """
        if look.purges is None:
            return False
        home, later = self._vault.home(look.key), Look(look.key)
        self._read(later, home, [], things, {})
        missing = [thing for thing in things if thing not in later.tokens]
        later.tokens.update(self._made(look, missing))
        if len(later.tokens) < len(things):
            return False
        look.tokens.update(later.tokens)
        later.purges = None
        self._read(later, home, [], [PURGES], {})
        return bool(later.purges == look.purges)

    def _put(
        self, look: Look, environ: Mapping[str, Any], entry: Entry, now: float
    ) -> bool:
        vault, key = self._vault, look.key
        home, seconds = vault.home(key), kept_seconds(entry, now, *self._stale)
        places: tuple[str, ...] = (key,)
        if entry.vary:
            metadata = look.metadata or Metadata()
            entry, places = metadata.placed(key, environ, entry)
            limit = self.config.max_variants
            changed, dropped = metadata.adding(entry, places, now + seconds, limit)
            # First, as another process may have made one meanwhile.
            if changed != look.metadata and not self._index(
                look, changed, now + seconds, now
            ):
                return False
            metadata = look.metadata or metadata
            entry, places = metadata.placed(key, environ, entry)
            for place in dropped:
                vault.remove(home, place)
        elif entry.tags:
            self._hint(key, Metadata(tags=entry.tags))
        return all(vault.write(home, place, entry, seconds) for place in places)

    def _index(self, look: Look, changed: Metadata, until: float, now: float) -> bool:
        """Store the index of a resource; return whether it is there."""
        vault, key = self._vault, look.key
        home, seconds = vault.home(key), max(changed.expires, until) - now
        kept: bool | None = False
        if look.metadata is None and look.entry is None:
            kept = vault.add(home, key, changed, seconds)
            if kept is False:
                item = vault.read(home, [key], [])[0].get(key)
                # The next run stores by what the other one made.
                if isinstance(item, Metadata):
                    self._hint(key, item)
                    look.metadata = item
                    return True
        if kept is False:
            kept = vault.write(home, key, changed, seconds)
        if kept:
            look.metadata = changed
            self._hint(key, changed)
        return bool(kept)

    def purge(self, thing: str, *, soft: bool = False) -> bool:
        """Make the responses of a thing invalid, or stale; return whether it is done.

        A purge does not mind that the backend failed a moment ago. One that fails is
        carried out later, by a thread.
        """
        if thing.startswith(url_thing("")):
            self._hints.pop(thing.removeprefix(url_thing("")), None)
        try:
            self._carry_out(thing, soft)
        except Exception as error:  # noqa: BLE001 - as above
            self._vault.writes.failed(error)
            logger.error(
                "The purge of %r failed and will be retried every %.1f s: %s: %s",
                thing, _failing.RETRY, type(error).__name__, error,
            )  # fmt: skip
            self._owed.add(thing, soft)
            return False
        return True

    def _carry_out(self, thing: str, soft: bool) -> None:
        """Take the generation of a thing away, or count it up."""
        vault = self._vault
        if thing == ALL:
            vault.drop([vault.thing_name(ALL, home) for home in vault.homes])
            return
        name = vault.thing_name(thing, vault.home(thing.removeprefix(url_thing(""))))
        try:
            if thing.startswith(tag_thing("")):
                vault.drop([vault.thing_name(PURGES, "")])
        finally:
            # Even if not: what other processes have by then is gone for them too.
            if soft:
                vault.count_up(name)
            else:
                vault.drop([name])

    def renew(self, look: Look) -> bool:
        """Replace the generation of the URL; return whether it was the claimed one."""
        thing, later = url_thing(look.key), Look(look.key)
        self._read(later, self._vault.home(look.key), [], [thing], {})
        claimed = look.tokens.get(thing)
        ours = claimed is not None and later.tokens.get(thing) == claimed
        if not self.purge(thing) or not ours:
            return False
        look.tokens.pop(thing)
        self.claim(look)
        return True

    def _remember(self, look: Look, entries: Sequence[Entry]) -> None:
        tags = {tag for entry in entries for tag in entry.tags}
        metadata = look.metadata
        if metadata is not None and (metadata.sets or metadata.tags):
            self._hint(look.key, metadata)
        elif tags:
            self._hint(look.key, Metadata(tags=tuple(sorted(tags))))

    def _hint(self, key: str, metadata: Metadata) -> None:
        if key not in self._hints and len(self._hints) >= HINTS:
            self._hints.clear()
        self._hints[key] = metadata
