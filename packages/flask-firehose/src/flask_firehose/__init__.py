"""Tell the browser early what the page will need."""

from __future__ import annotations

from flask_firehose.connector import Connector
from flask_firehose.exceptions import ConfigError
from flask_firehose.exceptions import FirehoseError
from flask_firehose.exceptions import LinkError
from flask_firehose.exceptions import SetupError
from flask_firehose.extension import Firehose
from flask_firehose.link import Link
from flask_firehose.page import dns_prefetch
from flask_firehose.page import hints
from flask_firehose.page import modulepreload
from flask_firehose.page import preconnect
from flask_firehose.page import prefetch
from flask_firehose.page import preload
from flask_firehose.page import push
from flask_firehose.page import push_static
from flask_firehose.page import send_early_hints


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
