"""Items and numbers in a backend that several processes share: names and signatures.

**Names.** A name is the prefix and a hash. Where a backend has several servers, a
*home* in braces is between them. All that a page without tags needs is at the home of
its URL: its responses, the generation of the URL, and one of the generations of
everything, of which each home has its own. A Redis Cluster keeps one home on one node,
and a Memcached of several hosts on one host. Where that is lost, its pages are misses,
and the others stay hits.

**Epochs.** A server that is restarted, or replaced by its replica, may have lost the
purges it acknowledged last. Each generation that is read is therefore mixed with the
epoch of the server that holds it, as far as the backend knows one: what was stored
before does not answer after.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from functools import lru_cache

from ._backends.base import Backend
from ._failing import Breaker
from ._rules.entry import LONGEST
from ._rules.entry import Item
from ._rules.entry import decode
from ._rules.entry import encode
from ._rules.things import ALL
from ._rules.things import url_thing


#: The generation that every purge of a tag takes away.
PURGES = "purges"
#: How long a generation lives, in seconds: longer than any entry.
LIFE = LONGEST + 24 * 60 * 60
#: Those of everything: ten years.
GENERATION_SECONDS: dict[str, int] = dict.fromkeys(
    (ALL, PURGES), 10 * 365 * 24 * 60 * 60
)
#: The low bits of a generation count its soft purges.
COUNT_BITS = 16
#: The homes of a backend of several servers, and the only one of any other.
HOMES, HOME = tuple(f"{number:02x}" for number in range(256)), ""

Secrets = Callable[[], Sequence[bytes]]


class Vault:
    """The items of one app in a backend.

    :param cache: the backend.
    :param prefix: the start of every name.
    :param front: the start of every key.
    :param secrets: returns what signs items: the first signs, any verifies.
    :param report: called with each error of the backend.
    """

    def __init__(
        self,
        cache: Backend,
        prefix: str,
        front: str,
        secrets: Secrets,
        report: Callable[[Exception], None],
    ) -> None:
        self._cache = cache
        self._prefix = prefix
        self._front = front
        self._secrets = secrets
        self.homes: tuple[str, ...] = HOMES if cache.spread else (HOME,)
        self.reads: Breaker = Breaker("reading", report)
        self.writes: Breaker = Breaker("writing", report)

    # Items.

    def home(self, key: str) -> str:
        """Return the home of the key of a resource."""
        return HOME if len(self.homes) == 1 else _digest(url_thing(key))[:2]

    def name(self, text: str, home: str = "") -> str:
        """Return the name of what is at a home, by default one of its own."""
        # Hashed, for memcached takes 250 characters, and a key may be anything.
        digest = _digest(text)
        if len(self.homes) == 1:
            return self._prefix + digest
        return f"{self._prefix}{{{home or digest[:2]}}}{digest}"

    def read(
        self, home: str, keys: Sequence[str], things: Sequence[str]
    ) -> tuple[dict[str, Item], dict[str, int]]:
        """Return items by key and generations by thing, as far as they are there."""
        names = [self.name(key, home) for key in keys]
        tokens = [self.thing_name(thing, home) for thing in things]
        nothing = [None] * (len(names) + len(tokens))
        got = self.reads.run(self._cache.get_many, nothing, *names, *tokens)
        items, generations = {}, {}
        for key, name, data in zip(keys, names, got, strict=False):
            item = self._decoded(name, data)
            if item is not None:
                items[key] = item
        for thing, name, data in zip(things, tokens, got[len(names) :], strict=True):
            token = self._mixed(name, data)
            if token is not None:
                generations[thing] = token
        return items, generations

    def write(self, home: str, key: str, item: Item, seconds: float) -> bool:
        """Store an item; return whether it is there."""
        name = self.name(key, home)
        data = encode(item, name, self._secrets()[0])
        return bool(self.writes.run(self._set, False, name, data, whole(seconds)))

    def add(self, home: str, key: str, item: Item, seconds: float) -> bool | None:
        """Store an item where there is none; None where the backend fails."""
        name = self.name(key, home)
        data = encode(item, name, self._secrets()[0])
        return self.writes.run(self._add, None, name, data, whole(seconds))

    def remove(self, home: str, key: str) -> None:
        """Remove an item."""
        self.writes.run(self._cache.delete, False, self.name(key, home))

    def _decoded(self, name: str, data: object) -> Item | None:
        if not isinstance(data, bytes):
            return None
        try:
            return decode(data, name, self._secrets())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None

    # Generations.

    def thing_name(self, thing: str, home: str) -> str:
        """Return the name of the generation of a thing, for the pages of a home."""
        if thing == ALL:
            return self.name(f"{self._front}{thing} {home}", home)
        at_home = thing.startswith(url_thing(""))
        return self.name(f"{self._front}{thing}", home if at_home else "")

    def _mixed(self, name: str, value: object) -> int | None:
        """Return a generation as it was read, mixed with the epoch of its server."""
        token = number(value)
        return (
            None if token is None else token ^ (self._cache.epoch(name) << COUNT_BITS)
        )

    def make(self, home: str, things: Sequence[str]) -> dict[str, int]:
        """Return the generations of things that had none, made by whoever."""
        names = [self.thing_name(thing, home) for thing in things]
        values = {
            name: (b"%d" % _random(), GENERATION_SECONDS.get(thing, LIFE))
            for name, thing in zip(names, things, strict=True)
        }
        added: list[bool] = []
        added = self.writes.run(self._cache.add_many, added, values)
        made: dict[str, int] = {}
        late = []
        for name, thing, done in zip(names, things, added, strict=False):
            token = self._mixed(name, values[name][0]) if done else None
            if token is None:
                late.append(thing)
            else:
                made[thing] = token
        made.update(self._made_by_others(home, late))
        return made

    def _made_by_others(self, home: str, things: Sequence[str]) -> dict[str, int]:
        """Return generations that could not be added, and remove what is none.

        Otherwise what is in their place would keep responses from being stored.
        """
        names = [self.thing_name(thing, home) for thing in things]
        values: list[object] = []
        if names:
            values = self.reads.run(self._cache.get_many, values, *names)
        found: dict[str, int] = {}
        for thing, name, data in zip(things, names, values, strict=False):
            token = self._mixed(name, data)
            if token is not None:
                found[thing] = token
            else:
                self.writes.run(self._cache.delete, False, name)
        return found

    def count_up(self, name: str) -> None:
        """Add to the count of a generation, if it is there."""
        if not self._cache.atomic:
            # It might undo another purge.
            self.drop([name])
            return
        if number(self._cache.get(name)) is None:
            return
        count = self._cache.inc(name, 1)
        if count is None or count >> COUNT_BITS == 0:
            # There was none any more, and this made one.
            self.drop([name])

    def drop(self, names: Sequence[str]) -> None:
        """Delete generations. DELETE works where a full Redis refuses SET.

        :raises Exception: the backend's own, where it fails.
        """
        self._cache.remove(*names)

    # Leads.

    def lead(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lead; a backend that fails cannot deny it."""
        value, lifetime = _owned(owner), whole(seconds)
        added = self.writes.run(
            self._cache.add, None, self._lead(name), value, lifetime
        )
        return added is not False

    def led(self, name: str) -> str | None:
        """Return who has a lead."""
        value = self.reads.run(self._cache.get, None, self._lead(name))
        if isinstance(value, bytes) and value[:1] == b"=":
            return value[1:].decode("ascii", "replace")
        return None

    def extend_lead(self, name: str, owner: str, seconds: float) -> bool:
        """Keep a lead for longer; return whether it is still the owner's."""
        if self.led(name) != owner:
            return False
        value, lifetime = _owned(owner), whole(seconds)
        kept = self.writes.run(self._set, False, self._lead(name), value, lifetime)
        return bool(kept)

    def end_lead(self, name: str, owner: str) -> None:
        """Give a lead back if it is still the owner's."""
        self.writes.run(self._cache.delete_if, False, self._lead(name), _owned(owner))

    def _lead(self, name: str) -> str:
        return self.name(f"{self._front}lead {name}")

    # Counters.

    def count(self, name: str, by: int) -> bool:
        """Add to a counter of all processes; return whether it is done."""
        return self.writes.run(self._increase, False, self._counter(name), by)

    def counted(self, names: Iterable[str]) -> dict[str, int]:
        """Return the counters of all processes.

        :raises Exception: the backend's own, where it fails.
        """
        listed = list(names)
        values = self._cache.get_many(*map(self._counter, listed))
        return {
            name: number(value) or 0 for name, value in zip(listed, values, strict=True)
        }

    def _counter(self, name: str) -> str:
        return self.name(f"{self._front}count {name}")

    def _add(self, name: str, value: bytes, seconds: int) -> bool:
        return bool(self._cache.add(name, value, seconds))

    def _set(self, name: str, value: bytes, seconds: int) -> bool:
        return bool(self._cache.set(name, value, seconds))

    def _increase(self, name: str, by: int) -> bool:
        return self._cache.inc(name, by) is not None


def number(value: object) -> int | None:
    """Return a generation or counter as it was read; None for anything else."""
    if isinstance(value, bytes) and value.strip().isdigit() and len(value) < 21:
        # Memcached pads numbers that were counted down with spaces.
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole(seconds: float) -> int:
    """Return seconds for a backend, where 0 would be for ever."""
    return max(1, int(seconds + 0.999))


@lru_cache(maxsize=4096)
def _digest(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=24).hexdigest()


def _random() -> int:
    return (secrets.randbits(47) or 1) << COUNT_BITS


def _owned(owner: str) -> bytes:
    return b"=" + owner.encode()
