"""Real servers that speak S3, with a bucket each, in the clear or by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from harness.server import Server
from harness.server import free_port
from harness.server import require
from harness.server import require_module
from harness.server import running
from harness.server import temporary_directory


BUCKET = "uploads"
REGION = "us-east-1"


@dataclass
class S3Server(Server):
    """A server that speaks S3, with an empty bucket."""

    access_key: str = "test"
    secret_key: str = "test"
    bucket: str = BUCKET
    region: str = REGION

    @property
    def config(self) -> dict[str, Any]:
        """The keys with which Flask-Store uses it."""
        return {
            "STORE_S3_ENDPOINT_URL": self.url,
            "STORE_S3_BUCKET": self.bucket,
            "STORE_S3_REGION": self.region,
            "STORE_S3_ACCESS_KEY": self.access_key,
            "STORE_S3_SECRET_KEY": self.secret_key,
        }

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def answers_http(server: Server) -> bool:
    """Return whether the server answers requests; it listens some time before that."""
    try:
        with urllib.request.urlopen(server.url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run MiniStack, which checks signatures and keeps objects over a restart."""
    require_module("ministack", "pip install ministack")
    require_module("boto3", "pip install boto3")
    port = free_port()
    with temporary_directory("s3") as directory:
        server = S3Server(
            "ministack",
            [sys.executable, "-m", "ministack"],
            port,
            directory,
            answers_http,
            {
                "AUTH": "true",
                "BIND_HOST": "127.0.0.1",
                "MINISTACK_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(port),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(directory / "data"),
                "PERSIST_STATE": "1",
                "STATE_DIR": str(directory / "state"),
            },
        )
        with running(server):
            server.client().create_bucket(Bucket=server.bucket)
            yield server


CEPH_CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
rgw_dns_name = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
rgw_rados_pool_pg_num_min = 1
mon_max_pg_per_osd = 2000
osd_crush_chooseleaf_type = 0
mon_data_avail_warn = 1
mon_data_avail_crit = 1
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_class_load_list = *
osd_class_default_list = *
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 3
rgw_gc_processor_max_time = 3
rgw_enable_usage_log = false
mon_data = {directory}/mon
osd_data = {directory}/osd
run_dir = {directory}
keyring = {directory}/keyring
pid_file = {directory}/$name.pid
admin_socket = {directory}/$name.asok
log_file = {directory}/$name.log
mon_cluster_log_file = {directory}/cluster.log
"""
CEPH_INSTALL = (
    "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common"
)


@dataclass
class Ceph:
    """The daemons behind one RADOS gateway: a monitor and a disk in memory."""

    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def conf(self) -> str:
        """The configuration's path."""
        return str(self.directory / "ceph.conf")

    def run(self, *command: str) -> str:
        """Run a command to its end."""
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def start(self, *command: str) -> None:
        """Start a daemon."""
        with (self.directory / "daemons.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            )

    def stop(self) -> None:
        """Stop the daemons; there is nothing to save."""
        for process in reversed(self.processes):
            process.kill()
            process.wait(10)

    def build(self) -> None:
        """Make a cluster and start it."""
        conf, keyring = self.conf, str(self.directory / "keyring")
        fsid = str(uuid.uuid4())
        mon, mon_v1 = free_port(), free_port()
        Path(conf).write_text(
            CEPH_CONF.format(
                directory=self.directory, fsid=fsid, mon=mon, mon_v1=mon_v1
            )
        )
        allow = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        tool = ("ceph-authtool", keyring, "--gen-key", "-n")
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key",
                 "-n", "mon.", "--cap", "mon", "allow *")  # fmt: skip
        self.run(*tool, "client.rgw", *allow)
        self.run(*tool, "client.admin", *allow, "--cap", "mgr", "allow *")
        monmap = str(self.directory / "monmap")
        addresses = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]"
        self.run("monmaptool", "--create", "--clobber", "--fsid", fsid,
                 "--addv", "a", addresses, monmap)  # fmt: skip
        self.run("ceph-mon", "-c", conf, "--mkfs", "-i", "a",
                 "--monmap", monmap, "--keyring", keyring)  # fmt: skip
        self.start("ceph-mon", "-c", conf, "-i", "a", "-f")
        disk = str(uuid.uuid4())
        self.run("ceph", "-c", conf, "osd", "new", disk)
        (self.directory / "osd").mkdir()
        key = self.run("ceph", "-c", conf, "auth", "get-or-create", "osd.0",
                       "osd", "allow *", "mon", "allow rwx")  # fmt: skip
        with Path(keyring).open("a") as file:
            file.write(key)
        self.run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", disk)
        self.start("ceph-osd", "-c", conf, "-i", "0", "-f")
        deadline = time.monotonic() + 30
        while "1 up" not in self.run("ceph", "-c", conf, "osd", "stat"):
            if time.monotonic() > deadline:
                raise RuntimeError("Ceph's disk did not come up")
            time.sleep(0.1)


