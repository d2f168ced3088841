"""Uploads in parts that browsers send to S3 themselves, signed by the app.

The routes are those that Uppy's ``@uppy/aws-s3`` asks of a companion:

=================================  ================================================
``POST s3/multipart``              begin an upload; its id is ours, not S3's
``GET s3/multipart/ID/NUMBER``     the signed URL of a part, which the browser PUTs
``GET s3/multipart/ID``            the parts that are there, to go on after a break
``POST s3/multipart/ID/complete``  make a file of them
``DELETE s3/multipart/ID``         drop it
``GET s3/params``                  the signed form of a file too small for parts
=================================  ================================================

S3 takes parts by their signed URLs. Other stores have the app take them, by URLs that
it signs, so that a page is the same in front of every store. A small file goes to the
app in any case: nobody would tell it when a form has reached S3.

An upload has a record like any other, with its owner, and each route but the signed
ones asks the authorize hook first. The states and promises are those of uploads by tus:
once all parts are there, whoever touches the upload next finishes it.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from typing import ClassVar
from typing import Unpack

from flask import Flask
from flask import Response
from flask import abort
from flask import jsonify
from flask import request
from flask import url_for
from itsdangerous import BadData
from itsdangerous import URLSafeTimedSerializer
from werkzeug.datastructures import FileStorage

from ..exceptions import NoFileError
from ..exceptions import NotFoundError
from .body import UNLIMITED
from .body import Body
from .place import Part
from .place import Place
from .place import host_lock
from .receiver import Receiver
from .receiver import ReceiverOptions
from .receiver import answer
from .upload import RefusedRequest
from .upload import Step
from .upload import Upload
from .upload import check_size
from .upload import format_metadata


#: Seconds for which a signed URL or form works.
SIGNED_SECONDS = 3600
#: The most parts of an upload, as S3 has it.
MOST_PARTS = 10_000


class Companion(Receiver):
    """The routes of uploads in parts."""

    in_parts: ClassVar[bool] = True
    metadata_field: ClassVar[str] = "metadata"

    def __init__(
        self,
        url_prefix: str,
        *,
        name: str = "flask_store_companion",
        **options: Unpack[ReceiverOptions],
    ) -> None:
        super().__init__(name, url_prefix, **options)
        one = "/s3/multipart/<upload_id>"
        self.add_url_rule("/s3/multipart", "create", self._create, methods=["POST"])
        self.add_url_rule(one, "parts", self._list)
        self.add_url_rule(one, "abort", self._abort, methods=["DELETE"])
        self.add_url_rule(f"{one}/<int:number>", "sign", self._sign)
        self.add_url_rule(
            f"{one}/complete", "complete", self._complete, methods=["POST"]
        )
        self.add_url_rule("/s3/params", "params", self._params)
        self.add_url_rule("/s3/form/", "form", self._form, methods=["POST"])
        self.add_url_rule("/s3/part/<token>", "part", self._part, methods=["PUT"])

    def check_store(self, app: Flask) -> None:
        """Check that the app can sign, besides what all uploads need."""
        super().check_store(app)
        with app.app_context():
            _ = self.provider().signer

    # Uploads in parts.

    def _create(self) -> Response:
        upload = _new(_json(), request.get_json().get("metadata"))
        place, upload = self.begin(upload)
        place.create(upload)
        return jsonify(uploadId=upload.id, key=upload.filename)

    def _sign(self, upload_id: str, number: int) -> Response:
        place, upload = self._of("append", upload_id)
        if not 1 <= number <= MOST_PARTS:
            raise RefusedRequest(400, f"part {number}: send 1 to {MOST_PARTS}")
        if upload.length is not None:
            raise RefusedRequest(409, "the upload is complete")
        url = place.part_url(upload, number, SIGNED_SECONDS)
        if url is None:
            token = self._signer("part").dumps([upload.id, number])
            url = url_for(".part", token=token)
        return jsonify(url=url)

    def _list(self, upload_id: str) -> Response:
        place, upload = self._of("read", upload_id)
        if upload.length is None:
            found: Iterable[Part] = place.parts(upload)
        else:
            # Their bytes are elsewhere by now; the client asks to have it completed.
            found = [Part(it + 1, 0, "joined") for it in range(upload.parts or 0)]
        return jsonify(
            [
                {"PartNumber": it.number, "Size": it.size, "ETag": it.etag}
                for it in found
            ]
        )

    def _complete(self, upload_id: str) -> Response:
        place, upload = self._of("append", upload_id)
        if upload.length is None:
            parts = _chosen(place.parts(upload), _given())
            size = sum(part.size for part in parts)
            try:
                check_size(size, self.limits)
            except RefusedRequest:
                place.delete(upload)
                raise
            place.join(upload, parts)
            upload = replace(upload, length=size, parts=len(parts))
            place.keep(upload)
        self.finish(place, upload)
        name = place.find(upload.id).file
        if name is None:
            raise RefusedRequest(409, "the upload is being finished: try again")
        file = self.provider().within(None).file(name)
        return jsonify(location=file.absolute_url(), key=name)

    def _abort(self, upload_id: str) -> Response:
        place, upload = self._of("terminate", upload_id)
        place.delete(upload)
        return answer(204)

    def _part(self, token: str) -> Response:
        """Take a part, where the client does not send it to S3."""
        upload_id, number = self._signed("part", token)
        place = self.provider().uploads_place()
        try:
            upload = place.find(upload_id)
            if upload.length is not None:
                raise RefusedRequest(409, "the upload is complete")
            body = _whole(Body(self.limits.max_size or UNLIMITED))
            part = place.receive_part(upload, number, body)
        except NotFoundError:
            abort(404)
        return answer(200, {"ETag": f'"{part.etag}"'})

    def _of(self, step: Step, upload_id: str) -> tuple[Place, Upload]:
        """Return an upload that this client may touch, under the key that it has."""
        place, upload = self.find(step, upload_id)
        if request.args.get("key") != upload.filename:
            abort(404)
        return place, upload

    # Small files.

    def _params(self) -> Response:
        metadata = {
            key.removeprefix("metadata[").removesuffix("]"): value
            for key, value in request.args.items()
            if key.startswith("metadata[")
        }
        upload = _new(request.args, metadata)
        self.options_of(upload)
        owner = self.owner_of("create", upload)
        token = self._signer("form").dumps([upload.id, owner, upload.raw_metadata])
        return jsonify(method="POST", url=url_for(".form"), fields={"key": token})

    def _form(self) -> Response:
        """Take a file that is too small for parts."""
        upload_id, owner, raw = self._signed("form", request.form.get("key", ""))
        sent = request.files.get("file")
        if sent is None:
            raise NoFileError
        size = sent.stream.seek(0, 2)
        check_size(size, self.limits)
        upload = Upload(
            id=upload_id, owner=owner, length=size, raw_metadata=raw,
            created=time.time(), parts=1,
        )  # fmt: skip
        # A form is for one file; a client may not have heard that it arrived, or send
        # it twice at once.
        with host_lock(upload_id):
            self._save_once(upload, sent)
        return answer(201)

    def _save_once(self, upload: Upload, sent: FileStorage) -> None:
        provider = self.provider()
        place = provider.uploads_place()
        with contextlib.suppress(NotFoundError):
            place.find(upload.id)
            return
        file = FileStorage(sent.stream, upload.filename, headers=sent.headers)
        saved = provider.save(file, **self.options_of(upload))
        self.announce(provider, upload, saved.name)
        place.keep(replace(upload, file=saved.name))

    # Signatures.

    def _signer(self, purpose: str) -> URLSafeTimedSerializer:
        config = self.provider().config
        # Part of the salt, so that no store's signature holds for another.
        salt = f"flask-store/{config.store}/{self.name}/{purpose}"
        keys: list[Any] = list(config.signing_keys)
        return URLSafeTimedSerializer(keys, salt)

    def _signed(self, purpose: str, token: str) -> list[Any]:
        try:
            found: list[Any] = self._signer(purpose).loads(
                token, max_age=SIGNED_SECONDS
            )
        except BadData:
            abort(403)
        return found


def _json() -> Mapping[str, Any]:
    """Return the body of the request, which has to be an object."""
    found = request.get_json()
    if not isinstance(found, dict):
        raise RefusedRequest(400, "the body: send an object")
    return found


def _new(fields: Mapping[str, Any], metadata: Any) -> Upload:
    """Return a new upload of what a client said about it."""
    filename, mimetype = fields.get("filename", ""), fields.get("type", "")
    if not isinstance(filename, str) or not isinstance(mimetype, str):
        raise RefusedRequest(400, "filename, type: send text")
    if not isinstance(metadata, dict | None):
        raise RefusedRequest(400, "metadata: send an object")
    known = {"filename": filename, "filetype": mimetype}
    kept = {key: str(it) for key, it in (metadata or {}).items() if it is not None}
    return Upload(
        id=uuid.uuid4().hex,
        owner="",
        length=None,
        raw_metadata=format_metadata({**kept, **known}),
        created=time.time(),
        parts=0,
    )


def _given() -> dict[int, str]:
    """Return the tags of the parts that the request names, by their numbers."""
    try:
        found = {
            int(it["PartNumber"]): str(it["ETag"]).strip('"') for it in _json()["parts"]
        }
    except (KeyError, TypeError, ValueError):
        raise RefusedRequest(
            400, "parts: send a list of objects with PartNumber and ETag"
        ) from None
    if not found or sorted(found) != list(range(1, len(found) + 1)):
        raise RefusedRequest(400, "parts: number them from 1, without gaps")
    return found


def _chosen(there: Iterable[Part], given: Mapping[int, str]) -> list[Part]:
    """Return the parts that a client named, which have to be all that there are."""
    known = {(part.number, part.etag): part for part in there}
    missing = [number for number in given if (number, given[number]) not in known]
    unnamed = {number for number, _ in known} - given.keys()
    if missing or unnamed:
        wrong = ", ".join(map(str, sorted({*missing, *unnamed})[:10]))
        raise RefusedRequest(400, f"parts: {wrong} differ from the stored ones")
    return [known[pair] for pair in sorted(given.items())]


def _whole(body: Body) -> Iterator[bytes]:
    """Yield a body, and refuse one that ended early."""
    yield from body
    body.check_whole()
