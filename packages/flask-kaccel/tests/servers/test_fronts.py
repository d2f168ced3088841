"""Files through Apache, lighttpd, Caddy, and nginx by other ways to the app.

Each runs on the configuration that the command prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import harness
from flask_kaccel import Kaccel
from flask_kaccel._fronts import configuration


SECRET = "the-secret-of-the-server-in-front"
ETAG = '"6553f100-2800"'
Fetch = Callable[..., Any]
#: The backend, the server, and how the app is reached.
FRONTS = {
    "apache": ("x-sendfile", "apache", "tcp"),
    "apache-socket": ("x-sendfile", "apache", "socket"),
    "lighttpd": ("x-sendfile", "lighttpd", "tcp"),
    "lighttpd-socket": ("x-sendfile", "lighttpd", "socket"),
    "caddy": ("caddy", "caddy", "tcp"),
    "caddy-socket": ("caddy", "caddy", "socket"),
    "nginx-socket": ("nginx", "nginx", "socket"),
    "nginx-uwsgi": ("nginx", "nginx", "uwsgi"),
}


@dataclass(frozen=True)
class Site:
    """An app and the front before it.

    :param plain: the app itself, over HTTP.
    """

    name: str
    app: Flask
    plain: harness.Server
    front: harness.Server


def run_front(name: str, text: str) -> Any:
    """Run a server on the printed configuration."""
    if name == "apache":
        return harness.apache(text, modules=["xsendfile"])
    servers = {"caddy": "caddy_site"}
    return getattr(harness, servers.get(name, name))(text)


@pytest.fixture(scope="module")
def run(
    tree: Path, app_module: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], AbstractContextManager[Site]]:
    """A factory of sites, by the names of fronts."""

    def make(name: str) -> AbstractContextManager[Site]:
        return deployed(name, tree, app_module, tmp_path_factory.mktemp("socket"))

    return make


@contextmanager
def deployed(
    name: str, tree: Path, app_module: Path, directory: Path
) -> Iterator[Site]:
    """Run an app that sends itself what did not come by its front, and the front."""
    backend, front, way = FRONTS[name]
    config = {
        "KACCEL_BACKEND": backend,
        "KACCEL_FILES_PATH": str(tree),
        "KACCEL_REDIRECT_PATH": "/protected/",
        "KACCEL_SECRET": SECRET,
        "SECRET_KEY": "key",
    }
    app = Flask(__name__)
    app.config.update(config)
    Kaccel(app)
    environ = {f"APP_{key}": json.dumps(value) for key, value in config.items()}
    environ |= {"FILES": str(tree), "GATE": str(tree)}
    directory.chmod(0o755)
    socket = directory / "app.sock"
    bind = ["--bind", f"unix:{socket}"] if way == "socket" else []
    with ExitStack() as stack:
        plain = stack.enter_context(
            harness.gunicorn(app_module, *bind, worker="gthread", environ=environ)
        )
        upstream = f"http://unix:{socket}" if way == "socket" else plain.url
        if way == "uwsgi":
            port = harness.free_port()
            stack.enter_context(
                harness.uwsgi(
                    app_module, "--socket", f"127.0.0.1:{port}", environ=environ
                )
            )
            upstream = f"uwsgi://127.0.0.1:{port}"
        text = configuration(app.extensions["kaccel"], front, upstream)  # type: ignore[arg-type]  # one of them
        server = stack.enter_context(run_front(front, text))
        yield Site(name, app, plain, server)


@pytest.fixture(scope="module", params=["apache", "lighttpd", "caddy"])
def site(request: pytest.FixtureRequest, run: Any) -> Iterator[Site]:
    """Each front, before an app on a port."""
    with run(request.param) as running:
        yield running


@pytest.mark.parametrize("name", [it for it in FRONTS if "-" in it])
def test_other_ways_to_the_app(run: Any, fetch: Fetch, name: str) -> None:
    """The printed configuration of a socket, or of another protocol, works as well."""
    with run(name) as site:
        for query in ("10k.bin", "a%20b.txt", "sub/dir/a.txt", "empty.txt", "missing"):
            for headers in ({}, {"Range": "bytes=0-4"}, {"Range": "bytes=99999-"}):
                path = f"/send?{query}"
                by_front = fetch(site.front.address, path, headers)
                by_flask = fetch(site.plain.address, path, headers)
                assert by_front.status == by_flask.status
                if by_front.status < 300:
                    assert_same(site, by_front, by_flask)
        forged = {"X-Kaccel-Secret": "x" * 32}
        reply = fetch(site.front.address, "/headers", forged)
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.body == b"plain\n"
        who = json.loads(fetch(site.front.address, "/who").body)
        assert who["root"] == f"{site.front.url}/"


@pytest.mark.parametrize("view", ["send", "static"])
def test_same_by_both(site: Site, fetch: Fetch, case: Any, view: str) -> None:
    """Every file and path is right through the front, and the same without it."""
    url = case.url.replace("send?", "static/" if view == "static" else "send?")
    if site.name == "lighttpd" and case.id == "newline":
        return  # it takes no URL with a control character
    by_front = fetch(site.front.address, url)
    by_flask = fetch(site.plain.address, url)
    if case.content is None:
        assert by_front.status in (400, 403, 404)
        assert b"secret" not in by_front.body
    elif view != "send" and case.id in ("latin-1", "newline"):
        assert by_front.status >= 400
    else:
        assert by_front.body == case.content
        assert_same(site, by_front, by_flask)


def assert_same(site: Site, by_front: Any, by_flask: Any) -> None:
    """Assert that a client can tell no difference but the documented ones."""
    one, other = by_front.seen, by_flask.seen
    # Apache takes ranges without a word.
    differing = {"Accept-Ranges"}
    if site.name.startswith("caddy"):
        differing.add("ETag")
    for name in differing:
        del one[name], other[name]
    assert one == other


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=0-4"}, 206),
        ({"Range": "bytes=99999-"}, 416),
        ({"Range": "bytes=0-4", "If-Range": "ETAG"}, 206),
        ({"Range": "bytes=0-4", "If-Range": '"other"'}, 200),
        ({"If-None-Match": "ETAG"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304),
        ({"If-Match": '"other"'}, 412),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(
    site: Site, fetch: Fetch, headers: Any, status: int, method: str
) -> None:
    """Conditions and ranges are answered by the validator that the client was given."""
    if method == "HEAD" and site.name == "lighttpd" and status == 206:
        status = 200  # a range is of a GET alone (RFC 9110, 14.2)
    for path in ("/send?10k.bin", "/flask?10k.bin"):
        etag = fetch(site.front.address, path).headers["ETag"]
        assert etag == ETAG or site.name.startswith("caddy")
        asked = {name: value.replace("ETAG", etag) for name, value in headers.items()}
        reply = fetch(site.front.address, path, asked, method)
        assert reply.status == status
        for name, value in reply.headers:
            assert not name.lower().startswith(("x-sendfile", "x-kaccel-", "x-accel"))
            assert "/files" not in value


def test_status_of_its_own(site: Site, fetch: Fetch) -> None:
    """A file with another status keeps it."""
    reply = fetch(site.front.address, "/gone")
    assert (reply.status, reply.body) == (410, b"<p>hello")


@pytest.mark.parametrize("way", ["data", "copy", "proxy"])
def test_refused(site: Site, fetch: Fetch, way: str) -> None:
    """A response that is not the file does not become it."""
    reply = fetch(site.front.address, f"/refused/{way}")
    assert reply.status == (404 if way == "copy" else 200)
    if way != "copy":
        assert reply.body == b"not for you"


def test_fields(site: Site, fetch: Fetch) -> None:
    """The app's security fields come with the file, and its cookies."""
    headers = fetch(site.front.address, "/headers").headers
    policies = ", ".join(headers.getlist("Content-Security-Policy"))
    assert policies == "default-src 'none', frame-ancestors 'none'"
    assert headers["Content-Disposition"] == "attachment; filename=a.txt"
    assert headers["Cache-Control"] == "public, max-age=31536000"
    assert headers.getlist("Set-Cookie") == ["one=1; Path=/", "two=2; Path=/"]