@contextlib.contextmanager
def ceph_server() -> Iterator[S3Server]:
    """Run Ceph's RADOS gateway: a real S3 server, up after about 15 s."""
    for program in ("radosgw", "ceph-mon", "ceph-osd", "ceph"):
        require(program, CEPH_INSTALL)
    require_module("boto3", "pip install boto3")
    port = free_port()
    with temporary_directory("ceph") as directory:
        ceph = Ceph(directory)
        try:
            ceph.build()
            conf = ceph.conf
            server = S3Server(
                "radosgw",
                ["radosgw", "-c", conf, "-n", "client.rgw", "-f",
                 "--rgw-frontends", f"beast endpoint=127.0.0.1:{port}"],
                port,
                directory,
                answers_http,
                access_key="cephtestkey",
                secret_key="cephtestsecret",
            )  # fmt: skip
            with running(server):
                ceph.run(
                    "radosgw-admin", "-c", conf, "-n", "client.rgw", "user", "create",
                    "--uid=tester", "--display-name=T",
                    f"--access-key={server.access_key}",
                    f"--secret={server.secret_key}",
                )  # fmt: skip
                server.client().create_bucket(Bucket=server.bucket)
                yield server
        finally:
            ceph.stop()


def ceph_user(server: S3Server, name: str) -> dict[str, str]:
    """Make another user of a Ceph; return what Flask-Store needs to be that user."""
    secret = uuid.uuid4().hex
    subprocess.run(
        [
            "radosgw-admin", "-c", str(server.directory / "ceph.conf"),
            "-n", "client.rgw", "user", "create", f"--uid={name}",
            f"--display-name={name}", f"--access-key={name}", f"--secret={secret}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return {"STORE_S3_ACCESS_KEY": name, "STORE_S3_SECRET_KEY": secret}


def make_certificate(directory: Path) -> Path:
    """Make a certificate for 127.0.0.1 with its key; return the file of both."""
    program = require("openssl", "apt-get install openssl")
    path = directory / "tls.pem"
    subprocess.run(
        [
            program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(directory / "key.pem"), "-out", str(path),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (directory / "key.pem").read_text())
    return path


@dataclass(frozen=True)
class Front:
    """TLS in front of a server; clients trust ``certificate``."""

    url: str
    certificate: str


@contextlib.contextmanager
def tls_front(server: Server) -> Iterator[Front]:
    """Put TLS in front of a server, as production has it.

    What clients do differs: boto3 streams bodies with a trailing checksum.
    """
    with temporary_directory("tls") as directory:
        certificate = make_certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        port = free_port()
        loop = asyncio.new_event_loop()
        relay = functools.partial(_relay, port=server.port)
        listening = loop.run_until_complete(
            asyncio.start_server(relay, "127.0.0.1", port, ssl=context)
        )
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield Front(f"https://127.0.0.1:{port}", str(certificate))
        finally:
            asyncio.run_coroutine_threadsafe(_close(listening), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int
) -> None:
    """Pass on what a client and the server behind say to each other."""
    behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pump(reader, behind_writer), _pump(behind_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def _close(listening: asyncio.Server) -> None:
    """Stop to listen, and end the connections that are left."""
    listening.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
