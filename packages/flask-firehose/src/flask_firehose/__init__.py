"""Push links, as ``Link`` headers and 103 Early Hints."""

from __future__ import annotations

from ._assets import Assets
from ._assets import bundle
from ._assets import vite
from ._connector import Connector
from ._connector import PushTracker
from ._extension import Firehose
from ._hints import hints
from ._hints import static
from ._link import Link
from ._push import dns_prefetch
from ._push import modulepreload
from ._push import preconnect
from ._push import prefetch
from ._push import preload
from ._push import push
from ._push import push_static
from ._push import send_early_hints
from ._speculation import prefetchable
from ._speculation import speculative
from .config import Config
from .exceptions import ConfigError
from .exceptions import FirehoseError
from .exceptions import LinkError
from .exceptions import ManifestError
from .exceptions import SetupError


__all__ = [
    "Assets",
    "Config",
    "ConfigError",
    "Connector",
    "Firehose",
    "FirehoseError",
    "Link",
    "LinkError",
    "ManifestError",
    "PushTracker",
    "SetupError",
    "bundle",
    "dns_prefetch",
    "hints",
    "modulepreload",
    "preconnect",
    "prefetch",
    "prefetchable",
    "preload",
    "push",
    "push_static",
    "send_early_hints",
    "speculative",
    "static",
    "vite",
]
