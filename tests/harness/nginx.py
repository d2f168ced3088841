"""A real nginx."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


NGINX_CONF = """\
daemon off;
worker_processes 2;
pid {directory}/nginx.pid;
error_log {directory}/output.log info;
{user}
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    {http}
    server {{
        listen 127.0.0.1:{port}{listen};
        server_name localhost;
        {locations}
    }}
}}
"""


@contextlib.contextmanager
def nginx(locations: str, *, http: str = "", listen: str = "") -> Iterator[Server]:
    """Run nginx with one server.

    :param locations: what stands in the ``server`` block.
    :param http: what stands before it in the ``http`` block.
    :param listen: parameters of ``listen``, such as ``" http2"``.
    """
    program = require("nginx", "apt-get install nginx-light")
    port = free_port()
    with temporary_directory("nginx") as directory:
        conf = directory / "nginx.conf"
        conf.write_text(
            NGINX_CONF.format(
                directory=directory,
                http=http,
                listen=listen,
                locations=locations,
                port=port,
                # Its workers must read what the tests wrote.
                user="user root;" if getpass.getuser() == "root" else "",
            )
        )
        command = [program, "-e", f"{directory}/output.log", "-c", str(conf)]
        with running(Server("nginx", command, port, directory, listens)) as server:
            yield server
