"""The extension in apps without a server."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flask
import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient
from werkzeug.exceptions import NotFound

from flask_kaccel import ConfigError
from flask_kaccel import InvalidValueError
from flask_kaccel import Kaccel
from flask_kaccel import SetupError
from flask_kaccel import nginx_locations


SECRET = "0123456789abcdef"
NGINX = {"KACCEL_REDIRECT_PATH": "/protected/"}
MakeApp = Callable[..., tuple[Flask, Kaccel]]


def internal_headers(response: Any) -> set[str]:
    """Return the names that no client may see."""
    return {
        name.lower()
        for name, _ in response.headers
        if name.lower().startswith(("x-accel-", "x-sendfile"))
    }


def test_flask_sends_every_case(flask_client: FlaskClient, case: Any) -> None:
    """Without nginx every awkward file comes from Flask, and nothing else does."""
    response = flask_client.get(case.url)
    assert not internal_headers(response)
    if case.content is None:
        assert response.status_code == 404
        return
    assert response.status_code == 200
    assert response.data == case.content
    assert response.content_type == case.mimetype
    assert response.headers["ETag"] == f'"6553f100-{len(case.content):x}"'
    assert response.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_handed_over_response(nginx_client: FlaskClient) -> None:
    """Nginx gets the URI, an empty body, and the headers that it keeps."""
    response = nginx_client.get("/send?sub/dir/a.txt")
    assert dict(response.headers) == {
        "Content-Length": "0",
        "Content-Type": "text/plain; charset=utf-8",
        "X-Accel-Redirect": "/protected/sub/dir/a.txt",
        "X-Kaccel-Cache-Control": "no-cache",
        "X-Kaccel-Content-Disposition": "inline; filename=a.txt",
    }
    assert response.data == b""


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        pytest.param("100%.txt", "/protected/100%25.txt", id="percent"),
        pytest.param("q?x.txt", "/protected/q%3Fx.txt", id="question-mark"),
        pytest.param("a\nb.txt", "/protected/a%0Ab.txt", id="newline"),
        pytest.param("caf\udce9.txt", "/protected/caf%E9.txt", id="latin-1"),
        pytest.param("sub/../a.txt", "/protected/a.txt", id="normalized"),
        pytest.param("in.txt", "/protected/in.txt", id="symlink-inside"),
    ],
)
def test_internal_uri(make_app: MakeApp, leave: Any, name: str, uri: str) -> None:
    """Each byte that means something to nginx is percent-encoded once."""
    app, kaccel = make_app(**NGINX)
    response = leave(app, lambda: kaccel.send_from_directory(name))
    assert response.headers["X-Accel-Redirect"] == uri


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt", "sub/../../secret.txt", "/etc/passwd", "//etc/passwd",
        "out.txt", "outside/secret.txt", "sub", "", ".", "a.txt\0",
        "missing", "a.txt/b", "x" * 5000, "..", "sub/dir/../../../secret.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", [NGINX, {}], ids=["nginx", "flask"])
def test_what_is_not_sent(make_app: MakeApp, name: str, config: Any) -> None:
    """A file outside, by dots or by links, is treated as missing."""
    app, kaccel = make_app(**config)
    with app.test_request_context():
        assert kaccel.send_from_directory(name) is None
        with pytest.raises(NotFound):
            kaccel.send_from_directory_or_404(name)


def test_encoded_separators_stay_in_the_name(nginx_client: FlaskClient) -> None:
    """Dots and slashes that are still encoded in a name are letters of the name."""
    assert nginx_client.get("/send?%252e%252e%252fsecret.txt").status_code == 404


def test_send_file_outside_every_mapping(make_app: MakeApp, tree: Path) -> None:
    """A full path is sent where the mapping has its directory, and nowhere else."""
    app, kaccel = make_app(**NGINX)
    with app.test_request_context():
        assert kaccel.send_file(tree / "a.txt") is not None
        assert kaccel.send_file(tree.parent / "secret.txt") is None
        assert kaccel.send_file(f"{tree}-not/a.txt") is None
        assert kaccel.send_file(tree / "missing") is None
        with pytest.raises(NotFound):
            kaccel.send_file_or_404(tree / "out.txt")
        assert kaccel.send_file_or_404(tree / "a.txt", limit=5) is not None


def test_send_file_without_configuration(tree: Path) -> None:
    """An app that names no directory trusts the path, as Flask does."""
    app = Flask(__name__)
    kaccel = Kaccel(app)
    with app.test_request_context():
        response = kaccel.send_file(tree / "out.txt")
        assert response is not None
        response.direct_passthrough = False
        assert response.get_data() == b"secret"
        response.close()
        with pytest.raises(ConfigError, match="KACCEL_FILES_PATH is None: set it"):
            kaccel.send_from_directory("a.txt")


def test_paths_are_relative_to_the_app(tmp_path: Path, leave: Any) -> None:
    """Relative directories and files lie below the app's root, as in Flask."""
    app = Flask(__name__, root_path=str(tmp_path))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.txt").write_text("a")
    app.config.update(NGINX, KACCEL_FILES_PATH="files")
    kaccel = Kaccel(app)
    response = leave(app, lambda: kaccel.send_file("files/a.txt"))
    assert response.headers["X-Accel-Redirect"] == "/protected/a.txt"
    with app.app_context():
        assert kaccel.filesize("files/a.txt") == 1
        assert kaccel.filesize("a.txt") is None
    with pytest.raises(RuntimeError, match="application context"):
        kaccel.filesize("files/a.txt")


