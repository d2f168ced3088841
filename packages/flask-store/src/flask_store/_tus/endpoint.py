"""The routes of resumable uploads: what ties the protocol to Flask and a store."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any
from typing import Unpack

from flask import Response
from flask import abort
from flask import request
from flask import url_for

from ..exceptions import BackendError
from ..exceptions import NotFoundError
from . import protocol
from .body import UNLIMITED
from .body import Body
from .body import has_open_end
from .place import Place
from .protocol import CHECKSUM_MISMATCH
from .protocol import Checksum
from .receiver import Authorize as Authorize
from .receiver import Receiver
from .receiver import ReceiverOptions
from .receiver import answer
from .receiver import logger
from .receiver import refused
from .upload import MovedError
from .upload import RefusedRequest
from .upload import Upload
from .upload import check_size


class Uploads(Receiver):
    """The routes of uploads by tus."""

    def __init__(
        self,
        url_prefix: str,
        *,
        name: str = "flask_store_uploads",
        **options: Unpack[ReceiverOptions],
    ) -> None:
        super().__init__(name, url_prefix, **options)
        how: dict[str, Any] = {"provide_automatic_options": False}
        for rule in ("", "/"):
            self.add_url_rule(
                rule, "collection", self._collection, methods=protocol.METHODS,
                strict_slashes=True, **how,
            )  # fmt: skip
        self.add_url_rule(
            "/<upload_id>", "upload", self._upload, methods=protocol.METHODS, **how
        )
        self.after_request(_name_version)

    def _collection(self) -> Response:
        method = protocol.method_of(request.method, request.headers)
        if method == "OPTIONS":
            return answer(204, protocol.option_fields(self.limits))
        protocol.check_version(request.headers)
        if method != "POST":
            abort(405)
        return self._create()

    def _upload(self, upload_id: str) -> Response:
        method = protocol.method_of(request.method, request.headers)
        if method == "OPTIONS":
            return answer(204, protocol.option_fields(self.limits))
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
        has_body = bool(request.content_length or has_open_end())
        if has_body:
            # Before anything is created (extension Creation With Upload).
            protocol.check_media_type(request.headers)
        checksum = protocol.read_checksum(request.headers)
        upload = Upload(
            id=uuid.uuid4().hex,
            owner="",
            length=creation.length,
            raw_metadata=creation.raw_metadata,
            concat=creation.concat,
            created=time.time(),
        )
        place, upload = self.begin(upload)
        offset = 0
        if creation.parts:
            upload = self._concatenate(place, upload, creation.parts)
            offset = upload.length or 0
        else:
            place.create(upload)
        fields = {"Location": url_for(".upload", upload_id=upload.id)}
        if has_body:
            try:
                offset = self._receive(place, upload, 0, checksum)
            except (RefusedRequest, MovedError):
                # The client will never know its URL.
                place.delete(upload)
                raise
            fields["Upload-Offset"] = str(offset)
        if upload.is_complete(offset):
            self.finish(place, upload)
        else:
            fields |= protocol.expiry_fields(time.time(), self.limits)
        return answer(201, fields)

    def _read(self, upload_id: str) -> Response:
        try:
            place, upload = self.find("read", upload_id)
            offset = place.offset(upload)
            if upload.is_complete(offset):
                self.finish(place, upload)
        except BackendError:
            # To a client any other error means that the upload is lost.
            logger.exception("cannot read the upload %s", upload_id)
            return answer(423)
        return answer(200, protocol.state_fields(upload, offset))

    def _append(self, upload_id: str) -> Response:
        place, upload = self.find("append", upload_id)
        try:
            return self._append_to(place, upload)
        except (RefusedRequest, MovedError) as error:
            response = refused(error)
            if upload.file is None:
                touched = place.touched(upload)
                response.headers.update(protocol.expiry_fields(touched, self.limits))
            return response

    def _append_to(self, place: Place, upload: Upload) -> Response:
        appending = protocol.read_appending(request.headers, upload, self.limits)
        offset = place.offset(upload)
        if appending.offset != offset:
            raise MovedError
        told = protocol.told(upload, appending)
        if told is not upload:
            if told.length is not None and told.length < offset:
                raise RefusedRequest(
                    400, f"Upload-Length is {told.length}: {offset} bytes are stored"
                )
            upload = told
            place.keep(upload)
        offset = self._receive(place, upload, offset, appending.checksum)
        fields = {"Upload-Offset": str(offset)}
        if upload.is_complete(offset):
            self.finish(place, upload)
        else:
            fields |= protocol.expiry_fields(time.time(), self.limits)
        return answer(204, fields)

    def _terminate(self, upload_id: str) -> Response:
        place, upload = self.find("terminate", upload_id)
        place.delete(upload)
        return answer(204)

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
        check_size(size, self.limits)
        upload = replace(upload, length=size)
        place.concatenate(upload, found)
        return upload

    def _receive(
        self,
        place: Place,
        upload: Upload,
        offset: int,
        checksum: Checksum | None,
    ) -> int:
        """Append the body of the request; return where the upload ends."""
        known = self.limits.max_size if upload.length is None else upload.length
        missing = UNLIMITED if known is None else known - offset
        if checksum is None:
            body = Body(missing)
            offset = place.append(upload, offset, body)
            body.check_whole()
            return offset
        digest = checksum.start()
        body = Body(missing, digest.update)

        def check() -> None:
            body.check_whole()
            if not checksum.matches(digest.digest()):
                raise RefusedRequest(
                    CHECKSUM_MISMATCH, "Upload-Checksum does not match the body"
                )

        return place.append_checked(upload, offset, body, check)


def _name_version(response: Response) -> Response:
    """Say which protocol answers, refusals and errors of the app too."""
    response.headers["Tus-Resumable"] = protocol.VERSION
    if response.status_code == 412:
        response.headers["Tus-Version"] = protocol.VERSION
    return response
