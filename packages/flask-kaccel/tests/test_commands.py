"""The commands of an operator: ``flask kaccel config`` and ``flask kaccel check``."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask
import pytest
from click.testing import Result
from flask import Flask
from werkzeug.serving import make_server

from flask_kaccel import InvalidValueError
from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations
from flask_kaccel._fields import CARRIED
from flask_kaccel._fields import RESTORED
from flask_kaccel._fields import TABLE
from flask_kaccel._fields import Fate


MakeApp = Callable[..., tuple[Flask, Kaccel]]
SECRET = "0123456789abcdef"
NGINX = {"KACCEL_REDIRECT_PATH": "/protected/"}


def run(app: Flask, *arguments: str) -> Result:
    """Run a command of the app."""
    return app.test_cli_runner().invoke(args=["kaccel", *arguments])


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app on a free port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nginx(make_app: MakeApp, tree: Path) -> None:
    """A directory with a prefix gets a block, and the app gets one on demand."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    text = run(app, "config", "nginx").output
    assert text.startswith("location ^~ /protected/ {\n    internal;\n")
    assert f'    alias "{tree}/";\n' in text
    assert "add_header Vary $upstream_http_vary always;" in text
    assert SECRET not in text
    text = run(app, "config", "nginx", "--upstream", "http://127.0.0.1:8000").output
    assert '\nlocation / {\n    proxy_pass "http://127.0.0.1:8000";\n' in text
    assert f'proxy_set_header X-Kaccel-Secret "{SECRET}";' in text
    assert text == nginx_locations(app, "http://127.0.0.1:8000")
    for upstream in ("https://[::1]:8000", "http://unix:/run/my-app.sock"):
        assert f'proxy_pass "{upstream}";' in nginx_locations(app, upstream)
    text = nginx_locations(app, "uwsgi://unix:/run/app.sock")
    assert "uwsgi_pass unix:/run/app.sock;" in text
    assert f'uwsgi_param HTTP_X_KACCEL_SECRET "{SECRET}";' in text


def test_nginx_gives_back_what_the_table_says(make_app: MakeApp) -> None:
    """Fields of the file come without errors, all others with them, and no other."""
    app, _ = make_app(**NGINX)
    lines = re.findall("    add_header (.*);", nginx_locations(app))
    for field in TABLE:
        variable = field.carrier.lower().replace("-", "_")
        line = f"{field.name} $upstream_http_{variable}"
        assert (line in lines) is (field.fate is Fate.CARRIED)
        assert (f"{line} always" in lines) is (field.fate is Fate.RESTORED)
    assert len(lines) == len(CARRIED) + len(RESTORED)


def test_keep(make_app: MakeApp) -> None:
    """A field of one's own is given back on demand."""
    app, _ = make_app(**NGINX)
    text = run(app, "config", "nginx", "--keep", "X-Request-ID", "--keep", "NEL").output
    assert "add_header X-Request-ID $upstream_http_x_request_id always;" in text
    assert text == nginx_locations(app, keep=["X-Request-ID", "NEL"])


@pytest.mark.parametrize(
    "name", ["", "a b", "Vary", "etag", "Set-Cookie", "X-Accel-Redirect", "a;b", "é"]
)
def test_wrong_keep(make_app: MakeApp, name: str) -> None:
    """A name that is not a header, or is already in use, is an error."""
    app, _ = make_app(**NGINX)
    with pytest.raises(
        InvalidValueError, match=r"^keep is .*: give a field of your own"
    ):
        nginx_locations(app, keep=[name])
    result = run(app, "config", "nginx", f"--keep={name}")
    assert (result.exit_code, result.stdout) == (1, "")


def test_nginx_without_a_prefix(make_app: MakeApp) -> None:
    """Files that Flask sends need no block; a client's secret is not passed on."""
    app, _ = make_app()
    assert nginx_locations(app) == ""
    assert 'X-Kaccel-Secret "";' in nginx_locations(app, "http://app")


