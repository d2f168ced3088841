"""An object in a bucket, read as a file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING
from typing import Any

from ._s3_errors import failing_as


if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._bucket import Bucket


class ObjectReader(io.RawIOBase):
    """Read an object as a file; seeking asks S3 for the rest from there.

    :param answer: what S3 answered to the first request for the object.
    """

    def __init__(self, bucket: Bucket, key: str, name: str) -> None:
        self._bucket = bucket
        self._key = key
        self._name = name
        self._position = 0
        self._body: Any = None
        with failing_as("open", name):
            self._request()
        self._size = self._position + self._left

    def _request(self) -> Any:
        wanted: dict[str, str] = {}
        if self._position:
            wanted = {"Range": f"bytes={self._position}-", "IfMatch": self.etag}
        answer = self._bucket.client.get_object(
            Bucket=self._bucket.name, Key=self._key, **wanted
        )
        self.etag: str = answer["ETag"]
        self._left: int = answer["ContentLength"]
        self._body = answer["Body"]
        return self._body

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is asked of S3 before the next read."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        position = start[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        if position != self._position:
            self._position = position
            self._drop()
        return position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into a buffer."""
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not view:
            return 0
        with failing_as("read", self._name):
            body = self._body or self._request()
            data: bytes = body.read(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        """Give the connection back."""
        self._drop()
        super().close()
