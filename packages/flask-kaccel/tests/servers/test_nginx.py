"""Files through a real nginx, with the configuration that the package prints."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import harness
from flask_kaccel import nginx_locations


SECRET = "the-secret-of-the-server-in-front"
PREFIX = "/protected/"
ETAG = '"6553f100-2800"'
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
Fetch = Callable[..., Any]


@pytest.fixture(scope="module")
def site(deploy: Any) -> Iterator[Any]:
    """An app with a secret, so that it sends itself what did not come by nginx."""
    config = {"KACCEL_REDIRECT_PATH": PREFIX, "KACCEL_SECRET": SECRET}
    with deploy(**config) as site:
        site.gate.touch()
        yield site


def amended(site: Any, amend: Callable[[str], str]) -> Any:
    """Run a further nginx before the site's app, on an amended configuration."""
    return harness.nginx(amend(nginx_locations(site.mirror, site.app.url)))


@pytest.mark.parametrize("view", ["send", "flask", "static"])
def test_same_by_both(site: Any, fetch: Fetch, case: Any, view: str) -> None:
    """Every file and path is right through nginx, and the same without it.

    That goes for Flask's own functions and static files too, but for names that they
    cannot send at all.
    """
    url = case.url.replace("send?", "static/" if view == "static" else f"{view}?")
    by_nginx = fetch(site.nginx.address, url)
    by_flask = fetch(site.app.address, url)
    if case.content is None:
        assert by_nginx.status == by_flask.status == 404
    elif view != "send" and case.id in ("latin-1", "newline"):
        assert by_nginx.status == by_flask.status >= 400
    else:
        assert by_nginx.headers["Server"].startswith("nginx")
        assert by_nginx.status == 200
        assert by_nginx.body == case.content
        assert by_nginx.seen == by_flask.seen


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=0-4"}, 206),
        ({"Range": "bytes=-3"}, 206),
        ({"Range": "bytes=10239-"}, 206),
        ({"Range": "bytes=0-99999"}, 206),
        ({"Range": "BYTES=0-4"}, 206),
        ({"Range": "bytes=99999-"}, 416),
        ({"Range": "bytes=-0"}, 416),
        ({"Range": "bytes=4-2"}, 416),
        ({"Range": "bytes="}, 200),
        ({"Range": "bytes =0-4"}, 200),
        ({"Range": "bytes= 0 - 4 "}, 206),
        ({"Range": "bytes=a-b"}, 416),
        ({"Range": "bytes=0-4;"}, 416),
        ({"Range": f"bytes={'9' * 30}-"}, 416),
        ({"Range": "bytes=0-9223372036854775807"}, 206),
        ({"Range": "bytes=0-9223372036854775808"}, 416),
        ({"Range": f"bytes={'0' * 40}1-2"}, 206),
        ({"Range": "bytes=-9223372036854775807"}, 206),
        ({"Range": "items=0-4"}, 200),
        ({"Range": "bytes=0-1,3-4"}, 206),
        ({"Range": "bytes=0-3, 2-5, -2"}, 206),
        ({"Range": "bytes=0-1,99999-"}, 206),
        ({"Range": f"bytes=0-{',0-' * 20}"}, 200),
        ({"Range": "bytes=0-4", "If-Range": ETAG}, 206),
        ({"Range": "bytes=0-4", "If-Range": f"W/{ETAG}"}, 200),
        ({"Range": "bytes=0-4", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=0-4", "If-Range": MODIFIED}, 206),
        ({"Range": "bytes=0-4", "If-Range": BEFORE}, 200),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'"other", W/{ETAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-4"}, 304),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": ETAG, "If-Modified-Since": MODIFIED}, 304),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Unmodified-Since": MODIFIED}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("view", ["send", "flask"])
def test_same_conditions(
    site: Any, fetch: Fetch, headers: Any, status: int, method: str, view: str
) -> None:
    """Conditions and ranges give the same with and without nginx."""
    by_nginx = fetch(site.nginx.address, f"/{view}?10k.bin", headers, method)
    by_flask = fetch(site.app.address, f"/{view}?10k.bin", headers, method)
    assert by_nginx.status == by_flask.status == status
    if status < 300:
        assert by_nginx.seen == by_flask.seen
    if status in (304, 416):
        name = "ETag" if status == 304 else "Content-Range"
        assert by_nginx.headers[name] == by_flask.headers[name]


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("bytes=0-", 200), ("bytes=0-0", 200), ("bytes=5-", 416), ("bytes=-5", 200)],
)
def test_ranges_of_an_empty_file(
    site: Any, fetch: Fetch, wanted: str, status: int
) -> None:
    """An empty file has no ranges, and is sent whole for one from its start."""
    for server in (site.nginx, site.app):
        reply = fetch(server.address, "/send?empty.txt", {"Range": wanted})
        assert reply.status == status


