"""Instructions of one request, counted by callgrind, which no other load changes.

All requests are made by one process, as it takes longer to start than to be measured.
It marks where counting begins and ends by a function of the C library that nothing
else calls, at which callgrind writes what it has counted since.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path


REQUESTS = 200
MARK = "getpgid"


def available() -> bool:
    """Return whether instructions can be counted here, and say so if not."""
    if shutil.which("valgrind"):
        return True
    print("Instructions are not counted: apt-get install valgrind")
    return False


def instructions(*arguments: str) -> list[float]:
    """Return the instructions of one request of each that the child measures.

    :param arguments: those of the running benchmark, after ``--child``.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [
            "valgrind", "--tool=callgrind", f"--dump-before={MARK}",
            f"--callgrind-out-file={directory}/counted",
            sys.executable, sys.argv[0], "--child", *arguments,
        ]  # fmt: skip
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run(command, env=env, stderr=subprocess.PIPE, check=True)
        dumps = Path(directory).glob("counted.*")
        parts = sorted(dumps, key=lambda path: int(path.suffix[1:]))
        # What was counted up to the first of two marks is not about requests.
        texts = [path.read_text() for path in parts[1::2]]
    totals = [
        re.search(r"^(?:totals|summary): (\d+)", it, re.MULTILINE) for it in texts
    ]
    return [int(total[1]) / REQUESTS for total in totals if total]


def measure(runs: Iterable[Callable[[int], object]]) -> None:
    """Make requests in the child; what went before is no garbage to look through."""
    for run in runs:
        run(20)
        gc.collect()
        gc.freeze()
        os.getpgid(0)
        run(REQUESTS)
        os.getpgid(0)
