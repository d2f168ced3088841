"""What an operator runs: ``flask kaccel nginx`` and ``flask kaccel check``."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flask
import pytest
from click.testing import Result
from flask import Flask
from werkzeug.serving import make_server

from flask_kaccel import InvalidValueError
from flask_kaccel import Kaccel
from flask_kaccel import nginx_locations


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
    thread = threading.Thread(target=server.serve_forever)
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
    text = run(app, "nginx").output
    assert text.startswith("location ^~ /protected/ {\n    internal;\n")
    assert f'    alias "{tree}/";\n' in text
    assert "add_header Vary $upstream_http_vary always;" in text
    assert SECRET not in text
    text = run(app, "nginx", "--upstream", "http://127.0.0.1:8000").output
    assert '\nlocation / {\n    proxy_pass "http://127.0.0.1:8000";\n' in text
    assert f'proxy_set_header X-Kaccel-Secret "{SECRET}";' in text
    assert text == nginx_locations(app, "http://127.0.0.1:8000")
    for upstream in ("https://[::1]:8000", "http://unix:/run/my-app.sock"):
        assert f'proxy_pass "{upstream}";' in nginx_locations(app, upstream)


def test_nginx_without_a_prefix(make_app: MakeApp) -> None:
    """What Flask sends needs no block; a secret of a client's goes no further."""
    app, _ = make_app()
    assert nginx_locations(app) == ""
    assert 'X-Kaccel-Secret "";' in nginx_locations(app, "http://app")


def test_nginx_with_nothing_to_print(make_app: MakeApp) -> None:
    """Without a prefix the command says what is missing, rather than nothing."""
    remedy = "set KACCEL_REDIRECT_PATH or KACCEL_MAPPINGS first"
    assert remedy in run(make_app()[0], "nginx").output
    assert remedy not in run(make_app(**NGINX)[0], "nginx").output


@pytest.mark.parametrize(
    "upstream",
    [
        "127.0.0.1:8000", "unix:/run/app.sock", "", "http://", "http://app/",
        "http://app/path", "http://app?x", "http://unix:/run/app.sock:/path",
        "http://user@app", "http://$host", "http://a b",
    ],
)  # fmt: skip
def test_nginx_wrong_upstream(make_app: MakeApp, upstream: str) -> None:
    """An upstream that nginx would refuse, or add to each path, is an error here."""
    app, _ = make_app(**NGINX)
    with pytest.raises(InvalidValueError, match=r"^upstream is '.*': give the URL"):
        nginx_locations(app, upstream)
    result = run(app, "nginx", "--upstream", upstream)
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
        result = run(app, "nginx")
        assert result.exit_code == 1
        assert "rename it" in result.output


def test_check_of_a_site_without_nginx(make_app: MakeApp) -> None:
    """A file that Flask has sent is a finding; the reason is where to look."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?a.txt")
    assert result.exit_code == 1
    assert (
        "FAIL /send?a.txt is a file sent by the server in front: Flask" in result.output
    )
    assert "ok   /protected/a.txt" not in result.output
    assert "Error: 1 of the checks failed" in result.output


def disguise(app: Flask) -> None:
    """Let nobody tell an app from nginx."""
    wsgi_app = app.wsgi_app

    def without_question(environ: Any, start_response: Any) -> Any:
        environ.pop("HTTP_X_KACCEL_CHECK", None)
        return wsgi_app(environ, start_response)

    app.wsgi_app = without_question  # type: ignore[method-assign]  # as Flask documents


def test_check_of_a_right_site(make_app: MakeApp) -> None:
    """A site that nobody can tell from nginx passes."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    disguise(app)
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?a.txt")
    assert result.exit_code == 0
    assert "FAIL" not in result.output
    assert result.output.count("ok   ") == 9


def one_page(_: Exception) -> Any:
    """Answer every unknown path with a page that is never the same."""
    return f"{secrets.token_hex()} at {flask.request.path}", 200


def login(_: Exception) -> Any:
    """Answer every unknown path with a way to log in."""
    return flask.redirect(f"/login?next={quote(flask.request.path, safe='')}")


def one_file(_: Exception) -> Any:
    """Answer every unknown path with the same file."""
    return flask.send_file(Path(__file__))


