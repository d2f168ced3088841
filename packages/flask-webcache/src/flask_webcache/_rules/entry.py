"""The stored items and their bytes: a small versioned format, never a pickle."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import lru_cache
from typing import Any
from typing import NamedTuple

from .variants import Selectors
from .variants import language_key
from .variants import variant_keys


_MAGIC = b"WC2"
_DIGEST = 16
# No line of a response ends early, whoever wrote what is stored.
_LINE = re.compile(r"[^\x00-\x08\x0a-\x1f]*")
_NOT_IN_304 = frozenset(
    {"content-encoding", "content-language", "content-length", "content-type"}
)
#: No backend keeps anything longer: 30 days, in seconds.
LONGEST = 30 * 24 * 60 * 60
#: The size of an entry in memory, of each of its lines and of its tags, in bytes.
FRAME, LINE, TAG = 1200, 160, 500
#: How many sets of selectors and how many tags of a resource are remembered.
MAX_SETS, MAX_TAGS = 4, 32


class Entry(NamedTuple):
    """One stored response with what its fields said about its reuse."""

    #: The status line, such as ``200 OK``.
    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: Estimated generation time; age = now - born.
    born: float
    #: The end of its freshness lifetime.
    fresh_until: float
    etag: str | None = None
    last_modified: str | None = None
    #: Whether the entity tag is the view's own, and not made here.
    own_etag: bool = False
    #: How long after that it may be served while it is renewed, in seconds.
    stale_while_revalidate: int = 0
    #: How long after that it may stand in for an error, in seconds, if it says so.
    stale_if_error: int | None = None
    #: Never to be served stale (must-revalidate and its like).
    strict: bool = False
    #: Never to be served without validation (no-cache).
    no_cache: bool = False
    #: The selectors; their values are a part of the key, and nowhere else.
    vary: Selectors = ()
    language: str | None = None
    tags: tuple[str, ...] = ()
    #: The generations that it belongs to, each with its value.
    tokens: tuple[tuple[Any, int], ...] = ()

    @property
    def validator(self) -> bool:
        """Whether the view can be asked if this is still current."""
        return self.own_etag or self.last_modified is not None

    @property
    def code(self) -> int:
        """The status code."""
        return int(self.status[:3])

    @property
    def cache_weight(self) -> int:
        """Its estimated size in memory, in bytes."""
        size = FRAME + len(self.body)
        for name, value in self.headers:
            size += LINE + len(name) + len(value)
        return size + TAG * len(self.tags)

    def under(self, tokens: tuple[tuple[Any, int], ...]) -> Entry:
        """Return this with the generations that it belongs to."""
        return Entry(*self[:-1], tokens)


@dataclass(frozen=True, slots=True)
class Metadata:
    """An index record: where to look for the responses of a resource that varies.

    It is a hint. An old one that is put back costs misses, never a wrong page.

    :param vary: the selectors of its latest response.
    :param salt: a random part of the keys of its responses.
    :param others: further sets of selectors in use, the latest first.
    :param tags: tags that its responses have had.
    :param variants: the keys of its stored responses, the latest first.
    :param expires: when the last of them is gone, in seconds since the epoch.
    """

    vary: Selectors = ()
    salt: str = field(default_factory=lambda: secrets.token_hex(8))
    others: tuple[Selectors, ...] = ()
    tags: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    expires: float = 0.0

    @property
    def sets(self) -> tuple[Selectors, ...]:
        """The sets of selectors in use, the latest first."""
        return (self.vary, *self.others) if self.vary else self.others

    def leads_to(self, other: Metadata | None) -> bool:
        """Return whether another index leads to the same places."""
        return other is not None and (self.salt, self.sets) == (other.salt, other.sets)

    def selectors(self, wanted: Selectors) -> Selectors:
        """Return the selectors to store a response by: *wanted*, or more of them.

        With too many sets in use, all of them are joined into one.
        """
        if not wanted or wanted in self.sets or len(self.sets) < MAX_SETS:
            return wanted
        return tuple(sorted({*wanted, *(name for one in self.sets for name in one)}))

    def adding(
        self, entry: Entry, keys: Sequence[str], until: float, limit: int
    ) -> tuple[Metadata, tuple[str, ...]]:
        """Return this with one more response, and the keys there is no room for.

        :param keys: where the response is stored.
        :param until: when it is gone, in seconds since the epoch.
        :param limit: how many keys there is room for.
        """
        others = tuple(one for one in self.sets if one != entry.vary)
        listed = (*keys, *(one for one in self.variants if one not in keys))
        if set(keys) <= set(self.variants[:limit]):
            listed = self.variants
        changed = replace(
            self,
            vary=entry.vary,
            others=others[: MAX_SETS - 1],
            tags=self.tagged(entry.tags),
            variants=listed[:limit],
            # Not for each response anew.
            expires=self.expires if self.expires >= until else 2 * until - entry.born,
        )
        return changed, listed[limit:]

    def places(self, key: str, environ: Mapping[str, Any]) -> list[str]:
        """Return where the responses that a request selects may be stored."""
        return [
            place
            for names in self.sets
            for place in variant_keys(key, self.salt, names, environ)
        ]

    def placed(
        self, key: str, environ: Mapping[str, Any], entry: Entry
    ) -> tuple[Entry, tuple[str, ...]]:
        """Return an entry that varies with its selectors, and its places."""
        names = self.selectors(entry.vary)
        places = variant_keys(key, self.salt, names, environ)[:1]
        if entry.language and "accept-language" in names:
            spoken = language_key(key, self.salt, names, environ, entry.language)
            places = (*places, spoken)
        return entry._replace(vary=names), places

    def tagged(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Return its tags with more of them, the latest first."""
        new = tuple(tag for tag in dict.fromkeys(tags) if tag not in self.tags)
        return (*new, *self.tags)[:MAX_TAGS] if new else self.tags


