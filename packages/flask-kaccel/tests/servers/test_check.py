"""The check, on set-ups that are broken in one way each, and on right ones.

All of one front run in one process of it, each on a port of its own.
"""

from __future__ import annotations

import json
import runpy
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import harness
from flask_kaccel._fronts import configuration


SECRET = "the-secret-of-the-server-in-front"


@dataclass(frozen=True)
class Setup:
    """A front's configuration.

    :param edits: what is replaced in the printed one, from and to, or appended.
    :param finding: what the check has to say of it.
    :param cause: and of the cause.
    :param urls: which files are asked for.
    :param app: which of the apps is behind it.
    """

    id: str
    edits: tuple[tuple[str, str], ...]
    finding: str = ""
    cause: str = ""
    urls: tuple[str, ...] = ("/files?name=a.txt", "/videos?name=v.txt")
    options: tuple[str, ...] = ()
    app: str = "plain"

    def amend(self, text: str, values: dict[str, str]) -> str:
        """Return a printed configuration with the edits."""
        for old, new in self.edits:
            old, new = (_filled(each, values) for each in (old, new))
            if old:
                assert old in text, f"{old!r} is not in\n{text}"
                text = text.replace(old, new)
            else:
                text += new
        return text


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


BLOCK = "location ^~ /protected/ {\n    internal;"
ALIAS = 'alias "@files@/";'
TRY = "    try_files $uri =404;\n"
ADDED = "    try_files $uri =404;\n    "
VIDEO = "location ^~ /video/ {\n    internal;"
NO_BLOCK = "the front has no block for /protected/"
OTHER = "it looks in another directory"
NGINX = (
    Setup("no-block", ((BLOCK, "location ^~ /elsewhere/ {\n    internal;"),),
          "the app answers 404 where", NO_BLOCK),
    Setup("misspelt", ((BLOCK, "location ^~ /protcted/ {\n    internal;"),),
          "the app answers 404 where", "put what `flask kaccel config` prints"),
    Setup("second-missing", ((VIDEO, "location ^~ /elsewhere/ {\n    internal;"),),
          "FAIL /videos?name=v.txt", "the front has no block for /video/"),
    Setup("second-elsewhere", (('alias "@videos@/";', 'alias "@other@/sub/";'),),
          "FAIL /videos?name=v.txt is a file sent by the front: the front answers 404",
          OTHER),
    Setup("no-slash", ((ALIAS, 'alias "@files@";'),), "the front answers 404", OTHER),
    Setup("root", ((ALIAS, 'root "@files@/";'),), "the front answers 404",
          "and no `root`"),
    Setup("no-directory", ((ALIAS, 'alias "@files@/nowhere/";'),),
          "the front answers 404", 'it needs `alias "@files@/";`'),
    Setup("regular-expression",
          (("location ^~ /protected/", "location /protected/"),
           ("", "location ~ \\.txt$ { internal; root @other@/sub; }")),
          "the front answers 404", "another location answers"),
    Setup("deny", ((ADDED, f"    deny all;\n{ADDED}"),), "the front answers 403",
          "a `deny` or `Require` above the block"),
    Setup("auth-basic",
          ((ADDED, f"    auth_basic x; auth_basic_user_file /dev/null;\n{ADDED}"),),
          "the front answers 401", "add `auth_basic off;`"),
    Setup("other-directory", ((ALIAS, 'alias "@other@/";'),),
          "the client gets different bytes", "the block is for another directory"),
    Setup("swapped", (('alias "@files@/";', "alias @1@;"),
                      ('alias "@videos@/";', 'alias "@files@/";'),
                      ("alias @1@;", 'alias "@videos@/";')),
          "FAIL /files?name=a.txt", OTHER),
    Setup("not-internal", ((BLOCK, "location ^~ /protected/ {"),),
          "is closed: 200, not 404", "add `internal;`"),
    Setup("listed", ((BLOCK, "location ^~ /protected/ {\n    autoindex on;"),
                     (TRY, "")),
          "FAIL /protected/ is closed: 200, not 404", "add `internal;`"),
    Setup("neighbors", ((BLOCK, "location /protected {"),),
          "FAIL /protected../files/a.txt is closed", "add `internal;`"),
    Setup("no-try-files", ((TRY, ""),), "the redirect to a directory",
          "add `try_files $uri =404;`"),
    Setup("indexed", ((TRY, "    autoindex on;\n"),), "FAIL the contents of a "
                                                      "directory are not shown",
          "try_files"),
    Setup("no-add-header", ((" always;", " never;"), ("add_header ", "#")),
          "FAIL /files?name=a.txt has the app's Content-Disposition",
          "the block does not restore it"),
    Setup("without-always", ((" always;", ";"),),
          "the front's errors lack the app's security fields", "`always` is missing"),
    Setup("always-everywhere",
          (("$upstream_http_x_kaccel_cache_control;",
            "$upstream_http_x_kaccel_cache_control always;"),),
          "the error has the file's Cache-Control", "without `always`"),
    Setup("one-field-lost", (("    add_header Content-Security-Policy "
                              "$upstream_http_content_security_policy always;\n", ""),),
          "Content-Security-Policy is lost", "the block does not restore it"),
    Setup("expires", ((ADDED, f"    expires 1h;\n{ADDED}"),),
          "FAIL /files?name=a.txt has the app's Cache-Control", "`expires`"),
    Setup("expires-above", (("", "expires 1h;"),),
          "FAIL /files?name=a.txt has the app's Cache-Control", "`expires`"),
    Setup("own-cache-control",
          ((ADDED, f"    add_header Cache-Control no-store;\n{ADDED}"),),
          "Cache-Control is sent 2 times", "`add_header Cache-Control`"),
    Setup("own-policy",
          ((ADDED, f"    add_header Content-Security-Policy sandbox;\n{ADDED}"),),
          "Content-Security-Policy is sent 2 times", "remove it"),
    Setup("no-etag", ((ADDED, f"    etag off;\n{ADDED}"),), "it has no ETag",
          "`etag off;`"),
    Setup("no-ranges", ((ADDED, f"    max_ranges 0;\n{ADDED}"),),
          "FAIL a range of /files?name=a.txt gives 206: 200, not 206", "`max_ranges`"),
    Setup("slow", ((ADDED, f"    limit_rate 1;\n{ADDED}"),),
          "the file did not arrive in time", "`limit_rate` in",
          options=("--seconds", "1.5")),
    Setup("ignored", (("    proxy_http_version 1.1;\n    proxy_set_header Connection "
                       '"";\n    proxy_set_header Host $http_host;',
                       "    proxy_ignore_headers X-Accel-Redirect;\n"
                       "    proxy_set_header Host $http_host;"),),
          "the client gets an empty file", "`proxy_ignore_headers` names it"),
    Setup("shown", (("    proxy_set_header Host $http_host;",
                     "    proxy_ignore_headers X-Accel-Redirect;\n"
                     "    proxy_pass_header X-Accel-Redirect;\n"
                     "    proxy_set_header Host $http_host;"),),
          "the client gets X-Accel-Redirect in place of the file",
          "another server is in front of the front"),
    Setup("public", (("", "location /media/ { alias @files@/; }"),),
          "anyone can download it from /media/a.txt", "remove the location"),
    Setup("public-root", (("", "location = /a.txt { root @files@; }"),),
          "anyone can download it from /a.txt", "remove the location"),
    Setup("public-by-name", (("", "location /files/ { alias @files@/; }"),),
          "anyone can download it from /files/a.txt", "remove the location"),
    Setup("no-secret", ((f'X-Kaccel-Secret "{SECRET}"', 'X-Kaccel-Secret ""'),),
          "Flask sent it", "the front does not add X-Kaccel-Secret"),
    Setup("other-secret", ((SECRET, "x" * 20),), "Flask sent it",
          "the front does not add X-Kaccel-Secret, or adds a wrong one"),
    Setup("no-host", (("    proxy_set_header Host $http_host;\n", ""),),
          "Flask sent it", "add `proxy_set_header Host $http_host;`", app="host"),
    Setup("no-app", (("proxy_pass @app@;", "proxy_pass http://127.0.0.1:9;"),),
          "the front answers 502", "the URL after `proxy_pass`"),
    Setup("path-changed", (("proxy_pass @app@;", "proxy_pass @app@/base/;"),),
          "the app answers 404 where", "changes the path"),
    Setup("redirected", (("", "if ($arg_name) { return 301 https://$host/; }"),),
          "the front redirects to https://127.0.0.1/", "give that URL instead"),
    Setup("failing", ((ADDED, f"    return 500;\n{ADDED}"),), "the front answers 500",
          "its error log says why"),
    Setup("other-answer", ((ADDED, f"    return 200 x;\n{ADDED}"),),
          "the client gets different bytes", "another directory"),
    Setup("filtered", ((ADDED, "    sub_filter_types *;\n    sub_filter plain PLAIN;\n"
                        + ADDED),),
          "the client gets different bytes", "a filter such as `sub_filter`"),
    Setup("no-login", (), "the app answers 302", "pass --cookie or --header",
          urls=("/private?name=a.txt", "/videos?name=v.txt")),
    Setup("wrong-login", (), "the app answers 401", "pass --cookie or --header",
          urls=("/members?name=a.txt", "/videos?name=v.txt"),
          options=("--header", "Authorization: Bearer 6")),
    Setup("one-url", (), "@videos@/ is sent by the front: none of the URLs",
          "pass the URL of one, too", urls=("/files?name=a.txt",)),
    Setup("no-file", (), "the app answers 404", "the app has no such file",
          urls=("/files?name=none", "/videos?name=v.txt")),
)  # fmt: skip
PAGE = """
proxy_intercept_errors on;
error_page 404 =200 @page;
location @page { default_type text/html; return 200 "<title>every page</title>"; }
"""
RIGHT = (
    Setup("printed", ()),
    Setup("page-for-every-path", (("", PAGE),)),
    Setup("cookie", (), urls=("/private?name=a.txt", "/videos?name=v.txt"),
          options=("--cookie", "user=5", "--cookie", "x=y")),
    Setup("header", (), urls=("/members?name=a.txt", "/videos?name=v.txt"),
          options=("--header", "Authorization: Bearer 5")),
    Setup("compressing", (("", "gzip on; gzip_types *; gzip_min_length 0;"),)),
    Setup("secured", (("", "add_header Strict-Transport-Security max-age=5 always;"),)),
    Setup("copied", (("", "sendfile off; output_buffers 1 64k; directio 1m;"),)),
    Setup("host", (), app="host"),
    Setup("hardened", ((ADDED, f"    disable_symlinks on;\n{ADDED}"),)),
    Setup("kept", ((ADDED, "    add_header X-Request-ID "
                    f"$upstream_http_x_request_id always;\n{ADDED}"),),
          options=("--keep", "X-Request-ID")),
    Setup("public-elsewhere", (("", "location /media/ { alias @other@/; }"),)),
)  # fmt: skip
SEND = "XSendFile on\n"
PASS = 'ProxyPass "/" "@app@/"'
APACHE = (
    Setup("off", ((SEND, "XSendFile off\n"),), "X-Sendfile in place of the file",
          "`XSendFile on` or its module is missing"),
    Setup("no-path", (('XSendFilePath "@files@/"\n', ""),), "the front answers 404",
          "it needs `XSendFilePath @files@/`"),
    Setup("other-path", (('XSendFilePath "@files@/"', 'XSendFilePath "@other@/"'),),
          "the front answers 404", "it needs `XSendFilePath @files@/`"),
    Setup("second-path", (('XSendFilePath "@videos@/"\n', ""),),
          "FAIL /videos?name=v.txt", "it needs `XSendFilePath @videos@/`"),
    Setup("no-secret", ((f'RequestHeader set X-Kaccel-Secret "{SECRET}"\n', ""),),
          "Flask sent it", "the front does not add X-Kaccel-Secret"),
    Setup("no-host", (("ProxyPreserveHost on\n", ""),), "Flask sent it",
          "add `proxy_set_header Host $http_host;` or `ProxyPreserveHost on`",
          app="host"),
    Setup("public",
          ((PASS, f'ProxyPass "/media/" "!"\nAlias /media/ @files@/\n{PASS}'),),
          "anyone can download it from /media/a.txt",
          "remove the location or directory"),
    Setup("public-root",
          ((PASS, f'ProxyPass "/a.txt" "!"\nDocumentRoot @files@\n{PASS}'),),
          "anyone can download it from /a.txt", "remove the location or directory"),
    Setup("cache-control", ((SEND, f'{SEND}Header set Cache-Control "max-age=9"\n'),),
          "Cache-Control is 'max-age=9', not 'public, max-age=60'", "`Header set`"),
    Setup("policy-twice", ((SEND, f"{SEND}Header add Content-Security-Policy x\n"),),
          "Content-Security-Policy is sent 2 times", "`Header add`"),
    Setup("no-name", ((SEND, f"{SEND}Header unset Content-Disposition\n"),),
          "Content-Disposition is lost", "the block does not restore it"),
    Setup("no-etag", ((SEND, f"{SEND}Header unset ETag\n"),), 'its ETag is "0"',
          "`Header unset ETag`"),
    Setup("no-range", ((SEND, f"{SEND}RequestHeader unset Range\n"),),
          "FAIL a range of /files?name=a.txt gives 206: 200", "`MaxRanges`"),
    Setup("no-ranges", ((SEND, f"{SEND}MaxRanges none\n"),),
          "FAIL a range of /files?name=a.txt gives 206", "`MaxRanges`"),
    Setup("no-conditions", ((SEND, f"{SEND}RequestHeader unset If-None-Match\n"),),
          "its validator of /files?name=a.txt gives 304: 200", "drops the request's"),
    Setup("path-changed", ((PASS, 'ProxyPass "/" "@app@/base/"'),),
          "the app answers 404 where", "changes the path"),
    Setup("no-app", ((PASS, 'ProxyPass "/" "http://127.0.0.1:9/"'),),
          "the front answers 503", "`ProxyPass`"),
    Setup("redirected", ((PASS, f"Redirect permanent /files https://h/\n"
                          f'ProxyPass "/files" "!"\n{PASS}'),),
          "the front redirects to https://h/", "give that URL instead"),
    Setup("type", ((SEND, f"{SEND}Header set Content-Type text/html\n"),),
          "Content-Type is 'text/html', not 'text/plain; charset=utf-8'",
          "`Header set`"),
)  # fmt: skip
RIGHT_APACHE = (
    Setup("printed", ()),
    Setup("error-pages", ((SEND, f"{SEND}ProxyErrorOverride on\n"),)),
    Setup("secured", ((SEND, f"{SEND}Header always set X-Frame-Options DENY\n"),)),
    Setup("cookie", (), urls=("/private?name=a.txt", "/videos?name=v.txt"),
          options=("--cookie", "user=5")),
)  # fmt: skip


