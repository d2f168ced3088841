"""The nginx block that fetches objects of a store, and trusts nothing that it says.

A store's answer passes through nginx to the client, so each part of it could speak for
the site. The block lets through what belongs to the object: the status of a success,
the bytes, their type, length, validators and range. Everything else is the app's or
nginx's:

============================= =========================================================
the store sends               the client gets
============================= =========================================================
X-Accel-*                     nothing of it; nginx ignores it
a redirect, 401, 5xx and most nginx's own 502; neither the address nor the message
403, 404, 410                 nginx's own 404, as a store says 403 of a missing key
412, 416                      nginx's own
Cache-Control, Expires,       the app's, with the object alone
Content-Disposition
cookies, Via, Location,       nothing of them
``x-amz-*``, ``x-goog-*``
============================= =========================================================

nginx has no wildcard for fields, so that the names of a store are a list here. And it
passes on the ``WWW-Authenticate`` of a 401, which no browser heeds with a 502.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._fields import CARRIED
from ._fields import RESTORED
from ._fields import SECRET_HEADER
from ._files import Location
from ._nginx import block
from ._nginx import given_back
from ._nginx import quoted
from ._nginx import variable


#: The codes with which nginx answers in place of a store, and for which of its own.
ERRORS = {
    404: "403 404 410",
    412: "412",
    416: "416",
    502: "300 301 302 303 305 307 308 400 401 402 405 406 407 408 409 411 413 414 415 "
    "417 418 421 422 423 424 425 426 428 429 431 451 500 501 502 503 504 505 507 508 "
    "510 511",
}
IGNORED = (
    "X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering "
    "X-Accel-Charset Cache-Control Expires Set-Cookie Vary"
)
_NAMES = """
    Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Max-Age
    Alt-Svc Clear-Site-Data Content-Location Location NEL Pragma Refresh Report-To
    Server-Timing Set-Cookie SourceMap Trailer Upgrade Via WWW-Authenticate
    x-amz-bucket-region x-amz-checksum-crc32 x-amz-checksum-crc32c
    x-amz-checksum-crc64nvme x-amz-checksum-sha1 x-amz-checksum-sha256
    x-amz-checksum-type x-amz-delete-marker x-amz-error-code x-amz-error-message
    x-amz-expiration x-amz-id-2 x-amz-meta-s3cmd-attrs x-amz-missing-meta
    x-amz-mp-parts-count x-amz-object-lock-legal-hold x-amz-object-lock-mode
    x-amz-object-lock-retain-until-date x-amz-replication-status x-amz-request-charged
    x-amz-request-id x-amz-restore x-amz-server-side-encryption
    x-amz-server-side-encryption-aws-kms-key-id
    x-amz-server-side-encryption-bucket-key-enabled
    x-amz-server-side-encryption-context
    x-amz-server-side-encryption-customer-algorithm
    x-amz-server-side-encryption-customer-key-MD5 x-amz-storage-class
    x-amz-tagging-count x-amz-version-id x-amz-website-redirect-location
    x-amzn-requestid x-amzn-trace-id x-goog-generation x-goog-hash
    x-goog-metageneration x-goog-storage-class x-goog-stored-content-encoding
    x-goog-stored-content-length x-guploader-uploadid x-ms-blob-type
    x-ms-creation-time x-ms-lease-state x-ms-lease-status x-ms-request-id
    x-ms-server-encrypted x-ms-version x-minio-deployment-id x-minio-error-code
    x-powered-by x-rgw-object-type x-trans-id
"""
HIDDEN: tuple[str, ...] = tuple(_NAMES.split())


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The choices of whoever runs nginx.

    :param cache: the zone of a ``proxy_cache_path`` that keeps objects.
    :param cache_seconds: for how long.
    :param resolver: the address of a name server, asked again as its answers expire.
    """

    cache: str | None = None
    cache_seconds: int = 3600
    resolver: str | None = None


def store_locations(
    locations: Sequence[Location], keep: Sequence[str], options: StoreOptions
) -> str:
    """Return the blocks of all stores, and of the errors that they share."""
    if not locations:
        return ""
    blocks = [_store(location, keep, options) for location in locations]
    return "\n".join([*blocks, *(_error(code, keep) for code in ERRORS)])


def _error(code: int, keep: Sequence[str]) -> str:
    restored = [it for it in given_back("app", "app", keep) if it.endswith(" always")]
    return block(f"@kaccel_{code}", *restored, f"return {code}")


def _store(location: Location, keep: Sequence[str], options: StoreOptions) -> str:
    names = [field.carrier for field in (*CARRIED, *RESTORED)] + list(keep)
    url = urlsplit(location.source)
    tls = ("proxy_ssl_server_name on", f"proxy_ssl_name {url.hostname}")
    return block(
        location.prefix,
        "internal",
        # The variables soon mean what the store has sent.
        *(f"set {variable(it, 'app')} {variable(it, 'upstream_http')}" for it in names),
        *_pass(location, options),
        # The signature covers the host and the method.
        f"proxy_set_header Host {url.netloc}",
        "proxy_method GET",
        "proxy_pass_request_body off",
        'proxy_set_header Content-Length ""',
        'proxy_set_header Authorization ""',
        'proxy_set_header Cookie ""',
        'proxy_set_header Referer ""',
        'proxy_set_header X-Forwarded-For ""',
        f'proxy_set_header {SECRET_HEADER} ""',
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        *(tls if url.scheme == "https" else ()),
        # A large object would be written to nginx's disk first.
        *(() if options.cache else ("proxy_max_temp_file_size 0",)),
        *_cache(options),
        # The names below do not fit into nginx's own table.
        "proxy_headers_hash_max_size 2048",
        "proxy_headers_hash_bucket_size 128",
        f"proxy_ignore_headers {IGNORED}",
        "proxy_redirect off",
        "proxy_intercept_errors on",
        *(f"error_page {codes} = @kaccel_{code}" for code, codes in ERRORS.items()),
        *(f"proxy_hide_header {name}" for name in _hidden(keep)),
        *given_back("app", "app", keep),
    )


def _hidden(keep: Sequence[str]) -> list[str]:
    names = [*HIDDEN, *(field.name for field in (*CARRIED, *RESTORED)), *keep]
    return sorted({name.lower(): name for name in names}.values(), key=str.lower)


def _pass(location: Location, options: StoreOptions) -> tuple[str, ...]:
    if options.resolver is None:
        return (f"proxy_pass {quoted(location.source)}",)
    url = urlsplit(location.source)
    return (
        f"resolver {options.resolver}",
        # nginx asks the name server for a host that a variable names, each time that
        # its last answer has expired.
        f"set $kaccel_store {url.netloc}",
        f'rewrite "^{location.prefix}(.*)$" "{url.path}$1" break',
        f"proxy_pass {url.scheme}://$kaccel_store",
    )


def _cache(options: StoreOptions) -> tuple[str, ...]:
    if options.cache is None:
        return ()
    return (
        f"proxy_cache {options.cache}",
        # Each signature is another; the object is the same.
        'proxy_cache_key "$host$uri$arg_versionId"',
        f"proxy_cache_valid 200 {options.cache_seconds}s",
        "proxy_cache_lock on",
    )
