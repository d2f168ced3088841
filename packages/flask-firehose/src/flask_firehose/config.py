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

    early_hints: bool = key(False, "Send a 103 where the server can.")
    learn: bool = key(True, "Send early what all pages of an endpoint push.")
    learn_prefixes: tuple[str, ...] = key(
        (), "Where links beside static files start that may be learned.", _PREFIX
    )
    manifest: str | None = key(
        None, "The build's manifest, as a path relative to the app's root path."
    )
    manifest_url: str | None = key(
        None, "Where built files are served, if not in the static folder.", _PREFIX
    )
    max_bytes: int = key(
        1024, "The longest `Link` value in bytes, your own included.", at_least(1)
    )
    max_head: int = key(
        3840, "The longest head of a page with links, in bytes.", at_least(1)
    )
    max_links: int = key(20, "The most links of one response.", at_least(1))
    mimetypes: tuple[str, ...] = key(
        ("text/html", "application/xhtml+xml"),
        "The responses that carry links.",
        matches(r"[a-z0-9.+-]+/[a-z0-9.+-]+", "a media type in lower case"),
    )
    refuse_speculation: bool = key(
        False, "Answer 503 when an unmarked page is fetched ahead."
    )
    speculation: Literal["conservative", "moderate", "eager"] | None = key(
        None, "How soon browsers fetch marked pages ahead; None turns it off."
    )
    static_fresh: bool = key(
        False, "A proxy or middleware gives static files a max age."
    )
    vite_server: str | None = key(
        None,
        "Vite's development server with its base, such as 'http://localhost:5173/'.",
        matches(r"https?://[^/]+/(.*/)?", "a URL that ends with '/'"),
    )
