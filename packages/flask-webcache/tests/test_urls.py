"""Backend URLs: read as users know them, refused by name, and without secrets."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from flask_webcache import Config
from flask_webcache import ConfigError
from flask_webcache._backends import MemoryCache
from flask_webcache._backends import connect
from flask_webcache._backends import parse


LOCAL = (("localhost", 6379),)


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "rest"),
    [
        ("simple://", "memory", (), {}),
        ("simple://?max_items=5&max_bytes=900", "memory", (),
         {"options": {"max_items": 5, "max_bytes": 900}}),
        ("file:///var/cache/a%20b", "file", (), {"path": "/var/cache/a b"}),
        ("redis://", "redis", LOCAL, {}),
        ("redis:///3", "redis", LOCAL, {"options": {"db": 3}}),
        ("redis://h:1/2", "redis", (("h", 1),), {"options": {"db": 2}}),
        ("redis://:p%40ss@h", "redis", (("h", 6379),),
         {"options": {"password": "p@ss"}}),
        ("rediss://u:p@[::1]:7?ssl_cert_reqs=CERT_NONE", "redis", (("::1", 7),),
         {"tls": True,
          "options": {"username": "u", "password": "p", "ssl_cert_reqs": "none"}}),
        ("valkey://h?socket_timeout=.2", "redis", (("h", 6379),),
         {"options": {"socket_timeout": 0.2}}),
        ("valkeys://h?socket_keepalive=0", "redis", (("h", 6379),),
         {"tls": True, "options": {"socket_keepalive": False}}),
        ("unix:///run/redis.sock?db=2&password=p", "redis", (),
         {"path": "/run/redis.sock", "options": {"db": 2, "password": "p"}}),
        ("redis+unix://u:p@/run/r.sock", "redis", (),
         {"path": "/run/r.sock", "options": {"username": "u", "password": "p"}}),
        ("REDIS+cluster://a,b:7001", "cluster", (("a", 6379), ("b", 7001)), {}),
        ("redis+cluster://a/0", "cluster", (("a", 6379),), {}),
        ("redis+sentinel://:p@a,b:9/main/4?sentinel_password=s", "sentinel",
         (("a", 26379), ("b", 9)),
         {"service": "main",
          "options": {"password": "p", "sentinel_password": "s", "db": 4}}),
        ("rediss+sentinel://a/main", "sentinel", (("a", 26379),),
         {"service": "main", "tls": True}),
        ("memcached://a,b:9", "memcached", (("a", 11211), ("b", 9)), {}),
        ("memcached:///run/m.sock", "memcached", (), {"path": "/run/m.sock"}),
        ("memcached+unix:///run/m.sock", "memcached", (), {"path": "/run/m.sock"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_parse(url: str, kind: str, hosts: object, rest: dict[str, Any]) -> None:
    """Every form of URL is read."""
    target = parse(url)
    expected = {"path": "", "service": "", "tls": False, "options": {}, **rest}
    assert (target.kind, target.hosts) == (kind, hosts)
    assert {name: getattr(target, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("foo://h", "use simple://, file:///DIRECTORY, redis://HOST:6379/0"),
        ("redis", "use simple://"),
        ("simple://?threshold=9", "'threshold' cannot be used: it is called max_items"),
        ("simple://?max_item=9", "'max_item' is unknown, did you mean 'max_items'"),
        ("simple://?max_items=0", "max_items is '0': give a whole number, 1 or more"),
        ("simple://?max_bytes=64M", "max_bytes is '64M': give a whole number"),
        ("simple://?zzz=1", "'zzz' is unknown, use max_bytes, max_items"),
        ("simple://host", "use simple:// without a host"),
        ("file://relative", "give the whole path: file:///var/cache/app"),
        ("unix://", "give the whole path: unix:///SOCKET"),
        ("redis://h:99999", "give a port from 1 to 65535, not '99999'"),
        ("redis://h:port/0", "give a port from 1 to 65535, not 'port'"),
        ("redis://h:", "give a port from 1 to 65535, not ''"),
        ("redis://a b", "give HOST or HOST:PORT, not 'a b'"),
        ("redis://h/first", "give the number of a database, not 'first'"),
        ("redis://h?db=-1", "db is '-1': give a whole number, 0 or more"),
        ("redis://h1,h2", "several hosts need redis\\+cluster://HOST,HOST"),
        ("redis://h?decode_responses=true", "'decode_responses' cannot be used"),
        ("redis://h?socket_timout=1", "did you mean 'socket_timeout'"),
        ("redis://h?socket_timeout=0", "socket_timeout is '0': give a number of sec"),
        ("redis://h?socket_keepalive=maybe", "is 'maybe': give true or false"),
        ("redis://h?ssl_ca_certs=/ca", "'ssl_ca_certs' needs a scheme with TLS"),
        ("rediss://h?ssl_cert_reqs=some", "give none, optional or required"),
        ("redis+cluster://", "name a host"),
        ("redis+cluster://a,,b", "name a host on each side of the ','"),
        ("redis+cluster://a/1", "leave out the database, a cluster has only 0"),
        ("redis+sentinel://a", "redis\\+sentinel://HOST/MASTER"),
        ("memcached://", "name a host"),
        ("memcached://h/0", "leave out the path '/0'"),
        ("memcached://u:p@h", "leave out the login"),
    ],
)
def test_refused(url: str, remedy: str) -> None:
    """A URL that cannot work is refused when it is configured, with the reason."""
    with pytest.raises(ConfigError, match=remedy) as caught:
        Config(url=url)
    assert caught.value.key == "WEBCACHE_URL"


@pytest.mark.parametrize(
    "url",
    [
        "foo://:marker@h",
        "redis://user:marker@h:99999",
        "redis://:mar/marker@h:99999",
        "redis://:mar?marker@h:99999",
        "redis://:marker@#@h:99999",
        "redis://h:1?password=marker&db=x",
        "redis+sentinel://h?sentinel_password=marker",
        "rediss://h/x?ssl_password=marker",
    ],
)
def test_errors_hide_secrets(url: str) -> None:
    """No error about a URL shows a password, whatever else is wrong with it."""
    with pytest.raises(ConfigError, match="WEBCACHE_URL") as caught:
        parse(url)
    error = caught.value
    assert "marker" not in f"{error} {error!r} {error.value} {error.remedy}"


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:marker@127.0.0.1:1/0",
        "redis+unix:///nowhere/socket?password=marker",
        "redis+cluster://:marker@127.0.0.1:1",
        "redis+sentinel://:marker@127.0.0.1:1/main?sentinel_password=marker",
        "memcached://127.0.0.1:1,127.0.0.1:2",
        "memcached:///nowhere/socket",
    ],
)
def test_nothing_connects(url: str) -> None:
    """Making a backend connects to nothing; using it raises, and hides the password."""
    pytest.importorskip("redis")
    pytest.importorskip("pymemcache")
    cache: Any = connect(url)
    for name, *arguments in (
        ("get", "a"),
        ("get_many", "a", "b"),
        ("set", "a", b"1", 1),
        ("add", "a", b"1", 1),
        ("delete", "a"),
        ("has", "a"),
        ("clear",),
    ):
        with pytest.raises(Exception, match=r".") as caught:
            getattr(cache, str(name))(*arguments)
        assert "marker" not in f"{caught.value} {caught.value!r}"
    assert "marker" not in f"{cache!r} {parse(url)!r}"
    cache.close()


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("redis://:marker@h:6379/0", "redis", r"flask-webcache\[redis\]"),
        ("memcached://h", "pymemcache", r"flask-webcache\[memcached\]"),
    ],
)
def test_missing_library(
    monkeypatch: pytest.MonkeyPatch, url: str, library: str, extra: str
) -> None:
    """Without the client library, the error says what to install, and no password."""
    for name in [
        library,
        *(one for one in sys.modules if one.startswith(library + ".")),
    ]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(
        sys.modules, f"flask_webcache._backends.{extra[16:-2]}", raising=False
    )
    with pytest.raises(ConfigError, match=extra) as caught:
        connect(url)
    assert "marker" not in str(caught.value)


def test_memory_url() -> None:
    """The options of simple:// bound the cache in memory."""
    cache = connect("simple://?max_items=5&max_bytes=900")
    assert isinstance(cache, MemoryCache)
    assert (cache.max_items, cache.max_bytes) == (5, 900)
