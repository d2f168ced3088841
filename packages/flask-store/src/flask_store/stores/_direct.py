"""Files that browsers send to S3 themselves, and the app confirms.

A form that the app has signed puts one object into the hidden folder ``.incoming``,
where no name leads. ``confirm`` shows its bytes to the accept hooks, and copies it to
its name if it is still the same. So what the form sends afterwards, as long as it is
valid, changes no file. What nobody confirms within a day is deleted by ``flask store
check --clean``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Unpack

from .. import _names
from .. import _serving
from .._attributes import SaveOptions
from .._bucket import Bucket
from .._s3_errors import failing_as
from .._s3_reader import ObjectReader
from ..config import MIB
from ..file_wrapper import FileWrapper
from .base import BaseStore


READ_SIZE = 256 * 1024
#: The longest that AWS lets a signature live.
WEEK = 7 * 24 * 3600
#: The hidden folder of what browsers uploaded and the app has not confirmed.
INCOMING = ".incoming"


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """A form by which a browser uploads one file to S3 itself.

    :param url: where the form goes, by POST as ``multipart/form-data``.
    :param fields: its hidden fields, before the field ``file``.
    :param file: the file that comes of it.
    """

    url: str
    fields: dict[str, str]
    file: FileWrapper


class DirectUploads(BaseStore):
    """The part of a provider that lets browsers send files to its bucket."""

    bucket: Bucket

    def key(self, full: str) -> str:
        """Return the key of a name as the root of the store sees it."""
        raise NotImplementedError

    def presign_post(
        self,
        filename: str,
        *,
        max_size: int = 100 * MIB,
        expires: float = 3600,
        redirect: str | None = None,
    ) -> DirectUpload:
        """Allow a browser to upload one file to S3 itself.

        The file is in the store when the app has called :meth:`confirm`.

        :param filename: what the client calls it; what it gets is always unique.
        :param max_size: the most bytes that S3 is to take.
        :param expires: the seconds for which S3 takes it.
        :param redirect: the URL to which S3 sends the browser when it has the file,
            whose ``key`` is then in the query; by default the browser stays. It
            should have no query, as Ceph appends another.
        """
        name = self.full_name(_names.unique(_names.clean(filename)))
        fields = {"Content-Type": _serving.content_type(name)}
        if not _serving.is_inline(fields["Content-Type"]):
            # Not all servers keep the disposition of a form, so the type says it too.
            fields["Content-Type"] = _serving.OCTET_STREAM
            fields["Content-Disposition"] = "attachment"
        if self.config.s3_acl:
            fields["acl"] = self.config.s3_acl
        if redirect:
            fields["success_action_redirect"] = redirect
        with failing_as("sign", name):
            signed = self.bucket.presign_post(
                self._incoming(name), fields, max_size, min(int(expires), WEEK)
            )
        return DirectUpload(
            signed["url"], signed["fields"], FileWrapper(self.within(None), name)
        )

    def confirm(self, name: str, **options: Unpack[SaveOptions]) -> FileWrapper:
        """Accept a file that a browser uploaded by :meth:`presign_post`.

        Until then the file has no name in the store. What the browser's form uploads
        afterwards cannot change it any more. Confirming twice is no error.

        :param name: the file's name, ``str(upload.file)``.
        :param options: as for :meth:`~flask_store.stores.BaseStore.save`.
        :raises NotFoundError: where nothing was uploaded.
        :raises BackendError: where it was uploaded anew in this moment.
        """
        source = self._incoming(self.full_name(name))
        with failing_as("find", name):
            if self.bucket.look(self.join(name)) is not None:
                return self.file(name)
        raw = ObjectReader(self.bucket, source, name)
        with io.BufferedReader(raw, READ_SIZE) as body:
            upload = self.receive(body, self.full_name(name), options)
            upload = upload.accepted(body, upload.size())
        full = self.full_name(name)
        with failing_as("save", name):
            self.bucket.promote(
                source, self.key(full), raw.etag, upload.attributes(full), full
            )
            self.bucket.delete_one(source)
        return self.file(name)

    def _incoming(self, full: str) -> str:
        return self.key(f"{INCOMING}/{full}")
