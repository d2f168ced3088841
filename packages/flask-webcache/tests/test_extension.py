"""Setting up: two handlers, several apps, and the order of hooks."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from cachelib import SimpleCache
from flask import Flask
from flask import Response
from flask import request

import flask_webcache
from flask_webcache import Config
from flask_webcache import RequestHandler
from flask_webcache import ResponseHandler
from flask_webcache import SetupError
from flask_webcache import WebCache
from flask_webcache import easy_setup
from flask_webcache._rules.policy import Refusal
from flask_webcache.storage import Metadata


def page() -> Response:
    """Return a page that may be stored."""
    return Response("page", headers={"Cache-Control": "max-age=60"})


def test_names() -> None:
    """The names in the documentation exist."""
    from flask_webcache.handlers import RequestHandler as Handler
    from flask_webcache.storage import Config as StorageConfig
    from flask_webcache.storage import Retrieval
    from flask_webcache.storage import Store
    from flask_webcache.validation import Validation

    assert Handler is RequestHandler
    assert StorageConfig is Config is flask_webcache.Config
    assert issubclass(RequestHandler, Retrieval)
    assert issubclass(ResponseHandler, Store)
    assert issubclass(Store, Validation)
    metadata = Metadata(("accept",), "salt")
    assert (metadata.vary, metadata.salt) == (("accept",), "salt")
    assert Metadata().salt != Metadata().salt


def test_easy_setup() -> None:
    """Both handlers at once, with a cache and a configuration of one's own."""
    app = Flask(__name__)
    config = Config(cache_name="mine", resource_exemptions=("/api",))
    easy_setup(app, SimpleCache(), config)
    state = app.extensions["webcache"]
    assert state.config.resource_exemptions == ("/api", "/static/")
    app.add_url_rule("/", view_func=page)
    response = app.test_client().get("/")
    assert response.headers["Cache-Status"] == "mine; fwd=uri-miss; stored"


@pytest.mark.parametrize(("debug", "salt"), [(True, ""), (True, "x"), (False, "")])
def test_salt_in_debug(debug: bool, salt: str) -> None:
    """In debug mode each start has a salt of its own, unless there is one."""
    salts = []
    for _ in range(2):
        app = Flask(__name__)
        app.debug = debug
        WebCache(app, config=Config(master_salt=salt))
        salts.append(app.extensions["webcache"].config.master_salt)
    assert (salts[0] == salts[1]) is bool(salt or not debug)


def test_no_static_folder() -> None:
    """Without static files nothing is exempt."""
    app = Flask(__name__, static_folder=None)
    WebCache(app)
    assert app.extensions["webcache"].config.resource_exemptions == ()


def test_handlers_apart() -> None:
    """Requests run from top to bottom, responses from bottom to top."""
    app = Flask(__name__)
    cache, log = SimpleCache(), []

    @app.before_request
    def log_request() -> None:
        log.append("request")

    @app.after_request
    def log_response(response: Response) -> Response:
        log.append(response.headers["X-Cache"])
        return response

    RequestHandler(cache, app)

    @app.before_request
    def after_the_handler() -> None:
        log.append("not for hits")

    ResponseHandler(cache).init_app(app)

    @app.after_request
    def compress(response: Response) -> Response:
        if "Content-Encoding" not in response.headers:
            log.append("compressed")
            response.set_data(gzip.compress(response.get_data()))
            response.headers["Content-Encoding"] = "gzip"
        return response

    app.add_url_rule("/", view_func=page)
    bodies = [app.test_client().get("/").data for _ in range(2)]
    assert gzip.decompress(bodies[0]) == b"page"
    assert bodies[0] == bodies[1]
    assert log == ["request", "not for hits", "compressed", "miss", "request", "hit"]


def test_one_handler_alone() -> None:
    """A handler of responses stores without one of requests, and the other way."""
    cache = SimpleCache()
    one = Flask("one")
    ResponseHandler(cache, one)
    one.add_url_rule("/", view_func=page, methods=["GET", "POST"])
    client = one.test_client()
    assert client.get("/").headers["Cache-Status"].endswith("stored")
    assert client.get("/").headers["X-Cache"] == "miss"
    assert client.post("/").status_code == 200
    client.get("/")
    other = Flask("other")
    RequestHandler(cache, other)
    assert other.test_client().get("/").text == "page"
    assert other.test_client().get("/x").status_code == 404


@pytest.mark.parametrize("handler", [RequestHandler, ResponseHandler])
def test_handler_twice(handler: Any) -> None:
    """The same handler twice is a mistake."""
    app = Flask(__name__)
    handler(app=app)
    with pytest.raises(SetupError, match="already"):
        handler().init_app(app)


