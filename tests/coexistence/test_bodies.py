"""Flask-Compress and Flask-Babel: one page in several encodings and languages."""

from __future__ import annotations

import pytest
from flask import Flask
from flask import Response
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from coexistence.contract import Coexists
from coexistence.contract import decoded
from coexistence.contract import is_hit
from coexistence.five import LONG
from coexistence.five import Five
from flask_webcache.modifiers import cache_for
from harness.compatibility import Subject


class TestCompress(Coexists):
    subject = Subject("Flask-Compress", "Flask-Compress")

    @pytest.fixture
    def config(self) -> dict[str, object]:
        return {
            "COMPRESS_MIN_SIZE": 1,
            "COMPRESS_ALGORITHM": ["gzip", "deflate"],
            "COMPRESS_MIMETYPES": ["text/html", "text/csv"],
        }

    def attach(self, app: Flask) -> None:
        from flask_compress import Compress

        Compress(app)

    def add_views(self, app: Flask, five: Five) -> None:
        @app.get("/text")
        @cache_for(minutes=1)
        def text() -> str:
            return LONG

    def ask(self, client: FlaskClient, encoding: str | None) -> TestResponse:
        """Ask for the text in an encoding."""
        headers = {} if encoding is None else {"Accept-Encoding": encoding}
        return client.get("/text", headers=headers)

    @pytest.mark.cell("flask-webcache")
    def test_encodings(self, client: FlaskClient) -> None:
        """Each client gets the text in the encoding it takes, encoded once."""
        for turn in range(3):
            for encoding in ("gzip", None, "deflate"):
                answer = self.ask(client, encoding)
                assert answer.headers.get("Content-Encoding") == encoding
                assert decoded(answer) == LONG.encode()
                assert "Accept-Encoding" in answer.headers["Vary"]
                assert is_hit(answer) or turn == 0

    @pytest.mark.cell("flask-webcache")
    def test_validators(self, client: FlaskClient) -> None:
        """No two encodings share a strong validator, and a 304 repeats its own."""
        tags = {}
        for encoding in ("gzip", None, "deflate"):
            self.ask(client, encoding)
            tags[encoding] = self.ask(client, encoding).headers["ETag"]
        strong = [tag for tag in tags.values() if not tag.startswith("W/")]
        assert len(set(strong)) == len(strong)
        for tag in tags.values():
            headers = {"If-None-Match": tag, "Accept-Encoding": "gzip"}
            answer = client.get("/text", headers=headers)
            if answer.status_code == 304:
                assert answer.headers["ETag"] == tag
            else:
                assert decoded(answer) == LONG.encode()

    @pytest.mark.cell("flask-streaming")
    def test_compressed_stream(self, client: FlaskClient) -> None:
        """A stream that is compressed is whole."""
        answer = client.get("/rows.csv", headers={"Accept-Encoding": "deflate"})
        assert answer.headers["Content-Encoding"] == "deflate"
        expected = "".join(f"{number},{LONG}\r\n" for number in range(3))
        assert decoded(answer) == expected.encode()


class Languages(Coexists):
    """A page in German for clients that accept it, and in English for all others."""

    vary: bool

    def attach(self, app: Flask) -> None:
        from flask_babel import Babel

        def language() -> str | None:
            return request.accept_languages.best_match(["de", "en"])

        Babel(app, locale_selector=language)

    def add_views(self, app: Flask, five: Five) -> None:
        from flask_babel import get_locale

        @app.get("/greeting")
        @cache_for(minutes=1)
        def greeting() -> Response:
            words = {"de": "guten Tag", "en": "good day"}
            locale = get_locale()
            assert locale is not None
            response = Response(words[locale.language])
            if self.vary:
                response.vary.add("Accept-Language")
            return response

    @pytest.mark.cell("flask-webcache")
    @pytest.mark.parametrize("first", ["de", "en"])
    def test_languages(self, client: FlaskClient, first: str) -> None:
        """Each client reads its own language, whichever came first."""
        words = {"de": "guten Tag", "en": "good day"}
        other = "en" if first == "de" else "de"
        for language in (first, other, first, other):
            headers = {"Accept-Language": language}
            assert client.get("/greeting", headers=headers).text == words[language]

    @pytest.mark.cell("flask-webcache")
    def test_language_is_a_hit(self, client: FlaskClient) -> None:
        """A request for the same language is a hit."""
        headers = {"Accept-Language": "de"}
        client.get("/greeting", headers=headers)
        assert is_hit(client.get("/greeting", headers=headers))


class TestBabelVary(Languages):
    subject = Subject("Flask-Babel, with `Vary`", "flask-babel")
    vary = True


class TestBabel(Languages):
    subject = Subject("Flask-Babel, without `Vary`", "flask-babel")
    vary = False
