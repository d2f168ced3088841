"""Run the samples of a page in the order in which a reader meets them.

Every page has a folder and a namespace of its own. A block is what its language says:

========================  ==========================================================
``python``                runs in the page's namespace
``console``               its ``$`` lines run in a shell; what follows is their output
``nginx``                 has to pass nginx's own check of a configuration
``js``                    has to pass node's own check of a module
any, with a caption       is written to the file of that name
others                    are only shown; ``apache`` runs in a test of flask-firehose
========================  ==========================================================

``flask run`` and ``gunicorn`` go on until the next server starts. In output, ``…``
stands for anything. The ports and folders of a page are replaced by free ones. Comments
in a page are for this module: ``<!-- test`` holds Python that checks what the samples
above it did, ``<!-- setup`` holds Python that they rely on, and ``<!-- not run: reason
-->`` exempts the next block.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

import harness


BLOCK = re.compile(
    r"^(?P<indent>[ ]*)(?P<fence>`{3,}|:{3,})(?P<info>[^\n`]*)\n"
    r"(?P<body>.*?)^(?P=indent)(?P=fence)[ ]*$"
    r"|^<!-- (?P<kind>test|setup)\n(?P<code>.*?)^-->$"
    r"|^<!-- not run: (?P<reason>[^\n]+?) -->$",
    re.MULTILINE | re.DOTALL,
)
CAPTION = re.compile(r"\A:caption: (\S+)\n+")
SERVERS = ("flask run", "flask --app", "gunicorn")
# A reader does these; the environment of the tests has it all.
DONE = ("pip install", "python3 -m venv", "python -m venv", ". .venv", "source ")
PROGRAMS = {"curl": "curl", "nginx": "nginx-light"}
SECONDS = 60.0


@dataclass(frozen=True)
class Block:
    """A piece of a page that does something."""

    language: str
    text: str
    line: int
    caption: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, but for those that are exempted."""
    exempted = False
    for found in BLOCK.finditer(page):
        line = page.count("\n", 0, found.start()) + 1
        if found["reason"]:
            exempted = True
        elif found["kind"]:
            yield Block("python", found["code"], line)
        else:
            words = found["info"].replace("{code-block}", "").split()
            text = textwrap.dedent(found["body"])
            caption = CAPTION.match(text)
            body = text[caption.end() :] if caption else text
            if not exempted:
                named = caption[1] if caption else None
                yield Block(words[0] if words else "", body, line, named)
            exempted = False


