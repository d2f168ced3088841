"""The commands ``flask streaming …``."""

from __future__ import annotations

from ._setup import Commands
from ._setup import echo_config
from ._setup import json_option
from ._state import get_state


cli = Commands(
    "streaming",
    help="Show the settings of live events.",
    epilog="Example:  flask streaming config",
)


@cli.command("config")
@json_option
def config_command(as_json: bool) -> None:
    """Print each key and its value, with a star where it was set."""
    state = get_state()
    echo_config(state.config, {"redis": state.redis}, as_json=as_json)
