"""One link: checked once, serialized once (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from posixpath import splitext
from typing import Any
from typing import Literal
from typing import Self
from typing import TypedDict
from typing import Unpack
from typing import get_args
from urllib.parse import quote

from .exceptions import LinkError


#: What a browser or a server acts on in a ``Link`` header.
RELATIONS = ("preload", "modulepreload", "preconnect", "dns-prefetch", "prefetch")
#: The values of ``as`` (Fetch, "destination") that a page can ask for.
Destination = Literal[
    "audio", "document", "embed", "fetch", "font", "image", "json", "manifest",
    "object", "script", "sharedworker", "style", "track", "video", "worker",
]  # fmt: skip
CrossOrigin = Literal["anonymous", "use-credentials"]
Priority = Literal["high", "low", "auto"]
#: The attributes that need no value.
Flag = Literal["crossorigin", "nopush"]


class Attributes(TypedDict, total=False):
    """The attributes of a link; False leaves one out that would be inferred."""

    as_: Destination | Literal[False] | None
    type: str | Literal[False] | None
    crossorigin: CrossOrigin | bool | None
    fetchpriority: Priority | None
    integrity: str | None
    imagesrcset: str | None
    imagesizes: str | None
    media: str | None
    nonce: str | None
    nopush: bool | None


class AnyLink(Attributes, total=False):
    """The attributes of a link that says itself what it is for."""

    rel: str


#: The ``as`` of a file, and its ``type`` where browsers differ in what they can read.
EXTENSIONS: dict[str, tuple[str, str | None]] = {
    ".css": ("style", None),
    ".js": ("script", None),
    ".mjs": ("script", None),
    ".woff2": ("font", "font/woff2"),
    ".woff": ("font", "font/woff"),
    ".ttf": ("font", "font/ttf"),
    ".otf": ("font", "font/otf"),
    ".avif": ("image", "image/avif"),
    ".webp": ("image", "image/webp"),
    ".svg": ("image", "image/svg+xml"),
    ".png": ("image", None),
    ".jpg": ("image", None),
    ".jpeg": ("image", None),
    ".gif": ("image", None),
    ".ico": ("image", None),
    ".vtt": ("track", None),
    ".json": ("fetch", None),
    ".wasm": ("fetch", None),
}
#: What browsers preload: Chromium never fetched audio and video.
EARLY = ("fetch", "font", "image", "json", "script", "style", "track")
#: Without these a page has no shape, no text, no behaviour: they go first.
IMPORTANCE = {"style": 0, "font": 1, "script": 2}
CHOICES = {
    "as": get_args(Destination),
    "crossorigin": get_args(CrossOrigin),
    "fetchpriority": get_args(Priority),
}
FLAGS = get_args(Flag)
TEXTS = ("type", "integrity", "imagesrcset", "imagesizes", "media", "nonce")
#: More than a server accepts in a head.
MAX_LENGTH = 4096

_ORIGIN = re.compile(r"(?i:https?)://([^/?#]*)")
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.IGNORECASE)
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Browsers resolve these, so that the URL names something else than it seems to.
_DOTS = re.compile(r"/(\.|%2e){1,2}(?=[/?]|$)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9._+-]+")
# A quote or a backslash would end the string early for nginx, and an angle
# bracket after a comma would begin a link of its own.
_TEXT = re.compile(r"[ !#-;=?-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the header carries it.

    :param url: percent-encoded, without a fragment.
    :param rel: the relation types, in lower case.
    :param attributes: the target attributes; the value of a flag is None.
    :param value: the whole link, serialized.
    :param key: equal for links that would fetch the same thing twice.
    :param rank: the lower, the more important.
    :param fetches: this page's browser has something afterwards.
    :param optional: it is for another page, and costs data that may be wasted.
    :param early: browsers act on it in a 103; the rest they ignore there.
    :param checked: browsers compare it with the tag that asks for it.
    """

    url: str
    rel: str
    attributes: tuple[tuple[str, str | None], ...]
    value: str
    key: str
    rank: int
    fetches: bool
    optional: bool
    early: bool
    checked: bool

    @classmethod
    def make(cls, url: str, *flags: Flag, **attributes: Unpack[AnyLink]) -> Self:
        """Check and serialize a link.

        :param url: a path that starts with one ``/``, or an http or https URL.
        :param flags: attributes without a value, such as ``"nopush"``.
        :param attributes: ``rel`` (``preload`` unless given), ``as`` or ``as_``,
            ``type``, ``crossorigin``, ``fetchpriority``, ``integrity``,
            ``imagesrcset``, ``imagesizes``, ``media``, ``nonce``, ``nopush``;
            False leaves one out that would be inferred.
        :raises LinkError: the link cannot be sent safely.
        """
        target = _target(url)
        given: dict[str, Any] = {
            name.rstrip("_"): value
            for name, value in attributes.items()
            if value is not None
        } | dict.fromkeys(flags, True)
        rel = _relation(given.pop("rel", "preload"))
        kinds = set(rel.split())
        pairs = tuple(_checked(_completed(target, kinds, given)))
        found = dict(pairs)
        return cls(
            url=target,
            rel=rel,
            attributes=pairs,
            value="; ".join((f"<{target}>", *_serialized((("rel", rel), *pairs)))),
            key=f"{'preload' if 'preload' in kinds else rel} {target}",
            rank=_rank(kinds, found),
            fetches=not kinds.isdisjoint({"preload", "modulepreload"}),
            optional="prefetch" in kinds and "preload" not in kinds,
            early=not kinds.isdisjoint({"modulepreload", "preconnect"})
            or ("preload" in kinds and found.get("as") in EARLY),
            checked=not found.keys().isdisjoint({"nonce", "integrity"}),
        )

    def __str__(self) -> str:
        return self.value

    @property
    def personal(self) -> bool:
        """Whether it was made for one response."""
        return any(name == "nonce" for name, _ in self.attributes)


