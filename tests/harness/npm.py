"""Packages of the npm registry, installed once per machine."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.server import missing
from harness.server import require


INSTALL_SECONDS = 500


def node_packages(*packages: str) -> Path:
    """Return a folder whose ``node_modules`` has packages, installed if need be.

    :param packages: each with its version, such as ``"vite@8.3.4"``.
    """
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"flask-extensions-npm-{digest}"
    if not home.exists():
        npm = require("npm", "apt-get install nodejs npm")
        fresh = Path(tempfile.mkdtemp(prefix="npm-"))
        options = ["--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            [npm, "install", *options, "--prefix", str(fresh), *packages],
            capture_output=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            missing(" ".join(packages), f"npm install {' '.join(packages)}")
        # Somebody else may have been faster.
        with contextlib.suppress(OSError):
            fresh.rename(home)
        shutil.rmtree(fresh, ignore_errors=True)
    return home
