"""boto3's clients.

A session has read S3's description, which takes ten times as long as making a client
of it, so the clients of a process share one.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from typing import Any

from .config import Config
from .exceptions import MissingDependencyError


#: Sessions are not made for threads: held while a client is made.
MAKING = threading.Lock()


@functools.cache
def _session(process: int, thread: int) -> Any:  # noqa: ARG001 - told apart by them
    from boto3.session import Session

    return Session()


def patched_thread() -> int:
    """Return the native thread where gevent has patched sockets, else 0.

    Such sockets belong to their thread's hub; all others are for all threads.
    """
    monkey: Any = sys.modules.get("gevent.monkey")
    patched = monkey is not None and monkey.is_module_patched("socket")
    return threading.get_native_id() if patched else 0


def make_client(config: Config) -> Any:
    """Make a boto3 client that gives up in time."""
    try:
        session = _session(os.getpid(), patched_thread())
        from botocore.config import Config as BotoConfig
    except ImportError as error:
        raise MissingDependencyError("boto3", "s3") from error
    checksum = config.s3_checksum
    own = config.s3_endpoint_url is not None
    if checksum == "auto":
        # Over TLS the default checksum comes behind the body in a form that older
        # servers refuse, above all Ceph's before version 18.
        checksum = "when_required" if own else "when_supported"
    s3: dict[str, Any] = {"addressing_style": config.s3_addressing}
    if own and str(config.s3_endpoint_url).startswith("https:"):
        # TLS guards the body; hashing it before would read it twice.
        s3["payload_signing_enabled"] = False
    return session.client(
        "s3",
        endpoint_url=config.s3_endpoint_url,
        region_name=config.s3_region or ("us-east-1" if own else None),
        aws_access_key_id=config.s3_access_key,
        aws_secret_access_key=config.s3_secret_key,
        config=BotoConfig(
            connect_timeout=config.s3_timeout,
            read_timeout=config.s3_timeout,
            retries={"total_max_attempts": config.s3_attempts, "mode": "standard"},
            max_pool_connections=config.s3_pool_size,
            request_checksum_calculation=checksum,
            response_checksum_validation=checksum,
            signature_version="s3v4",
            s3=s3,
        ),
    )