@pytest.mark.parametrize("unknown", [one_page, login, one_file])
def test_check_of_a_site_with_every_path(make_app: MakeApp, unknown: Any) -> None:
    """What every other path gets too is no sign of an open one."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    app.register_error_handler(404, unknown)
    disguise(app)
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?a.txt")
        assert result.exit_code == 0, result.output
        assert result.output.count("ok   ") == 9
        wrong = run(app, "check", f"{url}/sent?a.txt")
        assert wrong.exit_code == 1
        assert ("any other path gets the same" in wrong.output) == (unknown is one_file)


def test_check_of_what_such_a_site_shows(make_app: MakeApp, tree: Path) -> None:
    """An open path is one that does not get what every other path gets."""
    app, _ = make_app(**NGINX)
    app.register_error_handler(404, one_page)

    @app.get("/protected/")
    def listing() -> str:
        names = (quote(os.fsencode(it.name)) for it in tree.iterdir())
        return "".join(f'<a href="{name}">' for name in names)

    @app.get("/protected/<name>")
    def public(name: str) -> Any:
        return (tree / name).read_bytes()

    @app.get("/protected")
    def redirect() -> Any:
        return flask.redirect("/protected/")

    with serving(app) as url:
        output = run(app, "check", f"{url}/send?a.txt").output
    assert "FAIL /protected/ is closed: 200, not as for a path that" in output
    assert "FAIL /protected is closed: 302, not as for a path that" in output
    assert "ok   /protected.. is closed" in output
    assert output.count("not as for a path that there is not") == 3


def test_check_of_a_name_as_people_write_it(make_app: MakeApp) -> None:
    """A URL may be pasted from a browser, which shows it decoded."""
    app, _ = make_app()
    with serving(app) as url:
        result = run(app, "check", f"{url}/send?naïve-日本語-🙂.txt")
    assert "FAIL /send?na%C3%AFve-" in result.output
    assert "Flask sent it" in result.output


def test_check_of_a_site_that_leaks(make_app: MakeApp, tree: Path) -> None:
    """Everything that a client should not see is a finding."""
    app, _ = make_app(**NGINX)

    @app.get("/protected/")
    def listing() -> str:
        return f"Index of {tree}"

    @app.get("/protected..")
    def forbidden() -> Any:
        return "", 403

    @app.get("/protected/<name>")
    def public(name: str) -> flask.Response:
        return flask.send_from_directory(tree, name)

    @app.get("/protected")
    def redirect() -> Any:
        return flask.redirect("/protected/")

    @app.get("/")
    def error() -> Any:
        return f"No such file: {tree}/x", 500

    with serving(app) as url:
        handed = run(app, "check", f"{url}/send?a.txt").output
        assert "is it a file?" in handed
        assert "internal path: /send?a.txt shows X-Accel-Redirect" in handed
        shown = run(app, "check", url).output
        assert "status 500, not 200" in shown
        assert "FAIL /protected/ is closed: 200, not 404" in shown
        assert "FAIL /protected is closed: 302, not 404" in shown
        assert "FAIL /protected.. is closed: 403, not 404" in shown
        assert "/ names one in its body" in shown


def test_check_of_headers(make_app: MakeApp, tree: Path) -> None:
    """A header that names a directory is a finding."""
    app, _ = make_app(**NGINX)

    @app.get("/named")
    def named() -> flask.Response:
        return flask.Response("x", headers={"X-Debug": f"{tree}/a.txt"})

    with serving(app) as url:
        output = run(app, "check", f"{url}/named").output
    assert "/named names one in X-Debug" in output


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
    assert f"FAIL {tmp_path}/missing/ is a directory: there is none here" in output
    assert f"ok   {tmp_path}/empty/ is a directory" in output
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
    ("url", "message"),
    [
        ("example.com/a.txt", "starts with http:// or https://"),
        ("http://127.0.0.1:port/", "does not answer"),
        ("http://127.0.0.1:1/a b", "does not answer"),
        ("https://127.0.0.1:1/a", "does not answer"),
        ("http://a..b/", "does not answer"),
        ("http://[::1/", "does not answer"),
    ],
)
def test_check_of_what_is_no_url(make_app: MakeApp, url: str, message: str) -> None:
    """An address that cannot be asked is an error, not a traceback."""
    result = run(make_app(**NGINX)[0], "check", url)
    assert result.exit_code > 0
    assert message in result.output