@dataclass(frozen=True)
class Sites:
    """The running set-ups of one front.

    :param apps: an app of the configuration of each server, in this process.
    """

    apps: dict[str, Flask]
    urls: dict[str, str]
    values: dict[str, str]

    def check(self, setup: Setup) -> Any:
        """Run the command against a set-up."""
        urls = [self.urls[setup.id] + path for path in setup.urls]
        runner = self.apps[setup.app].test_cli_runner()
        return runner.invoke(args=["kaccel", "check", *setup.options, *urls])


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The directories, with files, by the names that the set-ups give them."""
    root = tmp_path_factory.mktemp("check")
    root.chmod(0o755)
    for name, content in (
        ("files/a.txt", "a plain file\n" * 9),
        ("files/sub/b.txt", "b"),
        ("videos/v.txt", "not really a film\n" * 9),
        ("other/a.txt", "another file\n" * 9),
        ("other/sub/c.txt", "c"),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {name: str(root / name) for name in ("files", "videos", "other")}


def config_of(values: dict[str, str], backend: str, kind: str) -> dict[str, Any]:
    """Return an app's configuration."""
    config = {
        "KACCEL_BACKEND": backend,
        "KACCEL_FILES_PATH": values["files"],
        "KACCEL_REDIRECT_PATH": "/protected/",
        "KACCEL_MAPPINGS": {values["videos"]: "/video/"},
        "SECRET_KEY": "key",
    }
    if kind == "host":
        host = "localhost" if backend == "x-sendfile" else "app.internal"
        return {**config, "KACCEL_HOST": host}
    return {**config, "KACCEL_SECRET": SECRET}


