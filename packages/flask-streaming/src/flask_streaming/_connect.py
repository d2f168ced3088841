"""Redis clients, as the configuration asks for them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from urllib.parse import unquote
from urllib.parse import urlsplit


SENTINEL = ("redis+sentinel://", "rediss+sentinel://")
SCHEMES = ("redis://", "rediss://", "unix://", *SENTINEL)
#: What the extension sets itself: the reader would stop at another value.
REFUSED = frozenset(
    {"socket_timeout", "socket_connect_timeout", "decode_responses", "timeout"}
)


def url_problem(url: str) -> str | None:
    """Return what to set instead of a wrong URL."""
    example = "set a URL such as 'redis://localhost:6379/0'"
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if url.startswith(SENTINEL):
            for host in hosts:
                _ = urlsplit(f"//{host}").port
            if not all(hosts) or not _path(url)[0]:
                return "set 'redis+sentinel://host:26379,host:26379/name of the master'"
        else:
            _ = parts.port
    except ValueError:
        return example
    if not url.startswith(SCHEMES):
        return example
    for name, _ in parse_qsl(parts.query):
        if name in REFUSED:
            return f"remove {name} from the URL: set STREAMING_REDIS_TIMEOUT instead"
    return None


def client_of(url: str, timeout: float, connections: int) -> Any:
    """Return a client for requests.

    :param timeout: the longest that a request waits, in seconds: half of it for a
        connection, half for the answer.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": timeout / 2,
        "socket_connect_timeout": timeout / 2,
        # A repeated command must say that it is repeated.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if url.startswith(SENTINEL):
        return _sentinel(url, options)
    pool = redis.BlockingConnectionPool.from_url(
        url, max_connections=connections, timeout=timeout / 2, **options
    )
    return redis.Redis(connection_pool=pool)


def _sentinel(url: str, options: dict[str, Any]) -> Any:
    """Return a client that asks the sentinels for the master at each connection.

    The login is that of the master; ``sentinel_username`` and ``sentinel_password`` in
    the query are for the sentinels.
    """
    from redis.sentinel import Sentinel

    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    master, database = _path(url)
    query: dict[str, Any] = dict(parse_qsl(parts.query))
    secure = {"ssl": True} if url.startswith("rediss") else {}
    of_sentinels = {
        name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")
    }
    addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        [(it.hostname or "localhost", it.port or 26379) for it in addresses],
        sentinel_kwargs={**options, **secure, **of_sentinels},
        **options,
        **secure,
        **query,
    )
    return sentinel.master_for(
        master,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
    )


def _path(url: str) -> tuple[str, str]:
    name, _, database = urlsplit(url).path.strip("/").partition("/")
    return unquote(name), database


def database_of(client: Any) -> str:
    """Return the number of a client's database: Pub/Sub knows no databases."""
    return str(client.connection_pool.connection_kwargs.get("db", 0) or 0)