@lru_cache(maxsize=1024)
def lean(lines: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the lines that a 304 repeats (RFC 9110, section 15.4.5)."""
    return tuple(line for line in lines if line[0].lower() not in _NOT_IN_304)


Item = Entry | Metadata


def encode(item: Item, name: str, secret: bytes) -> bytes:
    """Return the bytes to store under a name, signed with a secret."""
    body = b""
    if isinstance(item, Entry):
        kind, body = b"E", item.body
        head: object = {**item._asdict(), "body": None}
    else:
        kind, head = b"M", asdict(item)
    text = json.dumps(head, separators=(",", ":")).encode()
    data = b"".join((kind, len(text).to_bytes(4, "big"), text, body))
    return _MAGIC + _sign(data, name, secret) + data


def decode(data: object, name: str, secrets: Iterable[bytes]) -> Item | None:
    """Return the item stored under a name; None for bytes of another format.

    :param name: a signature holds for one name, so that nobody moves an entry.
    :param secrets: any of them may have signed it.
    """
    start = len(_MAGIC) + _DIGEST
    if not isinstance(data, bytes) or data[: len(_MAGIC)] != _MAGIC:
        return None
    signature, data = data[len(_MAGIC) : start], data[start:]
    if not any(
        hmac.compare_digest(signature, _sign(data, name, secret)) for secret in secrets
    ):
        return None
    size = 5 + int.from_bytes(data[1:5], "big")
    head = json.loads(data[5:size])
    if data[:1] == b"E":
        head["headers"] = tuple(_line(key, value) for key, value in head["headers"])
        head["vary"] = tuple(head["vary"])
        head["tags"] = tuple(head["tags"])
        head["tokens"] = tuple((name, value) for name, value in head["tokens"])
        return Entry(**{**head, "body": data[size:]})
    for name in ("vary", "tags", "variants"):
        head[name] = tuple(head[name])
    head["others"] = tuple(tuple(one) for one in head["others"])
    return Metadata(**head)


def _line(name: str, value: str) -> tuple[str, str]:
    if not _LINE.fullmatch(f"{name}: {value}"):
        raise ValueError(name)
    return name, value


def _sign(data: bytes, name: str, secret: bytes) -> bytes:
    person = hashlib.blake2b(name.encode(), digest_size=16).digest()
    key = _key(secret)
    return hashlib.blake2b(data, digest_size=_DIGEST, key=key, person=person).digest()


@lru_cache(maxsize=16)
def _key(secret: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=32).digest()
