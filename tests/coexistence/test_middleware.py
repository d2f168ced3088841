"""Middleware and page wrappers: WhiteNoise, SocketIO, the toolbar, Flask-Caching."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path
from typing import Any
from typing import ClassVar

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import FILE
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestWhiteNoise(Coexists):
    subject = Subject("WhiteNoise", "whitenoise")

    def attach(self, app: Flask) -> None:
        from whitenoise import WhiteNoise

        assets = Path(app.instance_path).parent / "assets"
        assets.mkdir()
        (assets / "style.css").write_text("body {}")
        wrapped = WhiteNoise(app.wsgi_app, root=str(assets), prefix="assets/")
        app.wsgi_app = wrapped  # type: ignore[method-assign]

    @pytest.mark.cell("flask-webcache")
    def test_assets(self, client: FlaskClient) -> None:
        """Its files are its own: never looked up, never decorated."""
        for _ in range(2):
            with client.get("/assets/style.css") as asset:
                assert asset.data == b"body {}"
                assert "Cache-Status" not in asset.headers


class TestSocketIO(Coexists):
    subject = Subject("Flask-SocketIO, gevent", "Flask-SocketIO")

    def attach(self, app: Flask) -> None:
        from flask_socketio import SocketIO

        self.socketio = SocketIO(app, async_mode="gevent")
        self.socketio.on_event("question", lambda question: f"answer to {question}")

    @pytest.mark.cell("flask-webcache")
    def test_handshake(self, app: Flask) -> None:
        """Each client gets a session of its own."""
        seen = set()
        for _ in range(3):
            answer = app.test_client().get("/socket.io/?EIO=4&transport=polling")
            assert answer.status_code == 200
            assert answer.text.startswith('0{"sid":')
            seen.add(answer.text)
        assert len(seen) == 3

    @pytest.mark.cell("flask-streaming")
    def test_messages(self, app: Flask) -> None:
        """A client sends a message and gets a reply."""
        client = self.socketio.test_client(app)
        assert client.emit("question", "why", callback=True) == "answer to why"
        client.disconnect()


class TestDebugToolbar(Coexists):
    subject = Subject("Flask-DebugToolbar", "Flask-DebugToolbar")
    cacheable = False

    def make(self, directory: Path) -> Flask:
        app = super().make(directory)
        app.debug = True
        return app

    def attach(self, app: Flask) -> None:
        from flask_debugtoolbar import DebugToolbarExtension

        DebugToolbarExtension(app)

    @pytest.mark.cell("flask-webcache")
    def test_hit(self, app: Flask) -> None:
        """The toolbar is in the page once, whether the page was made or stored."""
        for _ in range(3):
            page = app.test_client().get("/page").text
            assert page.count('id="flDebug"') == 1
            assert page.count("</html>") == 1


class Caching(Coexists):
    """Views whose answers Flask-Caching keeps."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> dict[str, Any]:
        directory = str(tmp_path / "caching")
        return {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": directory}

    def attach(self, app: Flask) -> None:
        from flask_caching import Cache

        self.cache = Cache(app)

    def add_views(self, app: Flask, five: Five) -> None:
        runs = count(1)

        @app.get("/kept")
        @self.cache.cached(timeout=60)
        def kept() -> Response:
            return Response(f"run {next(runs)}")

        @app.get("/kept-and-cached")
        @cache_for(minutes=1)
        @self.cache.cached(timeout=60)
        def kept_and_cached() -> Response:
            return Response(f"run {next(runs)}")

        @app.get("/kept-file")
        @self.cache.cached(timeout=60)
        def kept_file() -> Response:
            return five.download()

    @pytest.mark.cell("flask-kaccel")
    def test_kept(self, client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
        """A view that returns a response runs once."""
        for _ in range(3):
            assert client.get("/kept").text == "run 1"
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []

    @pytest.mark.cell("flask-kaccel")
    def test_kept_file(self, client: FlaskClient) -> None:
        """A view that sends a file goes on sending it."""
        for _ in range(2):
            with client.get("/kept-file") as sent:
                assert sent.data == FILE

    @pytest.mark.cell("flask-webcache")
    def test_both(self, client: FlaskClient) -> None:
        """Both keep one view: the answer is the first one, and a hit."""
        assert client.get("/kept-and-cached").text == "run 1"
        again = client.get("/kept-and-cached")
        assert again.text == "run 1"
        assert is_hit(again)


class TestCaching(Caching):
    subject = Subject("Flask-Caching", "Flask-Caching")


class TestCachingStatic(Caching):
    subject = Subject("Flask-Caching, `Kaccel(static=True)`", "Flask-Caching")
    options: ClassVar = {"static": True}