def test_longest_mapping_wins(make_app: MakeApp, tree: Path) -> None:
    """Of nested directories the inner one decides, whatever their order."""
    for mappings in (
        {f"{tree}/sub": "/outer/", f"{tree}/sub/dir": "/inner/"},
        {f"{tree}/sub/dir": "/inner/", f"{tree}/sub": "/outer/"},
    ):
        app, _ = make_app(KACCEL_MAPPINGS=mappings, **NGINX)
        client = app.test_client()
        inner = client.get("/send?sub/dir/a.txt")
        assert inner.headers["X-Accel-Redirect"] == "/inner/a.txt"
        outer = client.get("/send?a.txt")
        assert outer.headers["X-Accel-Redirect"] == "/protected/a.txt"


def test_directory_without_prefix_is_sent_by_flask(
    make_app: MakeApp, tree: Path
) -> None:
    """A directory that nginx does not know is Flask's, though others are nginx's."""
    mappings = {f"{tree}/sub": "/sub/"}
    client = make_app(KACCEL_MAPPINGS=mappings)[0].test_client()
    assert client.get("/send?a.txt").data == b"plain\n"
    assert client.get("/send?sub/dir/a.txt").headers["X-Accel-Redirect"]


def test_neighbours_of_a_directory(tmp_path: Path) -> None:
    """A directory whose name begins the same is another, by a link too."""
    for name in ("files", "files-of-others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
    (tmp_path / "files/link").symlink_to(tmp_path / "files-of-others")
    (tmp_path / "files-a.txt").touch()
    app = Flask(__name__)
    app.config["KACCEL_MAPPINGS"] = {str(tmp_path / "files"): "/files/"}
    kaccel = Kaccel(app)
    with app.test_request_context():
        assert kaccel.send_file(tmp_path / "files/a.txt") is not None
        assert kaccel.send_file(tmp_path / "files-of-others/a.txt") is None
        assert kaccel.send_file(tmp_path / "files-a.txt") is None
        assert kaccel.send_file(tmp_path / "files/link/a.txt") is None


@pytest.mark.parametrize(
    "url", ["https://store.example/bucket-2/a", "https://store.example.com/bucket/a"]
)
def test_neighbours_of_a_store(url: str) -> None:
    """A URL that begins the same leads elsewhere."""
    app = Flask(__name__)
    app.config["KACCEL_MAPPINGS"] = {"https://store.example/bucket/": "/b/"}
    kaccel = Kaccel(app)
    with app.test_request_context():
        assert kaccel.redirect("https://store.example/bucket/a") is not None
        assert kaccel.redirect(url) is None


def test_settings_of_nothing(make_app: MakeApp, tree: Path) -> None:
    """No charset and no age are settings too, not the lack of one."""
    app, kaccel = make_app(SEND_FILE_MAX_AGE_DEFAULT=60, **NGINX)
    mimetype = "text/plain; charset=koi8-r"
    with app.test_request_context():
        headers = kaccel.send_file_or_404(
            tree / "a.txt", charset=None, max_age=0, mimetype=mimetype
        ).headers
    assert headers["Content-Type"] == mimetype
    assert headers["Cache-Control"] == "no-cache, max-age=0"


@pytest.mark.parametrize("name", ["send_file", "send_file_or_404"])
def test_settings_of_a_call(
    make_app: MakeApp, leave: Any, tree: Path, name: str
) -> None:
    """Every argument of ``send_file`` says what nginx reads."""
    app, kaccel = make_app(**NGINX)
    response = leave(
        app,
        lambda: getattr(kaccel, name)(
            tree / "sub/dir/a.txt",
            "/slow/",
            False,
            "iso-8859-1",
            datetime(2030, 1, 1, tzinfo=UTC),
            1024,
            as_attachment=True,
            download_name="b.txt",
            max_age=60,
            last_modified=0,
        ),
    )
    assert dict(response.headers) == {
        "Content-Length": "0",
        "Content-Type": "text/plain; charset=iso-8859-1",
        "X-Accel-Buffering": "no",
        "X-Accel-Expires": "@1893456000",
        "X-Accel-Limit-Rate": "1024",
        "X-Accel-Redirect": "/slow/sub/dir/a.txt",
        "X-Kaccel-Cache-Control": "public, max-age=60",
        "X-Kaccel-Content-Disposition": "attachment; filename=b.txt",
    }


def test_configured_settings(make_app: MakeApp) -> None:
    """``send_from_directory`` takes its settings from the configuration."""
    app, _ = make_app(
        KACCEL_BUFFER=False,
        KACCEL_CACHE_EXPIRES=0,
        KACCEL_CHARSET="utf-16",
        KACCEL_LIMIT_RATE=0,
        **NGINX,
    )
    headers = app.test_client().get("/send?a.txt").headers
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Accel-Expires"] == "0"
    assert headers["X-Accel-Limit-Rate"] == "0"
    assert headers["Content-Type"] == "text/plain; charset=utf-16"
    assert "X-Accel-Charset" not in headers  # an error line in nginx's log, each time


def test_last_modified_of_a_call(make_app: MakeApp, leave: Any) -> None:
    """Flask sends the time that was given, and judges conditions by it."""
    app, kaccel = make_app()
    when = datetime(2020, 1, 1, tzinfo=UTC)
    headers = {"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}
    response = leave(
        app,
        lambda: kaccel.send_from_directory("a.txt", last_modified=when),
        headers=headers,
    )
    assert response.status_code == 304
    assert response.headers["Last-Modified"] == headers["If-Modified-Since"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("redirect", "/protected"), ("redirect", "protected/"), ("redirect", "/../"),
        ("buffering", "no"), ("buffering", 1), ("charset", "utf 8"),
        ("charset", "a\nb"), ("charset", 8), ("expires", "off"), ("expires", -1),
        ("expires", 3600.0), ("expires", True), ("limit", "off"), ("limit", -1),
        ("limit", "5k"), ("limit", 5120.0), ("limit", False),
    ],
)  # fmt: skip
def test_wrong_arguments(
    make_app: MakeApp, tree: Path, argument: str, value: Any
) -> None:
    """A value that nginx would ignore is an error, with or without nginx."""
    for config in (NGINX, {}):
        app, kaccel = make_app(**config)
        with (
            app.test_request_context(),
            pytest.raises(InvalidValueError, match=f"^{argument} is .*: give "),
        ):
            kaccel.send_file(tree / "a.txt", **{argument: value})


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.1:8001", False),
        ("example.com", False),
    ],
)
def test_request_to_the_apps_own_address(
    make_app: MakeApp, host: str, own: bool
) -> None:
    """A request to the app itself gets the file from the app."""
    app, _ = make_app(KACCEL_HOST="127.0.0.1:8000", **NGINX)
    response = app.test_client().get("/send?a.txt", headers={"Host": host})
    assert bool(internal_headers(response)) is not own
    assert response.data == (b"plain\n" if own else b"")


