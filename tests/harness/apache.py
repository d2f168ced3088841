"""A real Apache httpd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import missing
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


MODULES = Path("/usr/lib/apache2/modules")
ALWAYS = ("mpm_event", "authz_core", "mime", "proxy", "proxy_http", "headers")
APACHE_CONF = """\
ServerRoot {directory}
ServerName localhost
PidFile {directory}/httpd.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/output.log
LogLevel info
Listen 127.0.0.1:{port}
{modules}
TypesConfig /etc/mime.types
{configuration}
"""


@contextlib.contextmanager
def apache(configuration: str, *, modules: Sequence[str] = ()) -> Iterator[Server]:
    """Run Apache with one server.

    :param configuration: what follows ``Listen`` and the modules.
    :param modules: names beside ``proxy``, ``proxy_http`` and ``headers``, such as
        ``"http2"`` or ``"xsendfile"``.
    """
    program = require("apache2", "apt-get install apache2")
    port = free_port()
    for name in modules:
        if not (MODULES / f"mod_{name}.so").exists():
            missing(f"Apache's mod_{name}", f"apt-get install libapache2-mod-{name}")
    with temporary_directory("apache") as directory:
        conf = directory / "httpd.conf"
        conf.write_text(
            APACHE_CONF.format(
                configuration=configuration,
                directory=directory,
                modules="\n".join(
                    f"LoadModule {name}_module {MODULES}/mod_{name}.so"
                    for name in (*ALWAYS, *modules)
                ),
                port=port,
            )
        )
        command = [program, "-f", str(conf), "-DFOREGROUND"]
        with running(Server("apache", command, port, directory, listens)) as server:
            yield server
