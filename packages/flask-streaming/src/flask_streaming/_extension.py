"""The extension: what it does at an app's start and for each streamed response."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from typing import Any

from flask import Blueprint
from flask import Flask
from flask import current_app
from flask import has_request_context
from flask import request
from flask import request_finished

from ._cli import cli
from ._event_stream import end_with_request
from ._history import Position
from ._memory import MemoryBroker
from ._setup import refuse_twice
from ._state import NAME
from ._state import State
from ._state import get_state
from ._subscription import Subscription
from ._watch import deliver
from .config import Config


#: Serves the browser's side of live events, ``events.js``.
_client = Blueprint(
    "flask_streaming",
    __name__,
    static_folder="static",
    static_url_path="/flask-streaming",
)


class Streaming:
    """Streams that are fast, bounded and honest.

    Every streamed response of the app is watched: one that fails never looks
    complete, one whose client left is closed, and both are reported.

    :param app: set the extension up on this app at once.
    :param redis: return a client of Redis, in place of ``STREAMING_REDIS_URL``. Called
        twice in each process: the second one waits for events. A client that waits
        less for an answer than for ever is taken for one whose connection broke.
    :param ignore_keys: configuration keys that start with ``STREAMING_`` and belong to
        somebody else.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        redis: Callable[[], Any] | None = None,
        ignore_keys: Collection[str] = (),
    ) -> None:
        if redis is not None and not callable(redis):
            raise TypeError(
                f"redis is {redis!r}: pass a function that returns a client"
            )
        self._redis = redis
        self.ignore_keys = ignore_keys
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the extension up on an app.

        :raises ConfigError: for a wrong configuration value.
        :raises SetupError: when the app has the extension already.
        """
        refuse_twice(app, NAME, "Streaming")
        config = Config.from_mapping(app.config, ignore_keys=self.ignore_keys)
        if config.redis_url is not None or self._redis is not None:
            _require_redis(config)
        app.extensions[NAME] = State(config, self._redis)
        request_finished.connect(deliver, app)
        app.register_blueprint(_client)
        app.cli.add_command(cli)

    def publish(
        self,
        channel: str,
        data: Any,
        event: str | None = None,
        *,
        key: str | None = None,
    ) -> str:
        """Send an event to all who listen to a channel.

        :param data: text, sent as it is; anything else is sent as JSON.
        :param event: the type of the event.
        :param key: publish once only: where the channel's history has an event with
            this key, return its id.
        :return: the event's id.
        :raises BrokerError: when Redis does not take it; publish it again with the
            same key, as it may have arrived.
        """
        broker = get_state().broker
        return broker.publish(channel, _text(data), event, key=key)

    def close(self, channel: str, data: Any = "", *, keep: float = 10) -> str:
        """End a channel by an event of the type ``end``, and free its history.

        Streams that listen to nothing else are over; who comes back after having seen
        the end is answered with a 204. To publish again opens the channel again.

        :param data: what the event says, as in :meth:`publish`.
        :param keep: seconds for which clients that were cut can still fetch the last
            events.
        :return: the event's id.
        :raises BrokerError: when Redis does not take it.
        """
        if keep < 0:
            raise ValueError(f"keep is {keep!r}: set seconds, 0 or more")
        return get_state().broker.publish(channel, _text(data), "end", end=keep)

    def position(self) -> str:
        """Return where all channels stand now, for a page to be rendered.

        A client that subscribes with it as ``last_event_id`` misses nothing of what is
        published in between. Take it before you query what the page shows.

        :return: an empty string where Redis is unreachable.
        """
        found = get_state().broker.position()
        return "" if found is None else str(found)

    def subscribe(
        self,
        *channels: str,
        last_event_id: str | None = None,
        history: bool | str = True,
    ) -> Subscription:
        """Listen to channels, from now on, or from where the client left off.

        Where events that the client missed are not known any more, it is sent one of
        the type ``gap``, and all that are still known.

        :param last_event_id: the last event the client saw. In a request, where this is
            None, its header ``Last-Event-ID``, or ``last_event_id`` in its query.
        :param history: whether the client may have events from before it connected;
            a position: those after it.
        """
        if not channels or not all(isinstance(name, str) for name in channels):
            raise TypeError(
                f"channels are {channels!r}: pass at least one name, and each name as "
                "an argument of its own; a list is not a name"
            )
        allowed = _allowed(history)
        names = list(dict.fromkeys(channels))
        state = get_state()
        if not has_request_context():
            return state.broker.subscribe(names, last_event_id, allowed)
        _warn_of_processes(state)
        # The header is newer: a browser that reconnects repeats the query.
        last_event_id = (
            last_event_id
            or request.headers.get("Last-Event-ID")
            or request.args.get("last_event_id")
        )
        subscription = state.broker.subscribe(names, last_event_id, allowed)
        end_with_request(subscription)
        return subscription


def _text(data: Any) -> str:
    return data if isinstance(data, str) else current_app.json.dumps(data)


def _allowed(history: bool | str) -> bool | Position:
    if isinstance(history, bool):
        return history
    position = Position.parse(history)
    if position is None:
        raise ValueError(
            f"history is {history!r}: pass True, False, or what position() returned"
        )
    return position


def _require_redis(config: Config) -> None:
    try:
        import redis  # noqa: F401
    except ImportError as error:
        remedy = "install the client: pip install flask-streaming[redis]"
        raise config.error("redis_url", config.redis_url, remedy) from error


def _warn_of_processes(state: State) -> None:
    several = request.environ.get("wsgi.multiprocess", False)
    if several and isinstance(state.broker, MemoryBroker):
        state.warn_once(
            "The server runs several processes, and events reach only the clients of "
            "one of them: set STREAMING_REDIS_URL, or run one process with many "
            "threads"
        )