@pytest.mark.parametrize("probe", ["missing", "directory"])
def test_errors_have_no_fields_of_the_file(
    site: Site, fetch: Fetch, probe: str
) -> None:
    """The front's own error is not kept for a year, nor saved as the file."""
    from flask_kaccel._probe import question

    asked = question(site.app.extensions["kaccel"], probe)  # type: ignore[arg-type]  # one of them
    reply = fetch(site.front.address, "/headers", {"X-Kaccel-Check": asked})
    assert reply.status in (403, 404)
    for name in ("Cache-Control", "Content-Disposition", "Expires", "ETag"):
        assert name not in reply.headers
    assert "protected" not in str(reply.headers)


def test_secret_is_the_fronts_alone(site: Site, fetch: Fetch) -> None:
    """A client cannot pass a secret of its own, nor an internal field."""
    headers = {
        "X-Kaccel-Secret": "x" * 32,
        "X-Accel-Redirect": "/protected/b",
        "X-Sendfile": "/etc/passwd",
    }
    reply = fetch(site.front.address, "/send?a.txt", headers)
    assert (reply.status, reply.body) == (200, b"plain\n")


@pytest.mark.parametrize(
    "path", ["/protected/a.txt", "/protected/", "/protected../secret.txt"]
)
def test_closed(site: Site, fetch: Fetch, path: str) -> None:
    """The directory is nowhere but where the app sends it."""
    assert fetch(site.front.address, path).status in (400, 403, 404)