def test_use_outside() -> None:
    """Without an app there is nothing to purge."""
    with pytest.raises(SetupError, match="needs an app context"):
        WebCache().purge_all()
    with (
        Flask(__name__).app_context(),
        pytest.raises(SetupError, match=r"call WebCache\(\).init_app\(app\) first"),
    ):
        WebCache().purge_all()


def test_fast_path_around_middleware() -> None:
    """Middleware that is there first is inside: its work is done before the storing."""
    app = Flask(__name__)
    inner, calls = app.wsgi_app, []

    def middleware(environ: Any, start_response: Any) -> Any:
        calls.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]
    WebCache(app, fast=True)
    app.add_url_rule("/", view_func=page)
    for said in ("miss", "hit", "hit"):
        assert app.test_client().get("/").headers["X-Cache"] == said
    assert calls == ["/"]


def test_fast_path_runs_no_hook() -> None:
    """A fast hit comes from below the app, through the middleware around it."""
    app = Flask(__name__)
    WebCache(app, fast=True)
    inner, hooks, outside = app.wsgi_app, [], []

    def middleware(environ: Any, start_response: Any) -> Any:
        outside.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]
    app.before_request(lambda: hooks.append(request.path))
    app.add_url_rule("/", view_func=page)
    for _ in range(2):
        assert app.test_client().get("/").text == "page"
    assert (len(hooks), len(outside)) == (1, 2)


def test_fast_path_on_a_shared_backend(tmp_path: Any) -> None:
    """A miss of the fast path is not looked up again."""
    app = Flask(__name__)
    app.config["WEBCACHE_URL"] = f"file://{tmp_path}"
    WebCache(app, fast=True)
    reads: list[Any] = []
    cache = app.extensions["webcache"].cache.stock.vault._cache
    get_many = cache.get_many

    def note(*names: Any) -> Any:
        reads.append(names)
        return get_many(*names)

    cache.get_many = note
    app.add_url_rule("/", view_func=page)
    client = app.test_client()
    client.get("/")
    # One to look, one to look again with the lead.
    assert len(reads) == 2
    for _ in range(2):
        assert client.get("/").headers["X-Cache"] == "hit"
    assert len(reads) == 4


def test_customised() -> None:
    """Subclasses change one decision each."""

    class Requests(RequestHandler):
        def may_answer(self, environ: dict[str, Any]) -> bool:
            return "HTTP_X_DEBUG" not in environ

    class Responses(ResponseHandler):
        def should_store(self, exchange: Any) -> Refusal | None:
            if exchange.environ["PATH_INFO"] == "/never":
                return Refusal.EXEMPT
            return super().should_store(exchange)

        def make_etag(self, body: bytes) -> str:
            return '"mine"'

    app = Flask(__name__)
    Requests(app=app)
    Responses(app=app)
    app.add_url_rule("/<name>", view_func=lambda name: page())
    client = app.test_client()
    assert client.get("/a").headers["ETag"] == '"mine"'
    assert client.get("/a").headers["X-Cache"] == "hit"
    assert client.get("/a", headers={"X-Debug": "1"}).headers["X-Cache"] == "miss"
    assert "exempt" in client.get("/never").headers["Cache-Status"]


def test_no_etags() -> None:
    """Automatic tags can be turned off."""
    app = Flask(__name__)
    app.config["WEBCACHE_ETAGS"] = False
    WebCache(app)
    app.add_url_rule("/", view_func=page)
    assert "ETag" not in app.test_client().get("/").headers


def test_several_processes(caplog: pytest.LogCaptureFixture) -> None:
    """A cache in each process of a server is a warning, once."""
    app = Flask(__name__)
    WebCache(app)
    app.add_url_rule("/<name>", view_func=lambda name: page())
    for name in "ab":
        app.test_client().get(f"/{name}", multiprocess=True)
    assert caplog.text.count("Set WEBCACHE_URL to a shared backend") == 1


def test_bytes_as_secret_key() -> None:
    """A secret key may be bytes."""
    app = Flask(__name__)
    app.secret_key = b"\xff"
    WebCache(app)
    assert "webcache" in app.extensions


def test_stats() -> None:
    """Answers are counted."""
    app = Flask(__name__)
    cache = WebCache(app)
    app.add_url_rule("/", view_func=page)
    for _ in range(3):
        app.test_client().get("/")
    with app.app_context():
        stats = cache.stats()
    counted = {name: number for name, number in stats.items() if number}
    assert counted == {"hit": 2, "miss": 1, "miss.uri-miss": 1, "stored": 1}


def test_failure_before_the_handler() -> None:
    """A hook that fails before the cache sees the request has no effect on it."""
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.before_request
    def fail() -> None:
        raise OSError

    RequestHandler(app=app)
    assert app.test_client().get("/").status_code == 500
