"""A real lighttpd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


LIGHTTPD_CONF = """\
server.document-root = "{directory}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{directory}/output.log"
mimetype.assign = ( "" => "application/octet-stream" )
{configuration}
"""


@contextlib.contextmanager
def lighttpd(configuration: str) -> Iterator[Server]:
    """Run lighttpd with one server.

    :param configuration: what follows the address.
    """
    program = require("lighttpd", "apt-get install lighttpd")
    port = free_port()
    with temporary_directory("lighttpd") as directory:
        conf = directory / "lighttpd.conf"
        conf.write_text(
            LIGHTTPD_CONF.format(
                configuration=configuration, directory=directory, port=port
            )
        )
        command = [program, "-D", "-f", str(conf)]
        with running(Server("lighttpd", command, port, directory, listens)) as server:
            yield server
