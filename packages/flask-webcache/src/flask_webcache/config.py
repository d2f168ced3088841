"""The configuration, validated once when the app is set up."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import ClassVar

from ._backends import parse
from ._settings import Settings
from ._settings import at_least
from ._settings import key
from ._settings import matches
from ._settings import satisfies
from ._settings import settings


__all__ = ["Config"]

_FULL = satisfies(all, "none of them empty")


@settings
class Config(Settings):
    """The configuration of one app; every field is the key ``WEBCACHE_`` with its name.

    :param preemptive_recache_callback: called with a
        :class:`~flask_webcache.recache.Recache` to renew a response in the background;
        by threads of this process where it is None.
    :param key_callback: called with the WSGI environment of each request; the string
        that it returns becomes a part of the key, such as a tenant or a device class.
    """

    prefix: ClassVar[str] = "WEBCACHE_"

    url: str = key(
        "simple://",
        "The backend, see [Backends](#backends).",
        secret=True,
    )
    key_prefix: str = key(
        "webcache:", "The start of every name in the backend; one for each app."
    )
    master_salt: str = key(
        "",
        "Another salt is another, empty cache. In debug mode, a new one at each start.",
    )
    resource_exemptions: tuple[str, ...] = key(
        (), "Prefixes of paths that are left alone, beside the static files.", _FULL
    )
    request_controls_cache: bool = key(
        True,
        "Whether clients' `Cache-Control` counts, as the RFC wants it. False where no "
        "client may bypass the cache.",
    )
    default_expiration_seconds: int = key(
        0, "How long a response that says nothing is fresh.", at_least(0)
    )
    stale_on_error: int = key(
        0,
        "How many seconds a stale response may stand in for an error where it does not "
        "say so itself.",
        at_least(0),
    )
    keep_seconds: int = key(
        3600, "How long a stale response is kept to be validated.", at_least(0)
    )
    preemptive_recache_seconds: int = key(
        0, "How long before its end a fresh response is renewed.", at_least(0)
    )
    lock_seconds: float = key(
        5.0,
        "How long a page is not made by anybody else after the process that makes it "
        "died; 0 for every request to make its own.",
        at_least(0),
    )
    wait_seconds: float = key(
        30.0,
        "How long a view may take before a request that waits for it runs it, too.",
        at_least(0),
    )
    max_body_bytes: int = key(
        1_000_000, "The longest body that is stored.", at_least(0)
    )
    max_variants: int = key(
        16, "How many responses of one URL are stored.", at_least(1)
    )
    etags: bool = key(True, "Whether complete responses get an `ETag`.")
    store_set_cookie: bool = key(
        False,
        "Whether a response that sets a cookie is stored, and its cookie given to "
        "everyone.",
    )
    targeted_fields: tuple[str, ...] = key(
        ("Webcache-Cache-Control",),
        "The fields that replace `Cache-Control` here, the first one present.",
        _FULL,
    )
    ignored_query: tuple[str, ...] = key(
        (), "Query parameters that make no difference, such as `utm_*`.", _FULL
    )
    sort_query: bool = key(
        False, "Whether the order of query parameters makes no difference."
    )
    ignored_readers: tuple[str, ...] = key(
        (),
        "Modules whose reads of a request make no difference to a page, such as a "
        "request log.",
        _FULL,
    )
    cache_name: str = key(
        "flask-webcache",
        "The name of this cache in `Cache-Status`.",
        matches(
            r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*",
            "a name of letters, digits, '-' and '.'",
        ),
    )
    preemptive_recache_callback: Callable[[Any], object] | None = key(
        None, "Renews a response.", read=False
    )
    key_callback: Callable[[Mapping[str, Any]], str] | None = key(
        None, "Returns a part of the key.", read=False
    )

    def check(self) -> None:
        """Refuse a URL that no backend can be made of."""
        parse(self.url)
