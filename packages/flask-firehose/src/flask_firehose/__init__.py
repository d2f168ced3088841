"""Tell the browser early what the page will need."""

from __future__ import annotations

from ._connector import Connector
from ._extension import Firehose
from ._link import Link
from ._page import dns_prefetch
from ._page import hints
from ._page import modulepreload
from ._page import preconnect
from ._page import prefetch
from ._page import preload
from ._page import push
from ._page import push_static
from ._page import send_early_hints
from .exceptions import ConfigError
from .exceptions import FirehoseError
from .exceptions import LinkError
from .exceptions import SetupError


__all__ = [
    "ConfigError",
    "Connector",
    "Firehose",
    "FirehoseError",
    "Link",
    "LinkError",
    "SetupError",
    "dns_prefetch",
    "hints",
    "modulepreload",
    "preconnect",
    "prefetch",
    "preload",
    "push",
    "push_static",
    "send_early_hints",
]