@pytest.mark.parametrize("host", ["localhost", "localhost:80"])
def test_own_address_with_the_default_port(make_app: MakeApp, host: str) -> None:
    """The port of the scheme may be there or not."""
    app, _ = make_app(KACCEL_HOST=host, **NGINX)
    response = app.test_client().get("/send?a.txt", headers={"Host": host})
    assert not internal_headers(response)


@pytest.mark.parametrize("host", ["mybox:8000", "MyBox:8000", "MYBOX:8000"])
def test_own_address_in_any_case(make_app: MakeApp, host: str) -> None:
    """Browsers write a host in lower case, however it is configured."""
    app, _ = make_app(KACCEL_HOST="MyBox:8000", **NGINX)
    response = app.test_client().get("/send?a.txt", headers={"Host": host})
    assert not internal_headers(response)


@pytest.mark.parametrize(
    ("headers", "handed"),
    [
        pytest.param({}, False, id="none"),
        pytest.param({"X-Kaccel-Secret": "wrong"}, False, id="wrong"),
        pytest.param({"X-Kaccel-Secret": "caf\xe9"}, False, id="not-ascii"),
        pytest.param({"X-Kaccel-Secret": SECRET}, True, id="right"),
    ],
)
def test_secret(make_app: MakeApp, headers: Any, handed: bool) -> None:
    """Only a request with the secret came through nginx."""
    app, _ = make_app(KACCEL_SECRET=SECRET, **NGINX)
    response = app.test_client().get("/send?a.txt", headers=headers)
    assert bool(internal_headers(response)) is handed
    assert response.data == (b"" if handed else b"plain\n")