def test_post(site: Any, fetch: Fetch) -> None:
    """A form may be answered by a file."""
    for server in (site.nginx, site.app):
        reply = fetch(server.address, "/send?a.txt", method="POST")
        assert (reply.status, reply.body) == (200, b"plain\n")


def test_status_of_its_own(site: Any, fetch: Fetch) -> None:
    """A file with another status keeps it, though nginx would make it 200."""
    for server in (site.nginx, site.app):
        reply = fetch(server.address, "/gone", {"Range": "bytes=0-0"})
        assert (reply.status, reply.body) == (410, b"<p>hello")


def test_headers_that_nginx_drops(site: Any, fetch: Fetch) -> None:
    """The printed configuration brings the app's security headers back, once each."""
    headers = fetch(site.nginx.address, "/headers").headers
    csp = "default-src 'none', frame-ancestors 'none'"
    assert headers.getlist("Content-Security-Policy") == [csp]
    assert headers.getlist("Link") == ["</one>, </two>"]
    assert headers.getlist("Vary") == ["Cookie"]
    assert headers.getlist("Cache-Control") == ["public, max-age=31536000"]
    assert headers.getlist("Expires") == ["Thu, 01 Jan 2099 00:00:00 GMT"]
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert headers["Content-Disposition"] == "attachment; filename=a.txt"
    assert headers.getlist("Set-Cookie") == ["one=1; Path=/", "two=2; Path=/"]
    assert "X-Frame-Options" not in headers
    assert "X-Own" not in headers


