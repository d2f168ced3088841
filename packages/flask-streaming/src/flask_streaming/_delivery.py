"""The body of a streamed response on its way to the server."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from time import monotonic
from typing import Any
from typing import TypeAlias

from . import _wire as wire
from ._chunks import close
from ._live import LiveStream
from .exceptions import ClientDisconnected
from .exceptions import StreamBroken


#: Look for the client at most this often, in seconds.
PROBE_SECONDS = 0.2

#: What is told the delivery and what went wrong, once, at the end.
Finished: TypeAlias = Callable[["Delivery", BaseException | None], None]


class Delivery:
    """Chunks as they come, counted; at the end, whatever the end is, one call.

    A stream that fails must not look complete to the client: an error goes on to
    the server, which then leaves out the last chunk, and where the body has no
    other end than that of the connection, the connection is reset.

    :param propagate: raise to the server what the body raised. Servers log it, as
        `finished` may have done already.
    """

    def __init__(
        self,
        body: Iterable[str | bytes],
        environ: Mapping[str, Any],
        finished: Finished,
        *,
        propagate: bool,
    ) -> None:
        self._finished: Finished | None = None
        self.bytes = 0
        self.chunks = 0
        self._body = body
        self._iterator = iter(body)
        self._environ = environ
        self._finished = finished
        self._propagate = propagate
        self._started = monotonic()
        self._probed = self._started
        #: It is told when its client leaves, and writes by itself at times.
        self._live = body if isinstance(body, LiveStream) else None

    @property
    def seconds(self) -> float:
        """The time since the response was made."""
        return monotonic() - self._started

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._next()
        except StopIteration:
            self._finish(None)
            raise
        except ClientDisconnected:
            return self._leave()
        except BaseException as error:
            if wire.ends_by_close(self._environ):
                wire.reset(self._environ)
            self._finish(error)
            # What ends a thread or a process is not for us to replace.
            if self._propagate or not isinstance(error, Exception):
                raise
            raise StreamBroken from None
        self.chunks += 1
        self.bytes += len(chunk)
        return chunk

    def close(self) -> None:
        """End early: the server calls this when it cannot write any more."""
        self._finish(ClientDisconnected())

    def __del__(self) -> None:
        # A server always closes; a test that looks at the status alone does not, and
        # would leave the request's context to the next test.
        self._finish(ClientDisconnected())

    def _next(self) -> bytes:
        while True:
            if self._live is None and self._client_left():
                return self._leave()
            # An empty part is no chunk on the wire, but a chance to look around.
            if part := next(self._iterator):
                return part.encode() if isinstance(part, str) else part

    def _client_left(self) -> bool:
        now = monotonic()
        if now - self._probed < PROBE_SECONDS:
            return False
        self._probed = now
        return wire.disconnected(self._environ) is True

    def _leave(self) -> bytes:
        # After the reset nothing can look complete, and the server finds out by
        # itself what it knows how to log.
        quiet = wire.reset(self._environ)
        self._finish(ClientDisconnected())
        raise StopIteration if quiet else ClientDisconnected

    def _finish(self, error: BaseException | None) -> None:
        finished, self._finished = self._finished, None
        if finished is None:
            return
        if self._live is not None:
            self.bytes += self._live.bytes
            self.chunks += self._live.chunks
        try:
            close(self._iterator, self._body)
        except BaseException as failure:
            error = error or failure
            raise
        finally:
            finished(self, error)
