"""The facts of the deployment, validated once."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from ._settings import Settings
from ._settings import at_least
from ._settings import key
from ._settings import matches
from ._settings import settings


_PREFIX = matches(
    r"(https?://[^/]+)?/([^/].*/)?",
    "a URL prefix that ends with '/', such as '/assets/' or 'https://cdn.example/'",
)


@settings
class Config(Settings):
    """The configuration of links in this deployment."""

    prefix: ClassVar[str] = "FIREHOSE_"

    early_hints: bool = key(False, "Send 103 Early Hints if the server supports it.")
    learn: bool = key(True, "Send the links that all pages of an endpoint push early.")
    learn_prefixes: tuple[str, ...] = key(
        (),
        "URL prefixes of links that may be learned, in addition to static files.",
        _PREFIX,
    )
    manifest: str | None = key(
        None, "The path of the build's manifest, relative to the app's root path."
    )
    manifest_url: str | None = key(
        None,
        "The URL prefix of built files, if they are not in the static folder.",
        _PREFIX,
    )
    max_bytes: int = key(
        1024,
        "The maximum length of the `Link` header in bytes, your own links included.",
        at_least(1),
    )
    max_head: int = key(
        3840,
        "The maximum size of the response head of a page with links, in bytes.",
        at_least(1),
    )
    max_links: int = key(
        20, "The maximum number of links in one response.", at_least(1)
    )
    mimetypes: tuple[str, ...] = key(
        ("text/html", "application/xhtml+xml"),
        "The media types of responses that carry links.",
        matches(r"[a-z0-9.+-]+/[a-z0-9.+-]+", "a media type in lower case"),
    )
    refuse_speculation: bool = key(
        False, "Answer 503 when a browser prefetches an unmarked page."
    )
    speculation: Literal["conservative", "moderate", "eager"] | None = key(
        None, "How eagerly browsers prefetch marked pages; None turns it off."
    )
    static_fresh: bool = key(
        False, "Whether a proxy or middleware gives static files a max age."
    )
    vite_server: str | None = key(
        None,
        "The URL of Vite's development server with its base, such as "
        "'http://localhost:5173/'.",
        matches(r"https?://[^/]+/(.*/)?", "a URL that ends with '/'"),
    )