@pytest.mark.parametrize("way", ["data", "copy", "proxy"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refused(site: Any, fetch: Fetch, way: str, method: str) -> None:
    """A response that is not the file does not become it behind nginx."""
    for server in (site.nginx, site.app):
        reply = fetch(server.address, f"/refused/{way}", {}, method)
        assert reply.status == (404 if way == "copy" else 200)
        assert_nothing_internal(site, reply)
        if method == "GET" and way != "copy":
            assert reply.body == b"not for you"


def test_no_error_in_nginx_log(site: Any, fetch: Fetch) -> None:
    """A charset, as any setting, costs no line in nginx's log."""
    fetch(site.nginx.address, "/charset")
    assert "[error]" not in site.nginx.log().replace("No such file", "")


def test_last_modified_is_the_files_own(site: Any, fetch: Fetch) -> None:
    """Only Flask sends the time that a view gives."""
    times = [
        fetch(server.address, "/modified?a.txt").headers["Last-Modified"]
        for server in (site.nginx, site.app)
    ]
    assert times == [MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT"]


def test_what_proxy_fix_reads(site: Any, fetch: Fetch) -> None:
    """The printed block sets the client's address, whatever the client sends."""
    forged = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https"}
    seen = json.loads(fetch(site.nginx.address, "/who", forged).body)
    assert seen == {"client": "127.0.0.1", "root": f"{site.nginx.url}/"}


@pytest.mark.parametrize(
    "path",
    [
        "/protected/a.txt", "/protected/", "/protected", "/protected../secret.txt",
        "/protected/../secret.txt", "/protected%2fa.txt", "//protected/a.txt",
        "/protected/%2e%2e/secret.txt", "/send?../secret.txt", "/send?..%2fsecret.txt",
        "/send?%2e%2e/secret.txt", "/send?..%252fsecret.txt", "/send?/etc/passwd",
        "/send?//etc/passwd", "/send?out.txt", "/send?outside/secret.txt", "/send?sub",
        "/send?sub/", "/send?", "/send?a.txt%00.html", "/send?missing.txt",
        "/send?a.txt%0d%0aX-Injected:%20yes", "/static/../secret.txt", "/static/sub",
        "/static/..%2fsecret.txt", "/flask?../secret.txt", "/flask?sub",
        "/send?protected/a.txt", "/send?..\\secret.txt", "/send?....//secret.txt",
    ],
)  # fmt: skip
def test_attacks(site: Any, fetch: Fetch, path: str) -> None:
    """No way in shows a file that is not offered, or how the site is built."""
    for server in (site.nginx, site.app):
        for headers in (
            {},
            {
                "X-Kaccel-Secret": "wrong",
                "X-Accel-Mapping": f"{site.files}=/protected/",
                "X-Accel-Redirect": "/protected/a.txt",
                "X-Sendfile-Type": "X-Accel-Redirect",
                "Range": "bytes=0-1",
            },
        ):
            reply = fetch(server.address, path, headers)
            assert reply.status in (400, 404)
            assert b"secret" not in reply.body
            assert_nothing_internal(site, reply)


def assert_nothing_internal(site: Any, reply: Any) -> None:
    """Assert that a response shows nothing of how the site is built."""
    secrets = [PREFIX.strip("/"), str(site.files), SECRET]
    assert "X-Injected" not in reply.headers
    for name, value in reply.headers:
        assert not name.lower().startswith(("x-accel-", "x-sendfile", "x-kaccel-"))
        assert not any(secret in value for secret in secrets)
    assert not any(secret.encode() in reply.body for secret in secrets)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/send?a.txt", {}),
        ("/send?10k.bin", {"Range": "bytes=99999-"}),
        ("/send?10k.bin", {"If-None-Match": ETAG}),
        ("/send?10k.bin", {"If-Match": '"other"'}),
        ("/static/a.txt", {}),
        ("/flask?a.txt", {"Range": "bytes=0-1"}),
        ("/flask?c.svgz", {}),
        ("/gone", {}),
        ("/headers", {}),
        ("/stream?", {}),
    ],
    ids=str,
)
def test_nothing_internal_is_shown(
    site: Any, fetch: Fetch, path: str, headers: Any
) -> None:
    """No response of any status shows an internal header, prefix or path."""
    for server in (site.nginx, site.app):
        for method in ("GET", "HEAD"):
            assert_nothing_internal(site, fetch(server.address, path, headers, method))


@pytest.mark.parametrize("there", ["nothing", "directory", "unreadable"])
def test_what_changes_behind_the_app(
    site: Any, fetch: Fetch, tmp_path: Path, there: str
) -> None:
    """A file that nginx cannot find or read is a 404 without details."""
    tmp_path.chmod(0o755)
    if there == "directory":
        (tmp_path / "a.txt").mkdir()
    elif there == "unreadable":
        (tmp_path / "a.txt").symlink_to("a.txt")

    def amend(text: str) -> str:
        return re.sub('alias ".*"', f'alias "{tmp_path}/"', text)

    with amended(site, amend) as nginx:
        reply = fetch(nginx.address, "/send?a.txt")
        assert reply.status == 404
        assert_nothing_internal(site, reply)


def test_secret_is_nginx_alone(site: Any, fetch: Fetch) -> None:
    """A client cannot pass a secret of its own through nginx, nor one around it."""
    reply = fetch(site.nginx.address, "/send?a.txt", {"X-Kaccel-Secret": "x" * 32})
    assert reply.body == b"plain\n"
    assert_nothing_internal(site, reply)


def test_download_in_a_browser(site: Any, chromium: Any, case: Any) -> None:
    """A browser saves a download under the file's name, as far as it may."""
    if case.content is None:
        return
    url = site.nginx.url + case.url.replace("send", "download")
    with contextlib.closing(chromium.new_page()) as page:
        page.goto(f"{site.nginx.url}/send?page.html")
        with page.expect_download() as downloading:
            page.evaluate("url => { location.href = url }", url)
        download = downloading.value
        saved = Path(download.path()).read_bytes()
    assert saved == case.content
    name = Path(case.name).name
    assert download.suggested_filename == re.sub('["?:\\\\\n\udce9]', "_", name)


def test_rate_limit(site: Any, fetch: Fetch, tree: Path) -> None:
    """Nginx sends no faster than the app says."""
    started = time.monotonic()
    assert len(fetch(site.nginx.address, "/limited?10k.bin").body) == 10240
    fast = time.monotonic() - started
    big = tree / "48k.bin"
    big.write_bytes(bytes(49152))
    started = time.monotonic()
    assert len(fetch(site.nginx.address, "/limited?48k.bin").body) == 49152
    assert time.monotonic() - started > 1 > fast


SPECS = st.lists(
    st.sampled_from(["", " ", "-", "0", "1", "9", "10239", "10240", ",", "x"]),
    max_size=9,
).map("".join)
TAGS = st.lists(
    st.sampled_from([ETAG, f"W/{ETAG}", '"other"', '""', '"a,b"']), min_size=1
).map(", ".join)
CONDITIONS = st.one_of(
    st.builds(dict),
    *(
        st.fixed_dictionaries({name: values})
        for name, values in {
            "If-Range": st.sampled_from([ETAG, '"other"', MODIFIED, BEFORE, "x", ""]),
            "If-Match": st.one_of(TAGS, st.just("*")),
            "If-None-Match": st.one_of(TAGS, st.just("*")),
            "If-Modified-Since": st.sampled_from([BEFORE, MODIFIED]),
            "If-Unmodified-Since": st.sampled_from([BEFORE, MODIFIED]),
        }.items()
    ),
)


@settings(max_examples=150, deadline=None)
@given(SPECS, CONDITIONS)
def test_any_range(
    site: Any, fetch: Fetch, specs: str, conditions: dict[str, str]
) -> None:
    """Whatever range a client asks for, on any condition, both give it the same."""
    headers = {"Range": f"bytes={specs}", **conditions}
    by_nginx = fetch(site.nginx.address, "/send?10k.bin", headers)
    by_flask = fetch(site.app.address, "/send?10k.bin", headers)
    assert by_nginx.status == by_flask.status
    if by_nginx.status < 300:
        assert by_nginx.seen == by_flask.seen


@settings(max_examples=100, deadline=None)
@given(
    st.binary(min_size=1, max_size=40).filter(
        lambda name: not {*b"/\0"} & {*name} and name not in (b".", b"..")
    )
)
@example(b"%2e%2e")
@example(b"..%2f..%2fsecret.txt")
@example(b"~!@#$%^&*()_+{}|:<>? `-=[]\\;',.")
def test_any_name(site: Any, fetch: Fetch, name: bytes) -> None:
    """Whatever bytes a file's name has, its own content is sent, by both."""
    path = site.files / "any" / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name)
    url = f"/send?any/{quote(name)}"
    by_nginx = fetch(site.nginx.address, url)
    by_flask = fetch(site.app.address, url)
    path.unlink()
    assert by_nginx.body == by_flask.body == name
    assert by_nginx.seen == by_flask.seen


@pytest.mark.parametrize(
    ("edit", "status"),
    [
        (("try_files $uri =404;", "deny all;"), 403),
        (('alias "', 'alias "/nowhere'), 404),
        (("try_files $uri =404;", "return 500;"), 500),
        (("try_files $uri =404;", "return 503;"), 503),
    ],
    ids=str,
)
def test_errors_of_nginx_have_no_fields_of_the_file(
    site: Any, fetch: Fetch, edit: tuple[str, str], status: int
) -> None:
    """An error of nginx's own is not kept for a year, nor saved under the file's name.

    The fields that protect every page are there.
    """

    def amend(text: str) -> str:
        assert edit[0] in text
        return text.replace(*edit)

    with amended(site, amend) as nginx:
        reply = fetch(nginx.address, "/headers")
        assert reply.status == status
        for name in ("Cache-Control", "Content-Disposition", "Expires", "ETag"):
            assert name not in reply.headers
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        # The app knows which ranges there are, and nginx is not asked for others.
        unmet = fetch(nginx.address, "/headers", {"Range": "bytes=99-"})
        assert unmet.status == 416
        for name in ("Cache-Control", "Content-Disposition", "Expires", "ETag"):
            assert name not in unmet.headers
