"""A certificate for HTTP/2 on this machine, and a browser that trusts it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that signs itself, with its key, in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """Make one for localhost, valid for a month."""
        program = shutil.which("openssl")
        if program is None:
            sys.exit("HTTP/2 needs a certificate, and openssl to make it: install it.")
        made = cls(folder)
        command = [
            program, "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", str(made.key), "-out", str(made.path),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        return made

    @property
    def path(self) -> Path:
        """The certificate."""
        return self.folder / "localhost.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.folder / "localhost.key"

    def trust(self) -> str:
        """Return the option with which Chromium trusts this certificate, and no other.

        A browser uses no file that a hint fetched over a connection with a certificate
        that was only clicked through.
        """
        command = ["openssl", "x509", "-in", str(self.path), "-noout", "-pubkey"]
        public = subprocess.run(command, check=True, capture_output=True, text=True)
        der = base64.b64decode("".join(public.stdout.splitlines()[1:-1]))
        digest = base64.b64encode(hashlib.sha256(der).digest()).decode()
        return f"--ignore-certificate-errors-spki-list={digest}"


@contextmanager
def certificate() -> Iterator[Certificate]:
    """Make a certificate, and remove it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="demo-certificate-") as folder:
        yield Certificate.make(Path(folder))


@contextmanager
def browser(url: str, *options: str) -> Iterator[None]:
    """Show the demo in a Chromium or Chrome with a profile that is thrown away."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"--open found none of: {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory(
        prefix="demo-browser-", ignore_cleanup_errors=True
    ) as profile:
        command = [program, f"--user-data-dir={profile}", "--no-first-run", *options]
        with subprocess.Popen([*command, url], stderr=subprocess.DEVNULL) as shown:
            try:
                yield
            finally:
                shown.terminate()