def test_client_headers_choose_nothing(make_app: MakeApp, flask_client: Any) -> None:
    """A client cannot turn on what the configuration has not."""
    response = flask_client.get(
        "/send?a.txt",
        headers={
            "X-Accel-Mapping": "/=/protected/",
            "X-Accel-Redirect": "/protected/",
            "X-Sendfile-Type": "X-Accel-Redirect",
        },
    )
    assert not internal_headers(response)


def test_x_sendfile(make_app: MakeApp, tree: Path) -> None:
    """Apache gets the path, a validator, and nothing that only nginx reads."""
    app, _ = make_app(KACCEL_BACKEND="x-sendfile")
    client = app.test_client()
    response = client.get("/send?a%20b.txt", headers={"Range": "bytes=0-1"})
    other = client.get(f"/send?{quote('naïve-日本語-🙂.txt')}")
    assert response.status_code == 200
    assert response.headers["X-Sendfile"] == f"{tree}/a b.txt"
    assert response.headers["ETag"] == '"6553f100-5"'
    assert internal_headers(response) == {"x-sendfile"}
    raw = other.headers["X-Sendfile"].encode("latin-1")
    assert raw.decode() == f"{tree}/naïve-日本語-🙂.txt"


@pytest.mark.parametrize(
    "name", ["100%25.txt", "a%2520b.txt", "a%0Ab.txt", "caf%E9.txt"]
)
def test_x_sendfile_without_a_safe_form(make_app: MakeApp, name: str) -> None:
    """Flask sends what Apache and lighttpd would read differently, or not at all."""
    client = make_app(KACCEL_BACKEND="x-sendfile")[0].test_client()
    response = client.get(f"/send?{name}")
    assert response.status_code == 200
    assert response.data
    assert not internal_headers(response)


def test_flask_backend_ignores_prefixes(make_app: MakeApp) -> None:
    """One key turns nginx off where everything else is configured for it."""
    app, _ = make_app(KACCEL_BACKEND="flask", **NGINX)
    assert app.test_client().get("/send?a.txt").data == b"plain\n"


