"""Stream enormous or endless answers with constant memory."""

from ._chunks import buffered
from ._event_stream import event_stream
from ._events import ServerSentEvent
from ._extension import Streaming
from ._responses import client_disconnected
from ._responses import stream_csv
from ._responses import stream_json
from ._responses import stream_ndjson
from ._responses import stream_with_context
from ._responses import stream_zip
from ._server import watch_worker
from ._subscription import Subscription
from ._templates import TemplateStream
from ._templates import stream_template
from ._templates import stream_template_string
from ._watch import stream_finished
from .config import Config
from .exceptions import BrokerError
from .exceptions import ClientDisconnected
from .exceptions import ConfigError
from .exceptions import SetupError
from .exceptions import StreamingError


__all__ = [
    "BrokerError",
    "ClientDisconnected",
    "Config",
    "ConfigError",
    "ServerSentEvent",
    "SetupError",
    "Streaming",
    "StreamingError",
    "Subscription",
    "TemplateStream",
    "buffered",
    "client_disconnected",
    "event_stream",
    "stream_csv",
    "stream_finished",
    "stream_json",
    "stream_ndjson",
    "stream_template",
    "stream_template_string",
    "stream_with_context",
    "stream_zip",
    "watch_worker",
]