def test_nothing_to_print(make_app: MakeApp) -> None:
    """With nothing to print, stdout is empty and the error names the missing key."""
    app, _ = make_app()
    for arguments in ([], ["--upstream", "http://127.0.0.1:8000"]):
        result = run(app, "config", "nginx", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "set KACCEL_REDIRECT_PATH or KACCEL_MAPPINGS first" in result.stderr


@pytest.mark.parametrize(
    ("front", "backend", "lines"),
    [
        ("apache", "x-sendfile", ["XSendFile on", 'ProxyPass "/" "http://app:8000/"']),
        (
            "lighttpd",
            "x-sendfile",
            ['"x-sendfile" => "enable"', '"host" => "app", "port" => "8000"'],
        ),
        ("caddy", "caddy", ["reverse_proxy app:8000 {", "uri strip_prefix /protected"]),
    ],
)
def test_other_fronts(
    make_app: MakeApp, tree: Path, front: str, backend: str, lines: list[str]
) -> None:
    """Each front is told the directory, the app's address and the secret."""
    app, _ = make_app(KACCEL_BACKEND=backend, KACCEL_SECRET=SECRET, **NGINX)
    text = run(app, "config", front, "--upstream", "http://app:8000").output
    for line in [*lines, f'"{tree}/"', SECRET]:
        assert line in text
    socket = run(app, "config", front, "--upstream", "http://unix:/run/app.sock")
    assert socket.exit_code == 0
    assert "/run/app.sock" in socket.output
    for wrong in ([], ["--upstream", "uwsgi://app:3031"]):
        result = run(app, "config", front, *wrong)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "give the URL at which the app listens" in result.stderr
    app, _ = make_app(**NGINX)
    result = run(app, "config", front, "--upstream", "http://app:8000")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"KACCEL_BACKEND is 'nginx': set it to '{backend}'" in result.stderr


def test_config_of_the_app(make_app: MakeApp) -> None:
    """Without a front the command prints the app's own keys, but no secret."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    output = run(app, "config").output
    assert "* KACCEL_REDIRECT_PATH = '/protected/'" in output
    assert "  KACCEL_HOST = None" in output
    assert "* KACCEL_SECRET = '***'" in output
    assert SECRET not in output


@pytest.mark.parametrize(
    "upstream",
    [
        "127.0.0.1:8000", "unix:/run/app.sock", "", "http://", "http://app/",
        "http://app/path", "http://app?x", "http://unix:/run/app.sock:/path",
        "http://user@app", "http://$host", "http://a b", "fastcgi://app:9000",
    ],
)  # fmt: skip
def test_nginx_wrong_upstream(make_app: MakeApp, upstream: str) -> None:
    """An upstream that nginx would refuse, or add to each path, is an error here."""
    app, _ = make_app(**NGINX)
    with pytest.raises(InvalidValueError, match=r"^upstream is '.*': give the URL"):
        nginx_locations(app, upstream)
    result = run(app, "config", "nginx", "--upstream", upstream)
    assert result.exit_code == 1
    assert "give the URL" in result.output


def test_nginx_for_a_store() -> None:
    """An object store gets a block that keeps the signature and drops the rest."""
    app = Flask(__name__)
    app.config["KACCEL_MAPPINGS"] = {"https://s3.example:9000/b/": "/s3/"}
    Kaccel(app)
    text = nginx_locations(app)
    assert 'proxy_pass "https://s3.example:9000/b/";' in text
    assert "proxy_set_header Host s3.example:9000;" in text
    assert "proxy_ssl_name s3.example;" in text
    for name in ("Authorization", "Cookie", "X-Kaccel-Secret"):
        assert f'proxy_set_header {name} "";' in text
    assert "set $app_vary $upstream_http_vary;" in text
    assert "add_header Vary $app_vary always;" in text


def test_nginx_quotes_paths() -> None:
    """A directory's name cannot end the directive, or nginx cannot have it."""
    app = Flask(__name__)
    app.config["KACCEL_MAPPINGS"] = {'/srv/a "b\\c; }': "/a/"}
    Kaccel(app)
    assert 'alias "/srv/a \\"b\\\\c; }/";' in nginx_locations(app)
    for name in ("/srv/$host", "/srv/a\nb"):
        app = Flask(__name__)
        app.config["KACCEL_MAPPINGS"] = {name: "/a/"}
        Kaccel(app)
        with pytest.raises(InvalidValueError, match=r"^path is '/srv/.*': rename it"):
            nginx_locations(app)
        result = run(app, "config", "nginx")
        assert result.exit_code == 1
        assert "rename it" in result.output


def test_check_of_a_site_without_nginx(make_app: MakeApp) -> None:
    """A file that Flask has sent is a finding; the cause is where to look."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?a.txt")
    assert result.exit_code == 1
    assert (
        "FAIL /send?a.txt is a file sent by the front: Flask sent it" in result.output
    )
    assert "likely: the front does not add X-Kaccel-Secret" in result.output
    assert "note set SECRET_KEY or KACCEL_SECRET" not in result.output
    assert "Error: 1 of the checks failed" in result.stderr


def test_check_for_a_script(make_app: MakeApp) -> None:
    """Each finding is an object on a line of its own; errors are not among them."""
    app, _ = make_app(**NGINX)
    with serving(app) as url:
        result = run(app, "check", "--json", f"{url}/send?a.txt")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["level"] for one in found} == {"ok", "bad", "note"}
    (bad,) = [one for one in found if one["level"] == "bad"]
    assert bad.keys() == {"level", "what", "symptom", "cause"}
    assert bad["what"] == "/send?a.txt is a file sent by the front"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("config", "query", "symptom", "cause"),
    [
        (NGINX, "a.txt", "Flask sent it", "is configured differently"),
        (
            {"KACCEL_HOST": "127.0.0.1:5", **NGINX},
            "a.txt", "Flask sent it", "add `proxy_set_header Host $http_host;`",
        ),
        ({}, "a.txt", "Flask sends all files", "set KACCEL_REDIRECT_PATH"),
        (NGINX, "missing", "the app answers 404", "the app has no such file"),
        (NGINX, "error", "the app answers 500", "the app fails: see its log"),
        (
            {"TESTING": True, **NGINX},
            "error", "the app fails with ValueError('no')", "see the app's log",
        ),
        (NGINX, "login", "the app answers 302", "pass --cookie or --header"),
        (NGINX, "text", "Flask sent it", "it is in no mapping, is empty, or has"),
    ],
)  # fmt: skip
def test_what_the_app_does_itself(
    make_app: MakeApp, config: Any, query: str, symptom: str, cause: str
) -> None:
    """The app's own answers are told from the front's, each with its likely cause."""
    app, _ = make_app(**config)

    @app.before_request
    def special() -> Any:
        if flask.request.query_string == b"error":
            raise ValueError("no")
        if flask.request.query_string == b"login":
            return flask.redirect("/login")
        return "text" if flask.request.query_string == b"text" else None

    with serving(app) as url:
        result = run(app, "check", f"{url}/send?{query}")
    assert result.exit_code == 1
    assert f"is a file sent by the front: {symptom}" in result.output
    assert cause in result.output


def test_check_of_a_route_under_a_prefix(make_app: MakeApp) -> None:
    """A URL of the app that the front would keep for itself is a finding."""
    app, _ = make_app(**NGINX)
    app.add_url_rule("/protected/<name>", view_func=lambda name: name)
    with serving(app) as url:
        output = run(app, "check", f"{url}/send?a.txt").output
    assert "FAIL /protected/ is reserved for the front: the app has the route" in output


def test_check_of_a_name_as_people_write_it(make_app: MakeApp) -> None:
    """A URL may be pasted from a browser, which shows it decoded."""
    app, _ = make_app(**NGINX)
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?naïve-日本語-🙂.txt")
    assert "FAIL /send?na%C3%AFve-" in result.output
    assert "Flask sent it" in result.output


def test_question_without_a_signature(make_app: MakeApp) -> None:
    """Anybody may learn that the app answers; the outcome needs the key."""
    for config in ({}, {"SECRET_KEY": "key"}):
        app, _ = make_app(**NGINX, **config)
        client = app.test_client()
        for value in ("missing", "directory", "file", "missing.x.y", "é"):
            headers = {"X-Kaccel-Check": value}
            handed = client.get("/send?a.txt", headers=headers).headers
            assert handed["X-Accel-Redirect"] == "/protected/a.txt"
            assert handed["X-Kaccel-Check"] == "handed"
            app_headers = client.get("/missing", headers=headers).headers
            assert app_headers["X-Kaccel-Check"] == "flask"


def test_check_of_a_mapping_without_files(tmp_path: Path) -> None:
    """Stores, missing and empty directories have no file to ask for."""
    (tmp_path / "empty").mkdir()
    app = Flask(__name__)
    app.config["KACCEL_MAPPINGS"] = {
        str(tmp_path / "missing"): "/missing/",
        str(tmp_path / "empty"): "/empty/",
        "http://127.0.0.1:9/": "/s3/",
    }
    Kaccel(app)
    with serving(app) as url:
        output = run(app, "check", f"{url}/").output
    assert (
        f"FAIL {tmp_path}/missing/ is a directory: there is no such directory" in output
    )
    assert f"ok   {tmp_path}/empty/ is a directory" in output
    assert f"FAIL {tmp_path}/empty/ is sent by the front: none of the" in output
    assert "ok   /s3/ is closed" in output
    assert "ok   /empty/ is closed" in output


def test_check_of_a_site_that_is_down(make_app: MakeApp) -> None:
    """A site that does not answer is an error, not a traceback."""
    app, _ = make_app(**NGINX)
    with serving(app) as url:
        pass
    result = run(app, "check", f"{url}/send?a.txt")
    assert result.exit_code == 1
    assert "does not answer" in result.output


@pytest.mark.parametrize(
    "option", [["--header", "x"], ["--cookie", "x"], ["--header", ": x"]]
)
def test_wrong_options(make_app: MakeApp, option: list[str]) -> None:
    """A field or cookie without its separator is an error, before anything is asked."""
    result = run(make_app(**NGINX)[0], "check", *option, "http://127.0.0.1:1/")
    assert result.exit_code == 2
    assert "has no" in result.output


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.com/a.txt", "starts with http:// or https://"),
        ("http://127.0.0.1:port/", "is not a URL"),
        ("http://127.0.0.1:1/a b", "does not answer"),
        ("https://127.0.0.1:1/a", "does not answer"),
        ("http://a..b/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
    ],
)
def test_check_of_what_is_no_url(make_app: MakeApp, url: str, message: str) -> None:
    """An address that cannot be asked is an error, not a traceback."""
    result = run(make_app(**NGINX)[0], "check", url)
    assert result.exit_code > 0
    assert message in result.output
