"""What is stored, and its bytes: a small versioned format, never a pickle."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from .variants import Selection
from .variants import matches


_MAGIC = b"WC1"
_DIGEST = 16
# No line of a response ends early, whoever wrote what is stored.
_LINE = re.compile(r"[^\x00-\x08\x0a-\x1f]*")
_NOT_IN_304 = frozenset(
    {"content-encoding", "content-language", "content-length", "content-type"}
)
#: No backend keeps anything longer: 30 days, in seconds.
LONGEST = 30 * 24 * 60 * 60


class Entry(NamedTuple):
    """One stored response with what its fields said about its reuse."""

    #: The status line, such as ``200 OK``.
    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: When the request that it answered arrived.
    started: float
    #: When it was generated as far as Age knows: its age is now less this.
    born: float
    #: Until when it is fresh.
    fresh_until: float
    etag: str | None = None
    last_modified: str | None = None
    #: Whether the entity tag is the view's own, and not made here.
    own_etag: bool = False
    #: How long after that it may be served while it is refreshed, in seconds.
    stale_while_revalidate: int = 0
    #: How long after that it may stand in for an error, in seconds, if it says so.
    stale_if_error: int | None = None
    #: Never to be served stale (must-revalidate and its like).
    strict: bool = False
    #: Never to be served without validation (no-cache).
    no_cache: bool = False
    vary: Selection = ()
    language: str | None = None
    tags: tuple[str, ...] = ()
    salt: str = ""

    @property
    def validator(self) -> bool:
        """Whether the view can be asked if this is still current."""
        return self.own_etag or self.last_modified is not None

    @property
    def code(self) -> int:
        """The status code."""
        return int(self.status[:3])


@dataclass(frozen=True, slots=True)
class Variant:
    """Where the response to one selection is stored."""

    vary: Selection
    language: str | None
    expires: float

    def name(self, key: str) -> str:
        """Return the key of the stored response."""
        return variant_key(key, self.vary)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a resource whose responses vary, or that was purged.

    :param vary: the selecting request fields of its latest response.
    :param salt: a random part of each of its responses: with another salt, all of
        them are invalid at once.
    :param variants: its stored responses, the latest first.
    :param purged: when it was purged; nothing that was begun before is stored.
    """

    vary: tuple[str, ...] = ()
    salt: str = field(default_factory=lambda: secrets.token_hex(8))
    variants: tuple[Variant, ...] = ()
    purged: float = 0.0

    def names(self) -> tuple[tuple[str, ...], ...]:
        """Return the sets of selecting fields in use, the latest first."""
        return tuple(
            dict.fromkeys(tuple(name for name, _ in v.vary) for v in self.variants)
        )

    def choose(self, asked: Sequence[Selection]) -> Variant | None:
        """Return the latest variant that fits a request's selections, if any."""
        by_names = {tuple(name for name, _ in one): one for one in asked}
        for variant in self.variants:
            one = by_names[tuple(name for name, _ in variant.vary)]
            if matches(variant.vary, variant.language, one):
                return variant
        return None

    def adding(
        self, variant: Variant, now: float, limit: int
    ) -> tuple[Metadata, tuple[Variant, ...]]:
        """Return this with one more variant, and the variants it has no room for."""
        others = [
            one
            for one in self.variants
            if one.expires > now and one.vary != variant.vary
        ]
        kept = (variant, *others[: limit - 1])
        names = tuple(name for name, _ in variant.vary)
        return replace(self, vary=names, variants=kept), tuple(others[limit - 1 :])


@lru_cache(maxsize=1024)
def lean(lines: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the lines that a 304 repeats (RFC 9110, section 15.4.5)."""
    return tuple(line for line in lines if line[0].lower() not in _NOT_IN_304)


Item = Entry | Metadata | str


def variant_key(key: str, vary: Selection) -> str:
    """Return the key of one variant of a resource."""
    return f"{key} {json.dumps(vary)}" if vary else key


def encode(item: Item, name: str, secret: bytes) -> bytes:
    """Return the bytes to store under a name, signed with a secret."""
    body = b""
    if isinstance(item, Entry):
        kind, body = b"E", item.body
        head: object = {**item._asdict(), "body": None}
    elif isinstance(item, Metadata):
        kind, head = b"M", asdict(item)
    else:
        kind, head = b"S", item
    text = json.dumps(head, separators=(",", ":")).encode()
    data = b"".join((kind, len(text).to_bytes(4, "big"), text, body))
    return _MAGIC + _sign(data, name, secret) + data


def decode(data: object, name: str, secret: bytes) -> Item | None:
    """Return what is stored under a name; None for whatever is not of this format.

    :param name: a signature holds for one name, so that nobody moves an entry.
    """
    start = len(_MAGIC) + _DIGEST
    if not isinstance(data, bytes) or data[: len(_MAGIC)] != _MAGIC:
        return None
    signature, data = data[len(_MAGIC) : start], data[start:]
    if not hmac.compare_digest(signature, _sign(data, name, secret)):
        return None
    size = 5 + int.from_bytes(data[1:5], "big")
    head = json.loads(data[5:size])
    if data[:1] == b"E":
        head["headers"] = tuple(_line(key, value) for key, value in head["headers"])
        head["vary"] = _selection(head["vary"])
        head["tags"] = tuple(head["tags"])
        return Entry(**{**head, "body": data[size:]})
    if data[:1] == b"M":
        variants = tuple(
            Variant(_selection(one["vary"]), one["language"], one["expires"])
            for one in head["variants"]
        )
        return Metadata(tuple(head["vary"]), head["salt"], variants, head["purged"])
    return str(head)


def _line(name: str, value: str) -> tuple[str, str]:
    if not _LINE.fullmatch(f"{name}: {value}"):
        raise ValueError(name)
    return name, value


def _selection(pairs: list[list[str | None]]) -> Selection:
    return tuple((str(name), value) for name, value in pairs)


def _sign(data: bytes, name: str, secret: bytes) -> bytes:
    person = hashlib.blake2b(name.encode(), digest_size=16).digest()
    key = hashlib.blake2b(secret, digest_size=32).digest()
    return hashlib.blake2b(data, digest_size=_DIGEST, key=key, person=person).digest()