def test_status_of_its_own(make_app: MakeApp) -> None:
    """Nginx would make every status 200, so another one is sent by Flask."""
    app, kaccel = make_app(KACCEL_LIMIT_RATE=5, **NGINX)

    @app.errorhandler(410)
    def gone(error: Exception) -> Any:
        return kaccel.send_from_directory("page.html"), 410

    @app.get("/gone")
    def is_gone() -> Any:
        flask.abort(410)

    @app.get("/uri")
    def uri() -> Any:
        return kaccel.redirect("/protected/a.txt"), 410

    response = app.test_client().get("/gone", headers={"Range": "bytes=0-0"})
    assert response.status_code == 410
    assert response.data == b"<p>hello"
    assert not internal_headers(response)
    # nginx would answer 200 from there.
    refused = app.test_client().get("/uri")
    assert (refused.status_code, refused.data) == (410, b"")
    assert not internal_headers(refused)


def fail(*args: object) -> None:
    """Stand in for what a process without the rights to a file gets."""
    raise PermissionError(13, "Permission denied")


def test_file_that_cannot_be_read(
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file that this process may not read is missing, and the log says why."""
    app, kaccel = make_app(**NGINX)

    @app.get("/gone")
    def gone() -> Any:
        return kaccel.send_from_directory("a.txt"), 410

    monkeypatch.setattr(Path, "open", fail)
    assert make_app()[0].test_client().get("/send?a.txt").status_code == 404
    assert app.test_client().get("/gone").status_code == 404
    assert caplog.text.count("a.txt' cannot be sent: Permission denied") == 2


def test_what_is_logged(
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator learns of links and rights; a missing file is nobody's fault."""
    client = make_app(**NGINX)[0].test_client()
    client.get("/send?missing%0Ainjected")
    assert not caplog.records
    client.get("/send?outside/secret%0Ainjected")
    assert "points outside" in caplog.text
    monkeypatch.setattr("os.lstat", fail)
    client.get("/send?a.txt")
    assert "a.txt' cannot be accessed by this process" in caplog.text
    assert len(caplog.text.splitlines()) == len(caplog.records) == 2


def test_directory_that_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts, for the directory may come later, but its log says why."""
    app = Flask(__name__)
    app.config["KACCEL_FILES_PATH"] = str(tmp_path / "missing")
    kaccel = Kaccel(app)
    with app.test_request_context():
        assert kaccel.send_from_directory("a.txt") is None
    assert f"the directory '{tmp_path}/missing/' does not exist" in caplog.text


def test_redirect_to_internal_locations(make_app: MakeApp, leave: Any) -> None:
    """A path, a named location and a mapped URL are handed to nginx as they are."""
    stores = {"http://127.0.0.1:9000/": "/s3/", "https://store.example/b/": "/b/"}
    app, kaccel = make_app(KACCEL_MAPPINGS=stores, **NGINX)
    for uri, internal in (
        ("/private/a%20b.txt?x=1&y=%2F", "/private/a%20b.txt?x=1&y=%2F"),
        ("/private/a?next=https://host/", "/private/a?next=https://host/"),
        ("@files", "@files"),
        ("http://127.0.0.1:9000/b/k%2Bey?X=%2F", "/s3/b/k%2Bey?X=%2F"),
    ):
        for method in ("GET", "HEAD"):
            response = leave(app, lambda uri=uri: kaccel.redirect(uri), method=method)
            assert dict(response.headers) == {
                "Content-Length": "0",
                "X-Accel-Redirect": internal,
            }


def test_redirect_without_nginx(make_app: MakeApp) -> None:
    """Without nginx in front, the view has to do something else."""
    app, kaccel = make_app(KACCEL_MAPPINGS={}, KACCEL_BACKEND="flask")
    with app.test_request_context():
        assert kaccel.redirect("/private/a.txt") is None
        assert kaccel.redirect("http://127.0.0.1:9000/a.txt") is None
    app, kaccel = make_app(KACCEL_BACKEND="nginx")
    with app.test_request_context():
        assert kaccel.redirect("/private/a.txt") is not None
        assert kaccel.redirect("http://127.0.0.1:9000/a.txt") is None


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("file_path", None), ("file_path", b"/a.txt"), ("file_path", io.BytesIO()),
        ("mimetype", 5), ("mimetype", "html"), ("mimetype", "text/html\r\nX: y"),
        ("mimetype", ["text/html"]), ("as_attachment", "no"), ("as_attachment", []),
        ("download_name", 5), ("download_name", Path("b.txt")), ("max_age", "60"),
        ("max_age", True), ("max_age", timedelta(1)), ("last_modified", "today"),
        ("delete", "no"),
    ],
)  # fmt: skip
def test_natural_mistakes(
    make_app: MakeApp, tree: Path, argument: str, value: Any
) -> None:
    """A mistake in a common argument names it, with or without nginx."""
    for config in (NGINX, {}):
        app, kaccel = make_app(**config)
        arguments: dict[str, Any] = {"file_path": tree / "a.txt", argument: value}
        with (
            app.test_request_context(),
            pytest.raises(InvalidValueError, match=f"^{argument} is .*: give "),
        ):
            kaccel.send_file(**arguments)


def test_natural_mistakes_of_others(make_app: MakeApp) -> None:
    """So does one in the arguments of the other methods."""
    app, kaccel = make_app(SECRET_KEY="key", **NGINX)
    anything: Any = None
    with app.test_request_context():
        with pytest.raises(InvalidValueError, match=r"^filename is None: give a path"):
            kaccel.send_from_directory(anything)
        with pytest.raises(InvalidValueError, match=r"^filename is None: give a path"):
            kaccel.sign(anything, 5)
        with pytest.raises(InvalidValueError, match=r"^download_name is 5: give a na"):
            kaccel.sign("a.txt", 5, download_name=5)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match=r"^file_path is None: give a path"):
            kaccel.filesize(anything)
        with pytest.raises(InvalidValueError, match=r"^response is None: give a resp"):
            kaccel.control(anything, buffering=False)
        assert kaccel.send_signed(anything) is None


def test_misspelt_keywords(make_app: MakeApp) -> None:
    """A misspelt keyword is an error that names a public method."""
    app, kaccel = make_app(**NGINX)
    wrong: Any = {"as_attachmnt": True}
    with app.test_request_context():
        methods: tuple[Any, ...] = (kaccel.send_file, kaccel.send_file_or_404)
        for method in methods:
            with pytest.raises(TypeError, match=r"^Kaccel\.send_file\(\) got an .*mnt"):
                method("a.txt", **wrong)
        methods = (kaccel.send_from_directory, kaccel.send_from_directory_or_404)
        for method in methods:
            with pytest.raises(TypeError, match=r"^Kaccel\.send_from_d.* got an .*mnt"):
                method("a.txt", **wrong)


@pytest.mark.parametrize("name", ["send_file", "send_from_directory", "send_signed"])
def test_or_404_takes_the_same(make_app: MakeApp, name: str) -> None:
    """The methods that raise show the arguments of the others, and call them."""
    one, other = getattr(Kaccel, name), getattr(Kaccel, f"{name}_or_404")
    assert inspect.signature(one) == inspect.signature(other)
    assert other.__name__ == f"{name}_or_404"
    assert f":meth:`{name}`" in other.__doc__

    class Refusing(Kaccel):
        pass

    setattr(Refusing, name, lambda *_: None)
    with pytest.raises(NotFound, match="404"):
        getattr(Refusing(), f"{name}_or_404")("a.txt")


@pytest.mark.parametrize(
    "uri",
    [
        "", "private/a.txt", "//host/a", "/a b", "/a\r\nX: y",
        "/100%", "/%zz", "/%00", "/../a", "/a/%2e%2e/b", "/a/..%2fb", "/a/./b", "/a#b",
        "/é", "@", "@name?x", "@na me", "/a?b c", None, 5,
    ],
)  # fmt: skip
def test_redirect_refuses(make_app: MakeApp, uri: Any) -> None:
    """A value that nginx would take for something else is an error."""
    app, kaccel = make_app(**NGINX)
    with (
        app.test_request_context(),
        pytest.raises(InvalidValueError, match=r"^uri is .*: give a percent-encoded"),
    ):
        kaccel.redirect(uri)


def test_control(make_app: MakeApp) -> None:
    """An ordinary response tells nginx how to treat it, where nginx is."""
    app, kaccel = make_app(**NGINX)
    moment = datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # UTC is meant
    with app.test_request_context():
        response = kaccel.control(
            Response("x"), buffering=True, expires=moment, limit=1
        )
    assert response.headers["X-Accel-Buffering"] == "yes"
    assert response.headers["X-Accel-Expires"] == "@1893456000"
    assert response.headers["X-Accel-Limit-Rate"] == "1"
    app, kaccel = make_app(KACCEL_BACKEND="nginx")
    with app.test_request_context():
        response = kaccel.control(Response("x"), buffering=False)
    assert response.headers["X-Accel-Buffering"] == "no"
    app, kaccel = make_app()
    with app.test_request_context():
        response = kaccel.control(Response("x"), buffering=False)
        assert not internal_headers(response)
        with pytest.raises(InvalidValueError, match=r"^limit is 'off'"):
            kaccel.control(response, limit="off")  # type: ignore[arg-type]  # the point


def test_paths(tree: Path) -> None:
    """The helpers tell a file's size, name, suffix and type, or None."""
    kaccel = Kaccel()
    assert kaccel.filesize(tree / "a.txt") == 6
    assert kaccel.filesize(str(tree / "empty.txt")) == 0
    assert kaccel.filesize(tree / "sub") is None
    assert kaccel.filesize(tree / "missing") is None
    assert kaccel.filename("/srv/a b.txt") == "a b.txt"
    assert kaccel.filename("/srv/") is None
    assert kaccel.extension("/srv/A.TXT") == ".TXT"
    assert kaccel.extension("/srv.d/a") is None
    assert kaccel.mimetype("/srv/A.TXT") == "text/plain"
    assert kaccel.mimetype("/srv/a") == "application/octet-stream"


def test_two_apps_with_one_extension(tree: Path, leave: Any) -> None:
    """Each app has its own configuration."""
    kaccel = Kaccel()
    for prefix in ("/one/", "/two/"):
        app = Flask(__name__)
        app.config.update(KACCEL_FILES_PATH=str(tree), KACCEL_REDIRECT_PATH=prefix)
        kaccel.init_app(app)
        response = leave(app, lambda: kaccel.send_from_directory("a.txt"))
        assert response.headers["X-Accel-Redirect"] == f"{prefix}a.txt"


def test_setup_errors(make_app: MakeApp) -> None:
    """Setting up twice, or not at all, is an error that says so."""
    app, kaccel = make_app()
    with pytest.raises(SetupError, match="is already set up on"):
        kaccel.init_app(app)
    with pytest.raises(SetupError, match=r"call Kaccel\(\).init_app\(app\) first"):
        nginx_locations(Flask(__name__))


def test_file_larger_than_memory(make_app: MakeApp, tree: Path) -> None:
    """Only what is asked for is read."""
    path = tree / "sparse.bin"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)
    client = make_app()[0].test_client()
    whole = client.head("/send?sparse.bin")
    assert whole.headers["Content-Length"] == "5368709120"
    tail = client.get("/send?sparse.bin", headers={"Range": "bytes=-3"})
    assert tail.data == b"\0\0\0"
    assert tail.headers["Content-Range"] == "bytes 5368709117-5368709119/5368709120"
    path.unlink()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("wanted", ["", "bytes=0-1", "bytes=0-1,3-4"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_closes_its_file(flask_client: FlaskClient, method: str, wanted: str) -> None:
    """A file is closed however the response ends, unread ones too."""
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    response = flask_client.open(
        "/send?10k.bin", method=method, headers={"Range": wanted}, buffered=False
    )
    response.close()
    assert len(list(descriptors.iterdir())) == before
