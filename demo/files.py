"""The files: a cached gallery, uploads that resume, downloads, links that expire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any
from typing import cast
from uuid import uuid4

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import current_app
from flask import make_response
from flask import redirect
from flask import render_template
from flask import request
from flask import session
from flask import url_for
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import Gone
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from demo.extensions import kaccel
from demo.extensions import store
from demo.extensions import webcache
from demo.journal import happened
from demo.journal import journal
from demo.recorder import note
from demo.recorder import visitor
from flask_store import FileWrapper
from flask_store import upload_finished
from flask_store.exceptions import InvalidNameError
from flask_store.exceptions import NotFoundError
from flask_store.stores.s3 import S3Store
from flask_webcache.modifiers import cache_control


files = Blueprint("files", __name__)

FOLDER, TRASH = "files", "trash"
PAGE = 60
#: Two clicks that are no more apart than this send a form once.
DOUBLE_CLICK = timedelta(seconds=10)
#: How long a deletion can be undone.
UNDO = timedelta(minutes=5)
LINK_SECONDS = 60
SHOWN = {
    **dict.fromkeys((".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp"), "picture"),
    **dict.fromkeys((".m4a", ".mp3", ".oga", ".ogg", ".wav"), "sound"),
    **dict.fromkeys((".mp4", ".ogv", ".webm"), "film"),
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as the pages show it."""

    name: str
    size: int
    url: str

    @property
    def kind(self) -> str:
        """Its extension, for the eye."""
        return PurePosixPath(self.name).suffix.lstrip(".").upper()[:5] or "FILE"

    @property
    def shown(self) -> str:
        """The element that shows it: a picture, a video, a sound, or none."""
        return SHOWN.get(PurePosixPath(self.name).suffix.lower(), "")

    @classmethod
    def of(cls, file: FileWrapper) -> File:
        """Return a stored file as pages show it; a link to S3 has to be signed."""
        return cls(file.filename, file.size, file.url(600 if in_s3() else None))


def in_s3() -> bool:
    """Return whether the files are in S3, which then sends them itself."""
    return isinstance(store.Provider(), S3Store)


@files.get("/")
@cache_control(s_maxage=60, max_age=0)
def gallery() -> Response:
    """Show the files; the cache keeps the page, browsers revalidate each time."""
    entry = journal().last()
    page = store.Provider(FOLDER).page(limit=PAGE, after=request.args.get("after"))
    response = make_response(
        render_template(
            "gallery.html",
            files=[File.of(file) for file in page.files],
            following=page.next,
            entry=entry,
            now=datetime.now(UTC),
        )
    )
    response.headers["Cache-Tag"] = "files"
    return response


def changed(text: str) -> None:
    """Drop every cached page with the files, then tell the browsers."""
    webcache.purge_tag("files")
    happened(text)


@files.post("/upload")
def upload() -> WerkzeugResponse:
    """Save files from the form, once for a double click."""
    chosen = [file for file in request.files.getlist("file") if file.filename]
    if not chosen:
        raise BadRequest("No file was chosen.")
    for file in chosen:
        saved = store.Provider(FOLDER).save(file, sha256=True)
        if sent_twice(saved):
            saved.delete()
            note("sent twice: kept once")
        else:
            note("received in the store's folder, linked to its name")
            changed(f"{saved.filename} was uploaded, {saved.size:,} bytes")
    return redirect(url_for(".gallery"), 303)


def sent_twice(saved: FileWrapper) -> bool:
    """Return whether the same file came a moment ago, and has the name by now."""
    if saved.filename == saved.download_name:
        return False
    try:
        first = store.Provider(FOLDER).file(saved.download_name)
    except InvalidNameError:
        return False
    return (
        first.exists()
        and first.attributes.sha256 == saved.attributes.sha256
        and saved.modified - first.modified < DOUBLE_CLICK
    )


def receive_uploads(app: Flask) -> None:
    """Receive uploads in pieces, which go on after a cut or a restart."""
    app.register_blueprint(
        store.tus(
            "/uploads",
            authorize=authorize,
            destination=FOLDER,
            max_size=app.config["MAX_CONTENT_LENGTH"],
        )
    )
    upload_finished.connect(uploaded, app)


