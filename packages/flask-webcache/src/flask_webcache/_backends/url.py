"""Backend URLs: a pure parser whose errors name the value and hide every secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from difflib import get_close_matches
from typing import Any
from typing import Literal
from typing import NoReturn
from urllib.parse import parse_qsl
from urllib.parse import unquote

from .._settings import hidden
from ..exceptions import ConfigError


Kind = Literal["memory", "file", "redis", "cluster", "sentinel", "memcached"]
KEY = "WEBCACHE_URL"
#: How long a server has to answer or to accept a connection, in seconds.
TIMEOUT = 0.5


class HostDownError(ConnectionError):
    """One of several hosts is known to be down, and was not asked.

    It costs no time, so that there is no reason to leave the other hosts alone.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The parts of a backend URL.

    :param shown: the URL without secrets.
    :param hosts: each with its port.
    :param path: the directory, or the Unix socket.
    :param service: the name of the master that Sentinel watches.
    :param options: keywords of the client or cache, secrets included.
    """

    kind: Kind
    shown: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    tls: bool = False
    service: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _schemes() -> Mapping[str, tuple[Kind, bool, int]]:
    found: dict[str, tuple[Kind, bool, int]] = {
        "simple": ("memory", False, 0),
        "file": ("file", False, 0),
        "unix": ("redis", False, 0),
        "memcached": ("memcached", False, 11211),
        "memcached+unix": ("memcached", False, 0),
    }
    for name, tls in [("redis", "rediss"), ("valkey", "valkeys")]:
        found[f"{name}+unix"] = ("redis", False, 0)
        for scheme in (name, tls):
            found[scheme] = ("redis", scheme == tls, 6379)
            found[f"{scheme}+cluster"] = ("cluster", scheme == tls, 6379)
            found[f"{scheme}+sentinel"] = ("sentinel", scheme == tls, 26379)
    return found


#: What each scheme stands for, whether it uses TLS, and its default port.
SCHEMES: Mapping[str, tuple[Kind, bool, int]] = _schemes()

_EXAMPLES = (
    "use simple://, file:///DIRECTORY, redis://HOST:6379/0, unix:///SOCKET, "
    "redis+cluster://HOST,HOST, redis+sentinel://HOST,HOST/MASTER or "
    "memcached://HOST,HOST"
)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError("a whole number, 1 or more")
    return int(value)


def _number(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError("a whole number, 0 or more")
    return int(value)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value, re.ASCII) or not float(value):
        raise ValueError("a number of seconds above 0")
    return float(value)


def _flag(value: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False}
    if value.lower() not in (*known, "0"):
        raise ValueError("true or false")
    return known.get(value.lower(), False)


def _certificates(value: str) -> str:
    found = value.lower().removeprefix("cert_")
    if found not in ("none", "optional", "required"):
        raise ValueError("none, optional or required")
    return found


Reader = Callable[[str], Any]
_SOCKET: Mapping[str, Reader] = {
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _flag,
    "max_connections": _count,
}
_REDIS: Mapping[str, Reader] = {
    **_SOCKET,
    "db": _number,
    "username": str,
    "password": str,
    "client_name": str,
    "health_check_interval": _number,
    "protocol": _count,
}
_TLS: Mapping[str, Reader] = {
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_cert_reqs": _certificates,
    "ssl_check_hostname": _flag,
}
_OPTIONS: Mapping[Kind, Mapping[str, Reader]] = {
    "memory": {"max_items": _count, "max_bytes": _count},
    "file": {"max_items": _count},
    "memcached": _SOCKET,
    "redis": _REDIS,
    "cluster": _REDIS,
    "sentinel": {**_REDIS, "sentinel_username": str, "sentinel_password": str},
}
#: Options that other clients take, and what to do instead.
_REFUSED = {
    "decode_responses": "leave it out, the cache stores bytes",
    "threshold": "it is called max_items",
}


def parse(url: str) -> Target:
    """Return the parts of a backend URL.

    :raises ConfigError: naming what is wrong with it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        _refuse(url, _EXAMPLES)
    kind, tls, port = SCHEMES[scheme.lower()]
    login, at, rest = rest.rpartition("@")
    if any(mark in login for mark in "/?#"):
        _refuse(url, "percent-encode '/', '?', '#' and '@' in its login and options")
    rest, _, query = rest.partition("?")
    netloc, slash, path = rest.partition("/")
    path = slash + unquote(path)
    options = _options(url, kind, tls, query)
    if at:
        options = {**_login(url, kind, login), **options}
    found = Target(kind=kind, shown=hidden(url), tls=tls, options=options)
    if kind == "memory":
        if netloc or path.strip("/") or at:
            _refuse(url, "use simple:// without a host or path")
        return found
    if not port or (kind == "memcached" and not netloc and path):
        if netloc or not path.strip("/"):
            what = "file:///var/cache/app" if kind == "file" else f"{scheme}:///SOCKET"
            _refuse(url, f"give the whole path: {what}")
        return _with(found, path=path)
    hosts = tuple(_host(url, one, port) for one in netloc.split(",")) if netloc else ()
    return _of_network(url, _with(found, hosts=hosts), path)


