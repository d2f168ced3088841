"""Real WSGI servers, each running an app that a file defines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from harness.server import Server
from harness.server import free_port
from harness.server import listens
from harness.server import require
from harness.server import require_module
from harness.server import running
from harness.server import temporary_directory


#: What installs the servers that only the coexistence suites need.
COEXISTENCE = "pip install --group coexistence"


@contextlib.contextmanager
def python_server(
    name: str,
    arguments: Callable[[int, Path], list[str]],
    app: Path,
    environ: Mapping[str, str] | None,
) -> Iterator[Server]:
    """Run a server that imports the app's file."""
    port = free_port()
    with temporary_directory(name) as directory:
        server = Server(
            name,
            arguments(port, directory),
            port,
            directory,
            listens,
            {"PYTHONPATH": str(app.parent), "PYTHONUNBUFFERED": "1", **(environ or {})},
        )
        with running(server):
            yield server


def gunicorn(
    app: Path,
    *options: str,
    worker: str = "sync",
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
) -> AbstractContextManager[Server]:
    """Run gunicorn.

    :param app: the file that defines ``app``.
    :param options: further options of the command.
    :param worker: the worker class: ``sync``, ``gthread`` or ``gevent``.
    :param environ: variables beside the test's own.
    """
    require_module("gunicorn", "pip install gunicorn")
    if worker == "gevent":
        require_module("gevent", "pip install gevent")
    threads = ["--threads", "8"] if worker == "gthread" else []
    return python_server(
        f"gunicorn-{worker}",
        lambda port, directory: [
            sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}",
            "--worker-class", worker, "--workers", str(workers), *threads,
            "--graceful-timeout", "2", "--worker-tmp-dir", str(directory),
            "--no-control-socket", *options, f"{app.stem}:app",
        ],
        app,
        environ,
    )  # fmt: skip


def waitress(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run waitress.

    :param app: the file that defines ``app``.
    """
    require_module("waitress", "pip install waitress")
    return python_server(
        "waitress",
        lambda port, _: [
            sys.executable, "-m", "waitress", "--listen", f"127.0.0.1:{port}",
            *options, f"{app.stem}:app",
        ],
        app,
        environ,
    )  # fmt: skip


def werkzeug_server(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run the development server, as ``flask run`` does.

    :param app: the file that defines ``app``.
    """
    return python_server(
        "werkzeug",
        lambda port, _: [
            sys.executable, "-m", "flask", "--app", str(app), "run",
            "--host", "127.0.0.1", "--port", str(port), *options,
        ],
        app,
        environ,
    )  # fmt: skip


def uwsgi(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run uWSGI, whose plugin is Debian's Python with this one's packages.

    :param app: the file that defines ``app``.
    """
    program = require("uwsgi", "apt-get install uwsgi-core uwsgi-plugin-python3")
    packages = ":".join(p for p in sys.path if p.endswith(("-packages", "/src")))
    return python_server(
        "uwsgi",
        lambda port, _: [
            program, "--plugin", "python3", "--http11-socket", f"127.0.0.1:{port}",
            "--threads", "8", "--die-on-term", "--need-app",
            *options, "--wsgi", f"{app.stem}:app",
        ],
        app,
        {"PYTHONPATH": f"{app.parent}:{packages}", **(environ or {})},
    )  # fmt: skip


def cheroot(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run cheroot, CherryPy's server.

    :param app: the file that defines ``app``.
    """
    require_module("cheroot", COEXISTENCE)
    return python_server(
        "cheroot",
        lambda port, _: [
            sys.executable, "-m", "cheroot", "--bind", f"127.0.0.1:{port}",
            *options, f"{app.stem}:app",
        ],
        app,
        environ,
    )  # fmt: skip


def granian(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run granian by its WSGI interface.

    :param app: the file that defines ``app``.
    """
    require_module("granian", COEXISTENCE)
    return python_server(
        "granian",
        lambda port, _: [
            sys.executable, "-m", "granian", "--interface", "wsgi",
            "--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "8",
            *options, f"{app.stem}:app",
        ],
        app,
        environ,
    )  # fmt: skip


def hypercorn(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run hypercorn, which detects that the app is a WSGI app.

    :param app: the file that defines ``app``.
    """
    require_module("hypercorn", COEXISTENCE)
    return python_server(
        "hypercorn",
        lambda port, _: [
            sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}",
            "--graceful-timeout", "1", *options, f"{app.stem}:app",
        ],
        app,
        environ,
    )  # fmt: skip


def uvicorn(
    app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run uvicorn, with the app wrapped by a2wsgi.

    :param app: the file that defines ``app``.
    """
    require_module("uvicorn", COEXISTENCE)
    require_module("a2wsgi", COEXISTENCE)

    def command(port: int, directory: Path) -> list[str]:
        (directory / "asgi_app.py").write_text(
            f"from a2wsgi import WSGIMiddleware\nfrom {app.stem} import app as wsgi\n\n"
            "app = WSGIMiddleware(wsgi)\n"
        )
        return [
            sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port),
            "--timeout-graceful-shutdown", "1", "--app-dir", str(directory),
            *options, "asgi_app:app",
        ]  # fmt: skip

    return python_server("uvicorn", command, app, environ)


#: Every server and worker class that the extensions have to run under.
WSGI_SERVERS = (
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-gevent",
    "waitress",
    "werkzeug",
)


def serve(
    name: str, app: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run the server of one of the names in :data:`WSGI_SERVERS`, or ``uwsgi``."""
    if name.startswith("gunicorn-"):
        worker = name.removeprefix("gunicorn-")
        return gunicorn(app, *options, worker=worker, environ=environ)
    server = {"waitress": waitress, "werkzeug": werkzeug_server, "uwsgi": uwsgi}[name]
    return server(app, *options, environ=environ)
