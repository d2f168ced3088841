"""Signals at the end of an upload in the background; their sender is the app."""

from __future__ import annotations

from blinker import NamedSignal
from blinker import Namespace


_signals = Namespace()

#: Sent with ``file``, a :class:`~flask_store.FileWrapper` that can now be read.
upload_finished: NamedSignal = _signals.signal("upload-finished")

#: Sent with ``file`` and ``error`` when S3 refuses; the spool keeps the upload.
upload_failed: NamedSignal = _signals.signal("upload-failed")