@dataclass
class Reader:
    """A reader who follows a page word for word."""

    page: Path
    home: Path
    names: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        # Where Flask and SQLAlchemy look for what a view or a model belongs to.
        module = types.ModuleType("sample")
        module.__file__ = str(self.home / "sample.py")
        sys.modules["sample"] = module
        self.names = vars(module)
        numbers = ("5000", "8000", "8080")
        found = harness.free_ports(len(numbers))
        self.ports = {old: str(new) for old, new in zip(numbers, found, strict=True)}
        (self.home / ".curlrc").write_text("silent\n")

    def localized(self, text: str) -> str:
        """Return a sample with the ports and folders of this machine."""
        for old, new in self.ports.items():
            text = re.sub(rf"(?<=[\w\]]:){old}\b", new, text)
        return re.sub(r"(?<![\w.])/srv/", f"{self.home}/srv/", text)

    def published(self, text: str) -> str:
        """Return output with the ports and folders of the page."""
        for old, new in self.ports.items():
            text = text.replace(new, old)
        return text.replace(f"{self.home}/srv/", "/srv/").replace(str(self.home), ".")

    def read(self) -> None:
        """Do what the page says."""
        (self.home / "srv").mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            stack.callback(sys.modules.pop, "sample", None)
            for block in blocks(self.page.read_text()):
                self.follow(block)

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        text = self.localized(block.text)
        where = f"{self.page}:{block.line}"
        if block.caption:
            path = self.home / block.caption
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif block.language == "python":
            code = "\n" * block.line + text
            exec(compile(code, str(self.page), "exec"), self.names)
        elif block.language == "console":
            for command, output in commands(block.text):
                self.type(self.localized(command), output, where)
        elif block.language in CHECKS:
            CHECKS[block.language](text, self.home, where)

    def type(self, command: str, expected: str, where: str) -> None:
        """Run a command, and compare what it prints."""
        if command.startswith(DONE):
            return
        program = command.split()[0]
        if program in PROGRAMS:
            harness.require(program, f"apt-get install {PROGRAMS[program]}")
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(self.home),
            "FLASK_RUN_PORT": self.ports["5000"],
            "PYTHONWARNINGS": "default",
            "COLUMNS": "88",
            # Each command starts Python anew.
            "PYTHONPYCACHEPREFIX": str(self.home.parent / "pycache"),
        }
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if command.startswith(SERVERS) and is_server(command):
            self.serve(command, environ)
            return
        if command.startswith("nginx -p") and os.geteuid() == 0:
            # Its workers would not be allowed into the folder of this user.
            command += " -g 'user root;'"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        printed = self.published(done.stdout.decode().replace("\r\n", "\n"))
        shown = f"{where}: $ {command}\n{printed}"
        assert matches(expected, printed), f"{shown}\n--- expected\n{expected}"

    def serve(self, command: str, environ: dict[str, str]) -> None:
        """Start a server in place of the one that runs."""
        self.stop()
        port = next(
            (new for new in self.ports.values() if new in command), self.ports["5000"]
        )
        log = self.home / "server.log"
        with log.open("wb") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.home,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + SECONDS
        while not answers(port):
            if self.server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command} did not start:\n{log.read_text()}")

    def stop(self) -> None:
        """Stop the server that runs."""
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(SECONDS)
            finally:
                self.server.kill()
            self.server = None


def is_server(command: str) -> bool:
    """Return whether a command goes on until it is stopped."""
    return command.startswith("gunicorn") or bool(re.search(r"\brun\b", command))


def answers(port: str) -> bool:
    """Return whether something listens on a port; wait a moment if not."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", int(port))) == 0:
            return True
    time.sleep(0.05)
    return False


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console with its output."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = command[:-1] + more.strip()
        yield command, output


def matches(expected: str, printed: str) -> bool:
    """Return whether output is as a page says, where ``…`` is anything."""
    if not expected.strip():
        return True
    pattern = ".*?".join(
        re.escape(part) for part in re.split(r"[ ]*…\n?", f"{tidy(expected)}\n")
    )
    return re.fullmatch(pattern, f"{tidy(printed)}\n", re.DOTALL) is not None


def tidy(text: str) -> str:
    """Return text without blanks at the ends of its lines, and of it."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def check_nginx(text: str, home: Path, where: str) -> None:
    """Let nginx check a block as a part of a configuration."""
    nginx = harness.require("nginx", "apt-get install nginx-light")
    if not re.search(r"^\s*(server|http|upstream|map)\b", text, re.MULTILINE):
        text = f"server {{ listen 127.0.0.1:8080;\n{text} }}"
    path = home / "nginx.conf"
    head = f"pid {home}/nginx.pid; error_log stderr; events {{}}"
    temporary = "".join(
        f"{name}_temp_path {home}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path.write_text(f"{head}\nhttp {{ access_log off;\n{temporary}{text}\n}}\n")
    done = subprocess.run(
        [nginx, "-t", "-q", "-p", str(home), "-c", str(path)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{where}: {done.stderr}"


def check_node(text: str, home: Path, where: str) -> None:
    """Let node check the syntax of a module."""
    node = shutil.which("node") or harness.require("node", "apt-get install nodejs")
    path = home / "sample.mjs"
    path.write_text(text)
    done = subprocess.run(
        [node, "--check", str(path)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{where}: {done.stderr}"


CHECKS = {"nginx": check_nginx, "js": check_node}
