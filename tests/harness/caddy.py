"""A real Caddy, configured by a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


CADDYFILE = """\
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    {configuration}
}}
"""


@contextlib.contextmanager
def caddy_site(configuration: str) -> Iterator[Server]:
    """Run Caddy with one site.

    :param configuration: the directives of the site.
    """
    program = require("caddy", "apt-get install caddy")
    port = free_port()
    with temporary_directory("caddy") as directory:
        conf = directory / "Caddyfile"
        conf.write_text(CADDYFILE.format(configuration=configuration, port=port))
        command = [program, "run", "--config", str(conf), "--adapter", "caddyfile"]
        environ = {"HOME": str(directory), "XDG_DATA_HOME": str(directory)}
        with running(
            Server("caddy", command, port, directory, listens, environ)
        ) as server:
            yield server
