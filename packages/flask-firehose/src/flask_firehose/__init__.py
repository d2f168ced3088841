"""Tell the browser early what the page will need."""

from __future__ import annotations

from flask_firehose.exceptions import ConfigError
from flask_firehose.exceptions import FirehoseError
from flask_firehose.exceptions import LinkError
from flask_firehose.exceptions import SetupError
from flask_firehose.extension import Connector
from flask_firehose.extension import Firehose
from flask_firehose.extension import dns_prefetch
from flask_firehose.extension import hints
from flask_firehose.extension import modulepreload
from flask_firehose.extension import preconnect
from flask_firehose.extension import prefetch
from flask_firehose.extension import preload
from flask_firehose.extension import push
from flask_firehose.extension import push_static
from flask_firehose.extension import send_early_hints
from flask_firehose.link import Link


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
