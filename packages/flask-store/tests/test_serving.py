"""Sending stored files to browsers."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from flask_store import Store
from flask_store import _serving
from flask_store._serving import UrlSigner
from flask_store.stores import BaseStore
from flask_store.stores.local import LocalStore


OFFICE = "application/vnd.openxmlformats-officedocument"


@pytest.fixture(params=["local.LocalStore", "memory.MemoryStore"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Flask:
    """An app with each provider that serves."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="secret",
        STORE_PATH=str(tmp_path / "uploads"),
        STORE_PROVIDER=f"flask_store.stores.{request.param}",
    )
    return app


@pytest.fixture
def provider(app: Flask) -> BaseStore:
    """The app's provider."""
    store = Store(app)
    with app.app_context():
        return store.Provider()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


@pytest.mark.parametrize(
    ("name", "mimetype", "inline"),
    [
        ("a.png", "image/png", True),
        ("a.webp", "image/webp", True),
        ("a.txt", "text/plain", True),
        ("a.pdf", "application/pdf", True),
        ("a.mp4", "video/mp4", True),
        ("a.html", "text/html", False),
        ("A.HTML", "text/html", False),
        ("a.xhtml", "application/octet-stream", False),
        ("a.svg", "image/svg+xml", False),
        ("a.svgz", "application/octet-stream", False),
        ("a.xml", "text/xml", False),
        ("a.mjs", "text/javascript", False),
        ("a.ogg", "audio/ogg", True),
        ("a.flac", "audio/flac", True),
        ("a.m4a", "audio/mp4", True),
        ("a.mkv", "video/matroska", True),
        ("a.woff2", "font/woff2", False),
        ("a.md", "text/markdown", False),
        ("a.docx", f"{OFFICE}.wordprocessingml.document", False),
        ("a.xlsx", f"{OFFICE}.spreadsheetml.sheet", False),
        ("a.css", "text/css", False),
        ("a.tar.gz", "application/gzip", False),
        ("a.unknown", "application/octet-stream", False),
        ("a", "application/octet-stream", False),
    ],
)
def test_types(
    provider: BaseStore, client: FlaskClient, name: str, mimetype: str, inline: bool
) -> None:
    """Only what runs nothing is shown; all else is downloaded, as what it is."""
    provider.save(io.BytesIO(b"x"), name)
    with client.get(f"/flaskstore/{name}") as response:
        assert response.mimetype == mimetype
        disposition = response.headers["Content-Disposition"]
        assert disposition.startswith("inline" if inline else "attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        policy = response.headers.get("Content-Security-Policy", "")
        assert ("sandbox" in policy) == (mimetype != "application/pdf")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["a.html", "a.png", "a.pdf"])
def test_hooks_cannot_unlock(app: Flask, first: bool, name: str) -> None:
    """A hook that sets the site's policy does not replace that of an upload."""

    class Own(Response):
        """The app's own class of responses."""

    def replace(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        response.headers["X-Content-Type-Options"] = "anything"
        return response

    app.response_class = Own
    if first:
        app.after_request(replace)
    store = Store(app)
    if not first:
        app.after_request(replace)
    with app.app_context():
        provider = store.Provider()
        provider.save(io.BytesIO(b"x"), name)
    etag = ""
    for status in (200, 304 if isinstance(provider, LocalStore) else 200):
        sent = {"If-None-Match": etag}
        with app.test_client().get(f"/flaskstore/{name}", headers=sent) as response:
            assert response.status_code == status
            etag = response.headers.get("ETag", "")
            policies = response.headers.getlist("Content-Security-Policy")
            assert policies[0] == "default-src 'self'"
            sandboxes = [it for it in policies if it.endswith("; sandbox")]
            assert len(sandboxes) == (name != "a.pdf")
            assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_conditional_and_range(provider: BaseStore, client: FlaskClient) -> None:
    """Parts are sent, and nothing that the client has."""
    provider.save(io.BytesIO(b"0123456789"), "a.txt")
    with client.get("/flaskstore/a.txt") as whole:
        assert whole.data == b"0123456789"
    url = "/flaskstore/a.txt"
    with client.get(url, headers={"Range": "bytes=2-4"}) as part:
        assert (part.status_code, part.data) == (206, b"234")
        assert part.headers["Content-Range"] == "bytes 2-4/10"
    with client.get(url, headers={"Range": "bytes=20-"}) as beyond:
        assert beyond.status_code == 416
    since = {"If-Modified-Since": whole.headers["Last-Modified"]}
    with client.get(url, headers=since) as same:
        assert same.status_code == 304
    with client.head(url) as head:
        assert (head.content_length, head.data) == (10, b"")


@pytest.mark.parametrize(
    "name",
    [
        "none.txt",
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        ".spool-1",
        "a/../../secret.txt",
        "folder",
        "a.txt/b",
        "%00",
        "x" * 300,
    ],
)
def test_what_is_not_there(
    app: Flask, provider: BaseStore, client: FlaskClient, name: str, tmp_path: Path
) -> None:
    """Whatever is not a file of the store is not found, nothing else."""
    (tmp_path / "secret.txt").write_text("secret")
    provider.save(io.BytesIO(b"x"), "a.txt")
    provider.save(io.BytesIO(b"x"), "folder/b.txt")
    (tmp_path / "uploads" / ".spool-1").parent.mkdir(exist_ok=True)
    (tmp_path / "uploads" / ".spool-1").write_text("half")
    with client.get(f"/flaskstore/{name}") as response:
        assert response.status_code == 404
        assert str(tmp_path) not in response.get_data(as_text=True)


def test_private(app: Flask, client: FlaskClient) -> None:
    """A private store opens to signed URLs, until they end."""
    app.config["STORE_PRIVATE"] = True
    store = Store(app)
    with app.app_context():
        provider = store.Provider("folder")
        file = provider.save(io.BytesIO(b"content"), "ä.txt")
        other = provider.save(io.BytesIO(b"other"), "b.txt")
        signed = file.url(expires=60)
        ended = file.url(expires=-1)
        query = signed.partition("?")[2]
    with client.get(signed) as response:
        assert (response.status_code, response.data) == (200, b"content")
    for url in (
        file.absolute_url(),
        ended,
        f"{other.absolute_url()}?{query}",
        signed.replace("expires=", "expires=1"),
        signed.replace("expires=", "expires=x"),
        signed[:-1],
        f"{other.absolute_url()}x?{query}",
    ):
        assert client.get(url).status_code == 403


def test_signer() -> None:
    """Old keys go on to verify; a signature fits one name and one end."""
    now = time.time()
    ends = int(now) + 10
    old = UrlSigner(("old",)).sign("a.txt", ends)
    both = UrlSigner((b"old", "new"))
    assert both.verify("a.txt", str(ends), old, now)
    assert both.sign("a.txt", ends) != old
    assert not UrlSigner(("new",)).verify("a.txt", str(ends), old, now)
    assert not both.verify("b.txt", str(ends), old, now)
    assert not both.verify("a.txt", str(ends), old, now + 11)
    assert not both.verify("a.txt", "²", old, now)


def test_types_do_not_depend_on_the_machine() -> None:
    """The system's list of types is not asked."""
    assert _serving.content_type("a.jpg") == "image/jpeg"
    assert _serving.content_type("C:a.jpg?x") == "application/octet-stream"