def _target(url: str) -> str:
    """Return the URL percent-encoded, without its fragment.

    A server that pushes takes the URL for a request path: a raw space there
    costs the page itself, and a fragment is no part of a request.
    """
    if not isinstance(url, str):
        raise LinkError("url", url, "push a string")
    if len(url) > MAX_LENGTH:
        raise LinkError("url", url[:40] + "…", "push a URL of at most 4096 characters")
    if re.search(r"[\x00-\x1f\x7f<>]", url):
        raise LinkError("url", url, "leave out control characters, '<' and '>'")
    origin, rest = _split(url.partition("#")[0])
    try:
        encoded = quote(rest, safe="/?:@!$&'()*+,;=[]~%")
    except UnicodeEncodeError:
        raise LinkError("url", url, "leave out lone surrogates") from None
    if _DOTS.search(encoded.partition("?")[0]):
        raise LinkError("url", url, "leave out the segments '.' and '..'")
    return origin + _BARE_PERCENT.sub("%25", encoded)


def _split(url: str) -> tuple[str, str]:
    """Return the origin, empty for a path, and what follows it."""
    match = _ORIGIN.match(url)
    if match is None:
        if url.startswith("/") and url[1:2] not in {"/", "\\"}:
            return "", url
        raise LinkError(
            "url", url, "start it with one '/', with 'https://' or with 'http://'"
        )
    try:
        host = match[1].encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise LinkError("url", url, "give a host name, with no user and no spaces")
    return url[: match.start(1)].lower() + host, url[match.end() :]


def _relation(rel: object) -> str:
    tokens = rel.lower().split() if isinstance(rel, str) else []
    if not tokens or not set(tokens) <= set(RELATIONS):
        raise LinkError("rel", rel, f"use {', '.join(RELATIONS)}")
    return " ".join(tokens)


def _completed(url: str, kinds: set[str], given: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes in the header's order, with what the file's name tells."""
    extension = splitext(url.partition("?")[0])[1].lower()
    as_, type_ = EXTENSIONS.get(extension, (None, None))
    if "preload" not in kinds:
        as_, type_ = None, None
    # Browsers ask for these with CORS: what was fetched without is fetched again.
    cors = (
        given.get("as", as_) in {"font", "fetch"}
        or (as_ is not None and extension == ".mjs")
        or "modulepreload" in kinds
    )
    return {"as": as_, "type": type_, "crossorigin": cors} | given


def _checked(attributes: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        if name in FLAGS and value in (True, "", "anonymous"):
            yield name, None
        elif isinstance(value, str) and value.lower() in CHOICES.get(name, ()):
            yield name, value.lower()
        elif isinstance(value, str) and name in TEXTS and _TEXT.fullmatch(value):
            yield name, value
        else:
            raise LinkError(name, value, _remedy(name))


def _remedy(name: str) -> str:
    if name in CHOICES:
        return f"use {', '.join(CHOICES[name])}"
    if name in TEXTS:
        return "use printable ASCII without quotes, backslashes, '<' and '>'"
    if name in FLAGS:
        return "use True or False"
    names = ("rel", *CHOICES, *TEXTS, "nopush")
    near = get_close_matches(name, names, 1, 0.75)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown attribute{meant}; use one of {', '.join(names)}"


def _serialized(pairs: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    for name, value in pairs:
        if value is None:
            yield name
        else:
            yield f"{name}={value}" if _TOKEN.fullmatch(value) else f'{name}="{value}"'


def _rank(kinds: set[str], attributes: dict[str, str | None]) -> int:
    if any(value and "," in value for value in attributes.values()):
        # nginx stops reading a header at a quoted comma.
        return 9
    priority = attributes.get("fetchpriority")
    if priority == "low" or kinds <= {"prefetch", "dns-prefetch"}:
        return 5
    if priority == "high":
        return 0
    module = "script" if "modulepreload" in kinds else None
    return IMPORTANCE.get(attributes.get("as") or module or "", 3)
