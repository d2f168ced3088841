"""A real server that speaks Azure's Blob Storage, with a container."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from harness.npm import node_packages
from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import running
from harness.server import temporary_directory


PACKAGE = "azurite@3.37.0"
#: The account that every emulator has, and its key.
ACCOUNT = "devstoreaccount1"
KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoG"
    "MGw=="
)
CONTAINER = "uploads"


@dataclass
class AzureServer(Server):
    """A server that speaks Azure, with an empty container."""

    @property
    def config(self) -> dict[str, Any]:
        """The keys with which Flask-Store uses it."""
        return {
            "STORE_OBSTORE_URL": f"az://{CONTAINER}",
            "STORE_OBSTORE_OPTIONS": {
                "config": {
                    "account_name": ACCOUNT,
                    "account_key": KEY,
                    "endpoint": f"{self.url}/{ACCOUNT}",
                },
                "client_options": {"allow_http": True, "timeout": "60s"},
            },
        }

    def create_container(self) -> None:
        """Create the container, which obstore cannot."""
        fields = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": "2023-11-03",
        }
        lines = [f"{key}:{value}" for key, value in sorted(fields.items())]
        resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        text = "\n".join(["PUT", *[""] * 11, *lines, resource])
        key = base64.b64decode(KEY)
        digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        fields["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        fields["Content-Length"] = "0"
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            path = f"/{ACCOUNT}/{CONTAINER}?restype=container"
            connection.request("PUT", path, headers=fields)
            status = connection.getresponse().status
        if status != 201:
            raise RuntimeError(f"Azurite answered {status}:\n{self.log()}")


@contextlib.contextmanager
def azure_server() -> Iterator[AzureServer]:
    """Run Azurite, Microsoft's own emulator."""
    node = require("node", "apt-get install nodejs npm")
    home = node_packages(PACKAGE)
    port = free_port()
    with temporary_directory("azure") as directory:
        main = home / "node_modules/azurite/dist/src/blob/main.js"
        server = AzureServer(
            "azurite",
            [
                node, str(main), "--blobHost", "127.0.0.1", "--blobPort", str(port),
                "--location", str(directory), "--silent", "--skipApiVersionCheck",
                "--disableTelemetry",
            ],
            port,
            directory,
            listens,
        )  # fmt: skip
        with running(server):
            server.create_container()
            yield server
