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
from contextlib import nullcontext
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
    command: list[str],
    port: int,
    environ: Mapping[str, str],
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, from when it listens.

    A session of its own keeps Ctrl-C from it: it is asked to stop gracefully instead.

    :param log: where to put what it says, unless it does not start.
    """
    with (
        log.open("wb") if log else nullcontext() as errors,
        subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stderr=errors,
            start_new_session=True,
        ) as server,
    ):
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not listens(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    print(log.read_text() if log else "", file=sys.stderr)
                    sys.exit(f"{command[0]} did not start; see above.")
                time.sleep(0.05)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def gunicorn(port: int, config: Config) -> Any:
    """Run the site, on threads because live pages keep one each."""
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}",
        "--worker-class", "gthread", "--threads", "64", "--graceful-timeout", "5",
        "--log-level", "warning", "--no-control-socket", "demo:create_app()",
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
        "DEMO_FRONT": "nginx",
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


def find(program: str, package: str) -> str:
    """Return the path of a program, or say how to install it."""
    # Debian keeps daemons where a user's PATH does not look.
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        sys.exit(f"{program} is not installed; on Debian: apt-get install {package}")
    return found


@contextmanager
def caddy(port: int, upstream: int, certificate: Certificate) -> Iterator[Config]:
    """Run Caddy in front of the site: it speaks HTTP/2, and forwards a 103."""
    program = find("caddy", "caddy")
    template = (Path(__file__).parent / "Caddyfile").read_text()
    with tempfile.TemporaryDirectory(prefix="demo-caddy-") as directory:
        values = {
            "DIRECTORY": directory,
            "PORT": port,
            "UPSTREAM": upstream,
            "CERTIFICATE": certificate.path,
            "KEY": certificate.key,
        }
        for name, value in values.items():
            template = template.replace(f"@{name}@", str(value))
        conf = Path(directory, "Caddyfile")
        conf.write_text(template)
        command = [program, "run", "--config", str(conf), "--adapter", "caddyfile"]
        environ = {"XDG_CONFIG_HOME": directory, "XDG_DATA_HOME": directory}
        with process(command, port, environ, Path(directory, "error.log")):
            yield {"DEMO_FRONT": "caddy"}


@contextmanager
def nginx(port: int, upstream: int, config: Config) -> Iterator[Config]:
    """Run nginx in front of the site, and yield what the site needs."""
    program = find("nginx", "nginx-light")
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