@dataclass(frozen=True)
class Behind:
    """An app that runs, and the same in this process."""

    server: harness.Server
    socket: str
    app: Flask


@pytest.fixture(scope="module")
def serve(
    values: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A factory of apps: the one of a kind for a backend."""
    from contextlib import ExitStack

    directory = tmp_path_factory.mktemp("checked")
    module = Path(__file__).with_name("checked_app.py")
    make_app = runpy.run_path(str(module))["make_app"]
    with ExitStack() as stack:

        def make(backend: str, kind: str) -> Behind:
            config = config_of(values, backend, kind)
            environ = {"CONFIG": json.dumps(config)}
            socket = directory / f"{backend}-{kind}.sock"
            server = stack.enter_context(
                harness.gunicorn(
                    module,
                    "--bind",
                    f"unix:{socket}",
                    worker="gthread",
                    environ=environ,
                )
            )
            # The first request waits for the worker.
            urllib.request.urlopen(f"{server.url}/ready", timeout=60).close()
            return Behind(server, f"http://unix:{socket}", make_app(config))

        yield make


def text_of(app: Flask, front: Any, upstream: str) -> str:
    """Return what the command prints."""
    return configuration(app.extensions["kaccel"], front, upstream)


@pytest.fixture(scope="module")
def nginx_sites(serve: Any, values: dict[str, str]) -> Iterator[Sites]:
    """Every set-up of nginx, each a server of one nginx."""
    apps = {kind: serve("nginx", kind) for kind in ("plain", "host")}
    urls, servers = {}, []
    for kind, behind in apps.items():
        servers.append(
            f"upstream {kind}.internal {{ server {behind.server.address}; }}"
        )
    servers[-1] = servers[-1].replace("host.internal", "app.internal")
    setups = (*NGINX, *RIGHT)
    for setup, port in zip(setups, harness.free_ports(len(setups)), strict=True):
        name = "app.internal" if setup.app == "host" else "plain.internal"
        upstream = f"http://{name}"
        text = text_of(apps[setup.app].app, "nginx", upstream)
        urls[setup.id] = f"http://127.0.0.1:{port}"
        printed = text.replace(f'proxy_pass "{upstream}"', f"proxy_pass {upstream}")
        block = setup.amend(printed, {**values, "app": upstream})
        servers.append(f"server {{ listen 127.0.0.1:{port}; {block} }}")
    with harness.nginx("", http="\n".join(servers)):
        yield Sites({kind: it.app for kind, it in apps.items()}, urls, values)


@pytest.fixture(scope="module")
def apache_sites(serve: Any, values: dict[str, str]) -> Iterator[Sites]:
    """Every set-up of Apache, each a virtual host of one Apache."""
    apps = {kind: serve("x-sendfile", kind) for kind in ("plain", "host")}
    apps["host"].app.extensions["kaccel"]
    urls, hosts = {}, []
    setups = (*APACHE, *RIGHT_APACHE)
    for setup, port in zip(setups, harness.free_ports(len(setups)), strict=True):
        behind = apps[setup.app]
        upstream = behind.socket if setup.app == "host" else behind.server.url
        urls[setup.id] = f"http://127.0.0.1:{port}"
        text = text_of(behind.app, "apache", upstream)
        block = setup.amend(text, {**values, "app": upstream})
        hosts.append(
            f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n{block}\n"
            "</VirtualHost>"
        )
    with harness.apache("\n".join(hosts), modules=["xsendfile", "alias"]):
        yield Sites({kind: it.app for kind, it in apps.items()}, urls, values)


def assert_found(sites: Sites, setup: Setup) -> None:
    """Assert that the check fails, for the right reason, and names the cause."""
    result = sites.check(setup)
    assert result.exit_code == 1, result.output
    output = result.output
    assert _filled(setup.finding, sites.values) in output, output
    assert _filled(setup.cause, sites.values) in output, output


@pytest.mark.parametrize("setup", NGINX, ids=lambda it: it.id)
def test_broken_nginx(nginx_sites: Sites, setup: Setup) -> None:
    """Each mistake in nginx's configuration is found, and its cause named."""
    assert_found(nginx_sites, setup)


@pytest.mark.parametrize("setup", RIGHT, ids=lambda it: it.id)
def test_right_nginx(nginx_sites: Sites, setup: Setup) -> None:
    """No right configuration raises an alarm."""
    result = nginx_sites.check(setup)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


@pytest.mark.parametrize("setup", APACHE, ids=lambda it: it.id)
def test_broken_apache(apache_sites: Sites, setup: Setup) -> None:
    """Each mistake in Apache's configuration is found, and its cause named."""
    assert_found(apache_sites, setup)


@pytest.mark.parametrize("setup", RIGHT_APACHE, ids=lambda it: it.id)
def test_right_apache(apache_sites: Sites, setup: Setup) -> None:
    """No right configuration raises an alarm."""
    result = apache_sites.check(setup)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


def test_note_of_a_dropped_field(nginx_sites: Sites) -> None:
    """A dropped header is not a fault, but ``--keep`` is suggested for it."""
    output = nginx_sites.check(RIGHT[0]).output
    assert "note /files?name=a.txt: nginx drops X-Request-ID; `--keep NAME`" in output
    kept = next(it for it in RIGHT if it.id == "kept")
    assert "nginx drops" not in nginx_sites.check(kept).output