def authorize(step: str, upload: Any) -> str:
    """Return whose upload it is: this browser's, which has its cookie by now.

    A cookie that is set here would come too late for the second of two uploads.
    """
    del step, upload
    return visitor()


def uploaded(_: Flask, file: FileWrapper, upload: Any = None, **__: object) -> None:
    """Take note of an upload that is complete."""
    if upload is not None:
        note("complete: linked to its name, 0 bytes copied")
    changed(f"{file.filename} was uploaded, {file.size:,} bytes")


@files.get("/file/<name>")
def file(name: str) -> str:
    """Show a file, and what can be done with it."""
    return render_template("file.html", file=File.of(found(name)))


def found(name: str, folder: str = FOLDER) -> FileWrapper:
    """Return a file that is there."""
    try:
        file = store.Provider(folder).file(name)
        there = file.exists()
    except InvalidNameError as error:
        raise NotFound(f"There is no file “{name}”.") from error
    if not there:
        raise NotFound(f"There is no file “{name}”.")
    return file


@files.post("/delete/<name>")
def delete(name: str) -> WerkzeugResponse:
    """Put a file in the trash, from where it can come back for some minutes."""
    found(name)
    for old in store.Provider(TRASH).list():
        if datetime.now(UTC) - old.modified > UNDO:
            old.delete()
    number = uuid4().hex
    provider = store.Provider()
    provider.move(f"{FOLDER}/{name}", f"{TRASH}/{number}/{name}")
    changed(f"{name} was deleted")
    return redirect(url_for(".gallery", deleted=name, undo=number), 303)


@files.post("/restore/<undo>/<name>")
def restore(undo: str, name: str) -> WerkzeugResponse:
    """Bring a file back from the trash."""
    try:
        store.Provider().move(f"{TRASH}/{undo}/{name}", f"{FOLDER}/{name}")
    except (NotFoundError, InvalidNameError) as error:
        raise Gone(f"“{name}” cannot be brought back any more.") from error
    changed(f"{name} was brought back")
    return redirect(url_for(".gallery"), 303)


@files.get("/download/<name>")
def download(name: str) -> WerkzeugResponse:
    """Send a file as a download, through nginx if it is in front."""
    if in_s3():
        return redirect(found(name).url(LINK_SECONDS, download_name=name))
    return kaccel.send_from_directory_or_404(name, as_attachment=True)


@files.post("/share/<name>")
def share(name: str) -> str:
    """Make a link that anybody can use for a minute."""
    file = found(name)
    if in_s3():
        link = file.url(LINK_SECONDS, download_name=name)
    else:
        token = kaccel.sign(name, expires=LINK_SECONDS, as_attachment=True)
        link = url_for(".shared", token=token, _external=True)
    return render_template(
        "file.html", file=File.of(file), link=link, seconds=LINK_SECONDS
    )


@files.get("/shared/<token>")
def shared(token: str) -> WerkzeugResponse:
    """Send the file of a link that has not expired."""
    response = kaccel.send_signed(token)
    if response is None:
        raise Gone("This link is no longer valid.")
    return response


@files.get("/direct")
def direct() -> str:
    """Give the browser a form that uploads to S3, past this server."""
    name, allowed = request.args.get("name"), None
    if name and in_s3():
        provider = cast(S3Store, store.Provider(FOLDER))
        done = url_for(".uploaded_directly", _external=True)
        largest = current_app.config["MAX_CONTENT_LENGTH"]
        allowed = provider.presign_post(name, redirect=done, max_size=largest)
        session["direct"] = str(allowed.file)
    return render_template("direct.html", name=name, allowed=allowed, s3=in_s3())


@files.get("/direct/done")
def uploaded_directly() -> WerkzeugResponse:
    """Take note of a file that S3 has, when it sends the browser back."""
    try:
        file = cast(S3Store, store.Provider()).confirm(session.pop("direct", ""))
    except (NotFoundError, InvalidNameError) as error:
        raise BadRequest("S3 has no such upload. Send the file again.") from error
    note("0 bytes through this server")
    changed(f"{file.filename} was uploaded directly")
    return redirect(url_for(".gallery"), 303)
