"""The routes of resumable uploads: what ties the protocol to Flask and a store."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol
from typing import TypeAlias

from flask import Blueprint
from flask import Response
from flask import abort
from flask import current_app
from flask import request
from flask import url_for
from werkzeug.exceptions import ClientDisconnected

from .._attributes import checked
from .._signals import upload_finished
from ..exceptions import BackendError
from ..exceptions import InvalidAttributeError
from ..exceptions import NotFoundError
from ..exceptions import RefusedError
from . import protocol
from .protocol import CHECKSUM_MISMATCH
from .protocol import Checksum
from .protocol import Limits
from .protocol import MovedError
from .protocol import RefusedRequest
from .protocol import Step
from .protocol import Upload


if TYPE_CHECKING:
    from .._spool import Spool
    from ..stores.base import BaseStore

logger: logging.Logger = logging.getLogger("flask_store")

#: Decides about a step of an upload: returns who owns it, or None to refuse.
Authorize: TypeAlias = Callable[[Step, Upload], str | None]

BLOCK = 65536
#: An upload whose length is not known yet may bring this many bytes.
UNLIMITED = 1 << 62
#: Seconds between two looks for uploads that have expired.
SWEEP_SECONDS = 60
#: Metadata that has a place of its own, or is of no use to anybody later.
TAKEN = {"filename", "filetype", "name", "type", "relativepath"}


class Place(Protocol):
    """Where the bytes of unfinished uploads wait."""

    def create(self, upload: Upload) -> None:
        """Begin an upload."""

    def keep(self, upload: Upload) -> None:
        """Replace the record of an upload."""

    def find(self, upload_id: str) -> Upload:
        """Return an upload, or raise NotFoundError."""

    def offset(self, upload: Upload) -> int:
        """Return how many bytes there are for certain."""

    def touched(self, upload: Upload) -> float:
        """Return when the last byte came, in seconds since the epoch."""

    def append(self, upload: Upload, offset: int, blocks: Iterable[bytes]) -> int:
        """Append bytes and return where the upload ends, or raise MovedError."""

    def append_checked(
        self,
        upload: Upload,
        offset: int,
        blocks: Iterable[bytes],
        check: Callable[[], None],
    ) -> int:
        """Append bytes all at once, if they pass a check when all have come."""

    def concatenate(self, upload: Upload, parts: Iterable[Upload]) -> None:
        """Begin an upload with the bytes of others."""

    def finish(
        self,
        upload: Upload,
        save: Callable[[Spool], str],
        announce: Callable[[str], None],
    ) -> None:
        """Make a file of a complete upload, unless somebody else does so now."""

    def delete(self, upload: Upload) -> None:
        """Drop an upload; a file that it became stays."""

    def uploads(self) -> Iterator[Upload]:
        """Yield all uploads."""


class Uploads(Blueprint):
    """The routes of one kind of resumable uploads; register it on the app.

    :param url_prefix: where uploads are created.
    :param authorize: is called with the step (``"create"``, ``"read"``, ``"append"``
        or ``"terminate"``) and the upload, and returns a text that says whose it is,
        such as the user's id. Everybody else is answered as if there were no such
        upload. None refuses; it may ``abort()`` too.
    :param provider: returns the current app's store.
    :param max_size: the most bytes of one upload.
    :param max_uploads: the most unfinished uploads of one owner.
    :param expires: seconds after its last byte when an unfinished upload is dropped.
    """

    def __init__(
        self,
        url_prefix: str,
        *,
        authorize: Authorize,
        provider: Callable[[], BaseStore],
        max_size: int | None = None,
        max_uploads: int | None = None,
        expires: float = 86400,
        name: str = "flask_store_uploads",
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix.rstrip("/"))
        self.authorize = authorize
        self.provider = provider
        self.max_uploads = max_uploads
        self.limits = Limits(max_size=max_size, expires=expires)
        self._next_sweep = 0.0
        options: dict[str, Any] = {"provide_automatic_options": False}
        for rule in ("", "/"):
            self.add_url_rule(
                rule, "collection", self._collection, methods=["OPTIONS", "POST"],
                strict_slashes=True, **options,
            )  # fmt: skip
        self.add_url_rule(
            "/<upload_id>", "upload", self._upload, methods=protocol.METHODS, **options
        )
        self.after_request(_name_version)
        self.register_error_handler(RefusedRequest, _refused)
        self.register_error_handler(MovedError, _moved)
        self.register_error_handler(BackendError, _failed)

    # Routes.

    def _collection(self) -> Response:
        if request.method == "OPTIONS":
            return _answer(204, protocol.option_fields(self.limits))
        protocol.check_version(request.headers)
        return self._create()

    def _upload(self, upload_id: str) -> Response:
        method = protocol.method_of(request.method, request.headers)
        if method == "OPTIONS":
            return _answer(204, protocol.option_fields(self.limits))
        protocol.check_version(request.headers)
        if method == "HEAD":
            return self._read(upload_id)
        if method == "PATCH":
            return self._append(upload_id)
        if method != "DELETE":
            abort(405)
        return self._terminate(upload_id)

    def _create(self) -> Response:
        creation = protocol.read_creation(request.headers, self.limits)
        has_body = bool(request.content_length or _has_open_end())
        if has_body:
            # Before anything is created (extension Creation With Upload).
            protocol.check_media_type(request.headers)
        upload = Upload(
            id=uuid.uuid4().hex,
            owner="",
            length=creation.length,
            raw_metadata=creation.raw_metadata,
            concat=creation.concat,
            created=time.time(),
        )
        self._options(upload)
        upload = replace(upload, owner=self._owner("create", upload))
        place = self.provider().uploads_place()
        self._sweep(place)
        self._check_number(place, upload.owner)
        offset = 0
        if creation.parts:
            upload = self._concatenate(place, upload, creation.parts)
            offset = upload.length or 0
        else:
            place.create(upload)
        fields = {"Location": url_for(".upload", upload_id=upload.id)}
        if has_body:
            offset = self._receive(place, upload, 0)
            fields["Upload-Offset"] = str(offset)
        if upload.is_complete(offset):
            self._finish(place, upload)
        else:
            fields |= protocol.expiry_fields(time.time(), self.limits)
        return _answer(201, fields)

    def _read(self, upload_id: str) -> Response:
        try:
            place, upload = self._find("read", upload_id)
            offset = place.offset(upload)
            if upload.is_complete(offset):
                self._finish(place, upload)
        except BackendError:
            # To a client any other error means that the upload is lost.
            logger.exception("cannot read the upload %s", upload_id)
            return _answer(423)
        return _answer(200, protocol.state_fields(upload, offset))

    def _append(self, upload_id: str) -> Response:
        place, upload = self._find("append", upload_id)
        appending = protocol.read_appending(request.headers, upload, self.limits)
        offset = place.offset(upload)
        if appending.offset != offset:
            raise MovedError
        told = protocol.told(upload, appending)
        if told is not upload:
            if told.length is not None and told.length < offset:
                raise RefusedRequest(
                    400, f"Upload-Length is {told.length}: {offset} bytes are there"
                )
            upload = told
            place.keep(upload)
        offset = self._receive(place, upload, offset, appending.checksum)
        fields = {"Upload-Offset": str(offset)}
        if upload.is_complete(offset):
            self._finish(place, upload)
        else:
            fields |= protocol.expiry_fields(time.time(), self.limits)
        return _answer(204, fields)

    def _terminate(self, upload_id: str) -> Response:
        place, upload = self._find("terminate", upload_id)
        place.delete(upload)
        return _answer(204)

    # Steps.

    def _owner(self, step: Step, upload: Upload) -> str:
        owner = self.authorize(step, upload)
        if owner is None:
            abort(403)
        return str(owner)

    def _find(self, step: Step, upload_id: str) -> tuple[Place, Upload]:
        """Return an upload that this client may touch, or answer 404."""
        if not protocol.is_id(upload_id):
            abort(404)
        place = self.provider().uploads_place()
        try:
            upload = place.find(upload_id)
            expired = upload.file is None and self._expired(place, upload)
        except NotFoundError:
            abort(404)
        if self._owner(step, upload) != upload.owner or expired:
            abort(404)
        return place, upload

    def _concatenate(
        self, place: Place, upload: Upload, parts: tuple[str, ...]
    ) -> Upload:
        try:
            found = [place.find(part) for part in parts]
            offsets = [place.offset(part) for part in found]
        except NotFoundError as error:
            reason = f"Upload-Concat: there is no upload {error.name}"
            raise RefusedRequest(400, reason) from None
        size = protocol.total(zip(found, offsets, strict=True), upload.owner)
        protocol.check_size(size, self.limits)
        upload = replace(upload, length=size)
        place.concatenate(upload, found)
        return upload

    def _receive(
        self,
        place: Place,
        upload: Upload,
        offset: int,
        checksum: Checksum | None = None,
    ) -> int:
        """Append the body of the request; return where the upload ends."""
        known = self.limits.max_size if upload.length is None else upload.length
        missing = UNLIMITED if known is None else known - offset
        checksum = checksum or protocol.read_checksum(request.headers)
        if checksum is None:
            body = _Body(missing)
            offset = place.append(upload, offset, body)
            body.check_whole()
            return offset
        digest = checksum.start()
        body = _Body(missing, digest.update)

        def check() -> None:
            body.check_whole()
            if not checksum.matches(digest.digest()):
                raise RefusedRequest(
                    CHECKSUM_MISMATCH, "Upload-Checksum does not fit the body"
                )

        return place.append_checked(upload, offset, body, check)

    def _finish(self, place: Place, upload: Upload) -> None:
        """Make a file of a complete upload."""
        if upload.partial or upload.file is not None:
            return
        provider = self.provider()

        def save(stream: Spool) -> str:
            return provider.save(stream, **self._options(upload)).name

        def announce(name: str) -> None:
            if provider.background:
                # Not yet: the signal comes when the file is where it is to be.
                return
            app: Any = current_app
            file = provider.within(None).file(name)
            upload_finished.send(app._get_current_object(), file=file, upload=upload)

        try:
            place.finish(upload, save, announce)
        except (RefusedError, InvalidAttributeError):
            place.delete(upload)
            raise

    def _options(self, upload: Upload) -> Any:
        """Return what the file carries of what the client said."""
        kept = {
            key.lower(): value.strip()
            for key, value in upload.metadata.items()
            if key.lower() not in TAKEN and value.strip()
        }
        try:
            checked({"metadata": kept})
        except InvalidAttributeError as error:
            raise RefusedRequest(400, f"Upload-Metadata: {error}") from None
        return {"metadata": kept} if kept else {}

    # Limits.

    def _check_number(self, place: Place, owner: str) -> None:
        if self.max_uploads is None:
            return
        unfinished = sum(
            1 for it in place.uploads() if it.owner == owner and it.file is None
        )
        if unfinished >= self.max_uploads:
            raise RefusedRequest(
                429, f"{unfinished} uploads are unfinished: end or delete one first"
            )

    def _expired(self, place: Place, upload: Upload) -> bool:
        return time.time() > place.touched(upload) + self.limits.expires

    def _sweep(self, place: Place) -> None:
        """Drop what has expired, now and then."""
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            for upload in self.expired(place):
                place.delete(upload)

    def expired(self, place: Place) -> Iterator[Upload]:
        """Yield the uploads that have expired, finished ones too."""
        for upload in place.uploads():
            if self._expired(place, upload):
                yield upload


class _Body(Iterator[bytes]):
    """The body of the current request, block by block, and whether it came whole.

    :param missing: the most bytes that may come.
    :param update: is called with each block.
    """

    def __init__(
        self, missing: int, update: Callable[[bytes], object] | None = None
    ) -> None:
        announced = request.content_length
        if announced is None and not request.environ.get("wsgi.input_terminated"):
            if _has_open_end():
                # A server that does not know chunked bodies shows an empty one.
                raise RefusedRequest(411, "Content-Length: this server needs it")
            announced = 0
        if announced is not None and announced > missing:
            raise _too_large(missing)
        # An app's own limit is one for forms. Reading up to a limit is an error for
        # Werkzeug, so this one leaves room to see that too much comes.
        request.max_content_length = missing + 1
        self._announced = announced
        self._missing = missing
        self._update = update
        self._received = 0
        self._cut = False
        self._stream = request.stream

    def __next__(self) -> bytes:
        try:
            block = self._stream.read(BLOCK)
        except (OSError, ClientDisconnected):
            self._cut = True
            raise StopIteration from None
        if not block:
            raise StopIteration
        self._received += len(block)
        if self._received > self._missing:
            raise _too_large(self._missing)
        if self._update is not None:
            self._update(block)
        return block

    def check_whole(self) -> None:
        """Refuse a body that ended early. Servers end it as they end a whole one."""
        if self._cut or (
            self._announced is not None and self._received < self._announced
        ):
            raise RefusedRequest(409, "the body ended early: ask for Upload-Offset")


def _has_open_end() -> bool:
    """Return whether there is a body whose length only its end will tell."""
    return request.content_length is None and "Transfer-Encoding" in request.headers


def _too_large(missing: int) -> RefusedRequest:
    return RefusedRequest(413, f"the body is too large: {missing} bytes are missing")


def _answer(status: int, fields: Mapping[str, str] | None = None) -> Response:
    response = current_app.response_class(status=status)
    response.headers.update(fields or {})
    if status == 204:
        response.headers.pop("Content-Type", None)
    return response


def _name_version(response: Response) -> Response:
    """Say which protocol answers, refusals and errors of the app too."""
    response.headers["Tus-Resumable"] = protocol.VERSION
    if response.status_code == 412:
        response.headers["Tus-Version"] = protocol.VERSION
    return response


def _refused(error: RefusedRequest) -> Response:
    response = _answer(error.status)
    response.data = error.reason
    response.mimetype = "text/plain"
    return response


def _moved(_: MovedError) -> Response:
    return _refused(RefusedRequest(409, "Upload-Offset is not where the upload ends"))


def _failed(error: BackendError) -> Response:
    logger.error("%s", error)
    return _refused(RefusedRequest(503, "the upload cannot be stored now"))
