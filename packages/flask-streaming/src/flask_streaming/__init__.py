"""Stream enormous or endless answers with constant memory."""

from flask_streaming._chunks import buffered
from flask_streaming.events import ServerSentEvent
from flask_streaming.exceptions import BrokerError
from flask_streaming.exceptions import ClientDisconnected
from flask_streaming.exceptions import ConfigError
from flask_streaming.exceptions import SetupError
from flask_streaming.exceptions import StreamingError
from flask_streaming.extension import Streaming
from flask_streaming.extension import stream_finished
from flask_streaming.responses import client_disconnected
from flask_streaming.responses import event_stream
from flask_streaming.responses import stream_csv
from flask_streaming.responses import stream_json
from flask_streaming.responses import stream_ndjson
from flask_streaming.responses import stream_template
from flask_streaming.responses import stream_template_string
from flask_streaming.responses import stream_with_context
from flask_streaming.responses import stream_zip


__all__ = [
    "BrokerError",
    "ClientDisconnected",
    "ConfigError",
    "ServerSentEvent",
    "SetupError",
    "Streaming",
    "StreamingError",
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
]
