"""The processes that the demo consists of, each stopped with it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo import create_app
from demo.certificate import Certificate
from flask_kaccel import nginx_locations


Config = dict[str, Any]
READY_SECONDS = 30
STOP_SECONDS = 10


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Return whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_or_free(port: int) -> int:
    """Return a port, or a free one where it is taken."""
    return free_port() if listens(port) else port


@contextmanager
def process(
    command: list[str], port: int, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, from when it listens.

    A session of its own keeps Ctrl-C from it: it is asked to stop gracefully instead.
    """
    with subprocess.Popen(
        command, env={**os.environ, **environ}, start_new_session=True
    ) as server:
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not listens(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{command[0]} did not start; see above.")
                time.sleep(0.05)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def gunicorn(port: int, config: Config, certificate: Certificate | None) -> Any:
    """Run the site, on threads because live pages keep one each."""
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}",
        "--worker-class", "gthread", "--threads", "64", "--graceful-timeout", "5",
        "--log-level", "warning", "--no-control-socket",
        *(certificate.options() if certificate else ()), "demo:create_app()",
    ]  # fmt: skip
    environ = {f"FLASK_{key}": json.dumps(value) for key, value in config.items()}
    return process(command, port, environ)


def behind_nginx(upstream: int, directory: str) -> Config:
    """Return the configuration of the site behind nginx."""
    return {
        "KACCEL_HOST": f"127.0.0.1:{upstream}",
        "KACCEL_REDIRECT_PATH": "/_files/",
        # Old versions of nginx take a 103 for the page.
        "FIREHOSE_EARLY_HINTS": False,
        "DEMO_UPSTREAM": upstream,
        "DEMO_ACCESS_LOG": f"{directory}/access.socket",
    }


@contextmanager
def s3() -> Iterator[Config]:
    """Run an S3 server, which keeps its files, and yield what the site needs."""
    import boto3

    port = free_port()
    folder = str(Path(create_app().instance_path, "s3"))
    environ = {
        "AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1", "S3_PERSIST": "1", "PERSIST_STATE": "1",
        "S3_DATA_DIR": f"{folder}/data", "STATE_DIR": f"{folder}/state",
        "SERVICES": "s3", "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    config = {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_PATH": "",
        "STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "STORE_S3_BUCKET": "demo",
        "STORE_S3_REGION": "us-east-1",
        "STORE_S3_ACCESS_KEY": "test",
        "STORE_S3_SECRET_KEY": "test",
    }
    with process([sys.executable, "-m", "ministack"], port, environ):
        boto3.client(
            "s3",
            endpoint_url=config["STORE_S3_ENDPOINT_URL"],
            region_name=config["STORE_S3_REGION"],
            aws_access_key_id=config["STORE_S3_ACCESS_KEY"],
            aws_secret_access_key=config["STORE_S3_SECRET_KEY"],
        ).create_bucket(Bucket=config["STORE_S3_BUCKET"])
        yield config


@contextmanager
def nginx(port: int, upstream: int, config: Config) -> Iterator[Config]:
    """Run nginx in front of the site, and yield what the site needs."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        sys.exit("nginx is not installed; on Debian: apt-get install nginx-light")
    template = (Path(__file__).parent / "nginx.conf").read_text()
    with tempfile.TemporaryDirectory(prefix="demo-nginx-") as directory:
        # nginx may run as another user, who reads the files and writes to the socket.
        Path(directory).chmod(0o711)
        config = config | behind_nginx(upstream, directory)
        conf = Path(directory, "nginx.conf")
        locations = nginx_locations(
            create_app(**config), upstream=f"http://127.0.0.1:{upstream}"
        )
        named = "location / {\n    proxy_set_header X-Request-ID $request_id;"
        values = {
            "DIRECTORY": directory,
            "PORT": str(port),
            "USER": "user root;" if os.geteuid() == 0 else "",
            "LOCATIONS": locations.replace("location / {", named),
        }
        for name, value in values.items():
            template = template.replace(f"@{name}@", value)
        conf.write_text(template)
        command = [program, "-e", f"{directory}/error.log", "-c", str(conf)]
        with process(command, port, {}):
            yield config