def missing(url: str, extra: str) -> ConfigError:
    """Return the error for a client library that is not installed."""
    return ConfigError(KEY, hidden(url), f"run: pip install flask-webcache[{extra}]")


def _refuse(url: str, remedy: str) -> NoReturn:
    raise ConfigError(KEY, hidden(url), remedy)


def _with(target: Target, **changes: Any) -> Target:
    names = ("kind", "shown", "hosts", "path", "tls", "service", "options")
    return Target(**{**{name: getattr(target, name) for name in names}, **changes})


def _of_network(url: str, target: Target, path: str) -> Target:
    """Return a target with what its path says."""
    options, parts = dict(target.options), [one for one in path.split("/") if one]
    hosts = target.hosts
    if target.kind == "sentinel":
        if not hosts or not parts:
            _refuse(url, "name the hosts and the master: redis+sentinel://HOST/MASTER")
        target = _with(target, service=parts.pop(0))
    elif target.kind == "redis":
        hosts = hosts or (("localhost", 6379),)
        if len(hosts) > 1:
            _refuse(
                url,
                "several hosts need redis+cluster://HOST,HOST or "
                "redis+sentinel://HOST,HOST/MASTER",
            )
    elif not hosts:
        _refuse(url, "name a host")
    if target.kind == "memcached" and parts:
        _refuse(url, f"leave out the path {path!r}")
    if parts:
        try:
            options.setdefault("db", _number("/".join(parts)))
        except ValueError:
            _refuse(url, f"give the number of a database, not {'/'.join(parts)!r}")
    if target.kind == "cluster" and options.pop("db", 0):
        _refuse(url, "leave out the database, a cluster has only 0")
    return _with(target, hosts=hosts, options=options)


def _host(url: str, text: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]*)(?::(.*))?", text)
    if match is None:
        _refuse(url, f"give HOST or HOST:PORT, not {text!r}")
    host, port = match[1].strip("[]"), match[2]
    if port is None:
        if not host:
            _refuse(url, "name a host on each side of the ','")
        return unquote(host), default
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        _refuse(url, f"give a port from 1 to 65535, not {port!r}")
    return unquote(host) or "localhost", int(port)


def _login(url: str, kind: Kind, login: str) -> Mapping[str, str]:
    if "username" not in _OPTIONS[kind]:
        _refuse(url, "leave out the login, this backend has none")
    user, _, password = login.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _options(url: str, kind: Kind, tls: bool, query: str) -> Mapping[str, Any]:
    known = {**_OPTIONS[kind], **(_TLS if tls else {})}
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            _unknown(url, name, known)
        try:
            found[name] = known[name](value)
        except ValueError as error:
            shown = "***" if "pass" in name else repr(value)
            _refuse(url, f"its option {name} is {shown}: give {error}")
    return found


def _unknown(url: str, name: str, known: Mapping[str, Reader]) -> NoReturn:
    if name in _REFUSED:
        _refuse(url, f"its option {name!r} cannot be used: {_REFUSED[name]}")
    if name in _TLS:
        _refuse(url, f"its option {name!r} needs a scheme with TLS, such as rediss://")
    near = get_close_matches(name, known, 1)
    if near:
        _refuse(url, f"its option {name!r} is unknown, did you mean {near[0]!r}?")
    _refuse(url, f"its option {name!r} is unknown, use {', '.join(sorted(known))}")
