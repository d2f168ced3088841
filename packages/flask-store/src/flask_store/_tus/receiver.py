"""The common part of both ways to upload in pieces: owners, limits, the finish.

Subclasses add the routes. An upload is found only for its owner, by the routes of the
way in which it was begun.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Required
from typing import TypeAlias
from typing import TypedDict

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import abort
from flask import current_app

from .._attributes import SaveOptions
from .._attributes import checked
from .._signals import upload_finished
from .._state import get_state
from ..exceptions import BackendError
from ..exceptions import InvalidAttributeError
from ..exceptions import NotFoundError
from ..exceptions import RefusedError
from ..exceptions import SetupError
from .place import Place
from .upload import Limits
from .upload import MovedError
from .upload import RefusedRequest
from .upload import Step
from .upload import Upload
from .upload import is_id


if TYPE_CHECKING:
    from .._spool import Spool
    from ..stores.base import BaseStore

logger: logging.Logger = logging.getLogger("flask_store")

#: Decides about a step of an upload: returns who owns it, or None to refuse.
Authorize: TypeAlias = Callable[[Step, Upload], str | None]

#: Seconds between two looks for uploads that have expired.
SWEEP_SECONDS = 60
#: Metadata that has a place of its own, or is of no use to anybody later.
TAKEN = {"filename", "filetype", "name", "type", "relativepath"}


class ReceiverOptions(TypedDict, total=False):
    """The options of all routes that receive uploads."""

    authorize: Required[Authorize]
    provider: Required[Callable[[], BaseStore]]
    max_size: int | None
    max_uploads: int | None
    expires: float


class Receiver(Blueprint):
    """Routes that receive uploads in pieces; register them on the app.

    :param url_prefix: where the routes begin.
    :param authorize: is called with the step (``"create"``, ``"read"``, ``"append"``
        or ``"terminate"``) and the upload, and returns a text that says whose it is,
        such as the user's id. Everybody else is answered as if there were no such
        upload. None refuses; it may ``abort()`` too.
    :param provider: returns the current app's store.
    :param max_size: the most bytes of one upload.
    :param max_uploads: the most unfinished uploads of one owner.
    :param expires: seconds after its last byte when an unfinished upload is dropped.
    """

    #: Whether uploads come in parts that are numbered, or from an offset on.
    in_parts: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        url_prefix: str,
        *,
        authorize: Authorize,
        provider: Callable[[], BaseStore],
        max_size: int | None = None,
        max_uploads: int | None = None,
        expires: float = 86400,
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix.rstrip("/"))
        self.authorize = authorize
        self.provider = provider
        self.max_uploads = max_uploads
        self.limits: Limits = Limits(max_size=max_size, expires=expires)
        self._next_sweep = 0.0
        self.register_error_handler(RefusedRequest, refused)
        self.register_error_handler(MovedError, refused)
        self.register_error_handler(BackendError, _failed)

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Add the routes to an app, whose store has to be able to take uploads.

        :raises StoreError: where there is no such store, or it cannot.
        """
        with app.app_context():
            try:
                get_state()
            except SetupError:
                # It is set up later, and checks the routes then.
                pass
            else:
                self.check_store(app)
        super().register(app, options)

    def check_store(self, app: Flask) -> None:
        """Check that the app has the store, and that it takes uploads in pieces.

        :raises StoreError: where it has not, or the store cannot.
        """
        with app.app_context():
            self.provider().uploads_place()

    # Who may.

    def owner_of(self, step: Step, upload: Upload) -> str:
        """Return whose an upload is, or refuse."""
        owner = self.authorize(step, upload)
        if owner is None:
            abort(403)
        return str(owner)

    def begin(self, upload: Upload) -> tuple[Place, Upload]:
        """Return a place for a new upload, and the upload with its owner."""
        self.options_of(upload)
        upload = replace(upload, owner=self.owner_of("create", upload))
        place = self.provider().uploads_place()
        self._sweep(place)
        self._check_number(place, upload.owner)
        return place, upload

    def find(self, step: Step, upload_id: str) -> tuple[Place, Upload]:
        """Return an upload that this client may touch, or answer 404."""
        if not is_id(upload_id):
            abort(404)
        place = self.provider().uploads_place()
        try:
            upload = place.find(upload_id)
            expired = upload.file is None and self._expired(place, upload)
        except NotFoundError:
            abort(404)
        owner = self.owner_of(step, upload)
        if owner != upload.owner or expired or upload.in_parts != self.in_parts:
            abort(404)
        return place, upload

    # The finish.

    def finish(self, place: Place, upload: Upload) -> None:
        """Make a file of a complete upload, and tell."""
        if upload.partial or upload.file is not None:
            return
        provider = self.provider()

        def save(stream: Spool) -> str:
            return provider.save(stream, **self.options_of(upload)).name

        announce = functools.partial(self.announce, provider, upload)
        try:
            place.finish(upload, save, announce)
        except (RefusedError, InvalidAttributeError):
            place.delete(upload)
            raise

    def announce(self, provider: BaseStore, upload: Upload, name: str) -> None:
        """Send the signal that an upload is a file."""
        if provider.background:
            # Not yet: the signal comes when the file is where it is to be.
            return
        app: Any = current_app
        file = provider.within(None).file(name)
        upload_finished.send(app._get_current_object(), file=file, upload=upload)

    def options_of(self, upload: Upload) -> SaveOptions:
        """Return what the file carries of what the client said."""
        kept = {
            key.lower(): value.strip()
            for key, value in upload.metadata.items()
            if key.lower() not in TAKEN and value.strip()
        }
        try:
            checked({"metadata": kept})
        except InvalidAttributeError as error:
            raise RefusedRequest(400, f"{self.metadata_field}: {error}") from None
        return {"metadata": kept} if kept else {}

    #: What errors call the client's metadata.
    metadata_field: ClassVar[str] = "Upload-Metadata"

    # Limits.

    def _check_number(self, place: Place, owner: str) -> None:
        if self.max_uploads is None:
            return
        unfinished = sum(
            1 for it in place.uploads() if it.owner == owner and it.file is None
        )
        if unfinished >= self.max_uploads:
            raise RefusedRequest(
                429, f"{unfinished} uploads are unfinished: finish or delete one first"
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


def answer(status: int, fields: Mapping[str, str] | None = None) -> Response:
    """Return an answer without a body."""
    response = current_app.response_class(status=status)
    response.headers.update(fields or {})
    if status == 204:
        response.headers.pop("Content-Type", None)
    return response


def refused(error: RefusedRequest | MovedError) -> Response:
    """Return the answer to a request that is refused."""
    if isinstance(error, MovedError):
        error = RefusedRequest(409, "Upload-Offset is not the end of the upload")
    response = answer(error.status)
    response.data = error.reason
    response.mimetype = "text/plain"
    return response


def _failed(error: BackendError) -> Response:
    logger.error("%s", error)
    return refused(RefusedRequest(503, "the upload cannot be stored now"))
