"""Objects of a real S3 server, sent by nginx with a presigned URL."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from urllib.parse import urlsplit

import pytest

import harness


CONTENT = bytes(range(256)) * 1024
Fetch = Callable[..., Any]


@dataclass(frozen=True)
class Store:
    """A bucket, and a site whose nginx fetches from it."""

    client: Any
    bucket: str
    site: Any

    def presigned(self, key: str, **parameters: str) -> str:
        """Return the address at the site of an object's presigned URL."""
        url = self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key, **parameters}
        )
        return f"/object?{quote(url, safe='')}"


@pytest.fixture(scope="module")
def store(deploy: Any) -> Iterator[Store]:
    """An S3 server with one large object, and nginx before the app and it."""
    boto3 = pytest.importorskip("boto3")
    botocore = pytest.importorskip("botocore.config")
    config = botocore.Config(signature_version="s3v4", s3={"addressing_style": "path"})
    with harness.s3_server() as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name=server.region,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            config=config,
        )
        client.put_object(
            Bucket=server.bucket, Key="large", Body=CONTENT, ContentType="text/x-large"
        )
        mappings = {f"{server.url}/": "/s3/"}
        with deploy(KACCEL_MAPPINGS=mappings, KACCEL_SECRET="s" * 16) as site:
            yield Store(client, server.bucket, site)


@pytest.mark.parametrize(
    "key",
    [
        "a.txt", "a b.txt", "100%.txt", "a%20b.txt", "q?x.txt", "naïve-日本語-🙂.txt",
        "a#b.txt", "a+b.txt", "a&b=c.txt", "sub/dir/a.txt", "a'(b)!*.txt",
        "a;b:c@d,e$.txt", 'a"b.txt', "a\\b.txt",
    ],
)  # fmt: skip
def test_every_key(store: Store, fetch: Fetch, key: str) -> None:
    """The signature of every key survives nginx."""
    store.client.put_object(Bucket=store.bucket, Key=key, Body=key.encode())
    reply = fetch(store.site.nginx.address, store.presigned(key))
    assert (reply.status, reply.body) == (200, key.encode())


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 200, CONTENT),
        ({"Range": "bytes=256-259"}, 206, b"\0\1\2\3"),
        ({"Range": "bytes=-2"}, 206, b"\xfe\xff"),
        ({"Range": "bytes=999999-"}, 416, None),
        ({"If-None-Match": "ETAG"}, 304, b""),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(
    store: Store, fetch: Fetch, headers: Any, status: int, body: Any, method: str
) -> None:
    """Ranges and conditions are answered by the store."""
    etag = store.client.head_object(Bucket=store.bucket, Key="large")["ETag"]
    headers = {name: value.replace("ETAG", etag) for name, value in headers.items()}
    address = store.site.nginx.address
    reply = fetch(address, store.presigned("large"), headers, method)
    assert reply.status == status
    if status < 300:
        assert reply.headers["ETag"] == etag
        assert reply.headers["Content-Length"] == str(len(body))
        assert reply.headers["Content-Type"] == "text/x-large"
    if method == "HEAD":
        assert reply.body == b""
    elif body is not None:
        assert reply.body == body


def test_fields_are_the_apps(store: Store, fetch: Fetch) -> None:
    """The name and the caching of an object are what the app says, once."""
    url = store.presigned("large", ResponseContentDisposition="inline")
    headers = fetch(store.site.nginx.address, url).headers
    assert headers.getlist("Content-Disposition") == ['attachment; filename="a b.txt"']
    assert headers.getlist("Cache-Control") == ["private, max-age=5"]
    assert headers.getlist("Content-Security-Policy") == ["sandbox"]
    assert not [name for name, _ in headers if name.lower().startswith("x-am")]


def test_without_nginx(store: Store, fetch: Fetch) -> None:
    """Without nginx in front, the view sends the client to the store."""
    reply = fetch(store.site.app.address, store.presigned("large"))
    assert reply.status == 302
    assert urlsplit(reply.headers["Location"]).path == f"/{store.bucket}/large"
    assert not [name for name, _ in reply.headers if name.lower().startswith("x-")]


@pytest.mark.parametrize(
    "url", ["/s3/uploads/large", "/s3/", "/s3../", "/object?http://127.0.0.1:1/x"]
)
def test_attacks(store: Store, fetch: Fetch, url: str) -> None:
    """Nobody gets to the store, or elsewhere, but by a URL that the app maps."""
    reply = fetch(store.site.nginx.address, url)
    assert reply.status in (302, 404)
    assert CONTENT[:256] not in reply.body
