"""Renewing stored responses in the background."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import sys
import threading
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from flask import current_app
from werkzeug.utils import import_string

from ._rules.variants import COOKIE
from ._rules.variants import ENVIRON
from ._rules.variants import cookie
from ._rules.variants import environ_key


if TYPE_CHECKING:
    from flask import Flask


logger: logging.Logger = logging.getLogger("flask_webcache")

#: The key of a WSGI environment, which no client can set, that asks for a renewal.
RECACHE: str = "flask_webcache.recache"


@dataclass(frozen=True, slots=True)
class Recache:
    """A request to make again: plain data, fit for a queue."""

    scheme: str
    host: str
    script_name: str
    path: str
    query: str
    uri: str
    #: The selecting fields alone, as WSGI keys: nothing else of the client who asked.
    headers: tuple[tuple[str, str], ...] = ()
    #: What is renewed, and who asked for it, for nobody else to ask meanwhile.
    page: str = field(default="", compare=False)
    owner: str = field(default="", compare=False)

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment of the request.

        It has no REMOTE_ADDR: it comes from no client, and nobody shall trust it.
        """
        name, _, port = self.host.rpartition(":")
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": self.script_name,
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "REQUEST_URI": self.uri,
            "SERVER_NAME": name or self.host,
            "SERVER_PORT": port if name else "443" if self.scheme == "https" else "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": self.host,
            **dict(self.headers),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            RECACHE: (self.page, self.owner),
        }

    def to_json(self) -> str:
        """Return this as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recache:
        """Return what :meth:`to_json` wrote."""
        values = json.loads(text)
        headers = tuple((name, value) for name, value in values.pop("headers"))
        return cls(**values, headers=headers)


Dispatcher = Callable[[Recache], object]


def of_request(
    environ: Mapping[str, Any],
    selectors: tuple[str, ...],
    page: str = "",
    owner: str = "",
) -> Recache:
    """Return a request like another one, with its selecting fields alone."""
    names = [
        environ_key(name)
        for name in selectors
        if not name.startswith((COOKIE, ENVIRON))
    ]
    headers = {name: environ[name] for name in names if name in environ}
    cookies = [
        f"{name}={value}"
        for one in selectors
        if one.startswith(COOKIE)
        for name in [one.removeprefix(COOKIE)]
        if (value := cookie(environ, name)) is not None
    ]
    if cookies:
        headers.setdefault("HTTP_COOKIE", "; ".join(cookies))
    default = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return Recache(
        environ["wsgi.url_scheme"],
        environ.get("HTTP_HOST") or default,
        environ.get("SCRIPT_NAME", ""),
        environ.get("PATH_INFO", ""),
        environ.get("QUERY_STRING", ""),
        environ.get("REQUEST_URI") or environ.get("RAW_URI") or "",
        tuple(headers.items()),
        page,
        owner,
    )


def run(app: Flask, task: Recache) -> None:
    """Make the request, so that the app stores its response again."""
    try:
        body: Any = app(task.environ(), lambda *_: lambda _: None)
        try:
            for _ in body:
                pass
        finally:
            if hasattr(body, "close"):
                body.close()
    except Exception:
        logger.exception("Renewing %s failed.", task.path)


def run_by_name(app: str, task: Recache | str) -> None:
    """Make the request on an app, or what an app factory returns, named by import.

    :param task: the request, or its JSON.
    """
    found = import_string(app)
    made = Recache.from_json(task) if isinstance(task, str) else task
    run(found if hasattr(found, "wsgi_app") else found(), made)


def make_thread_dispatcher(app: Flask | None = None) -> Dispatcher:
    """Return a dispatcher that renews in a thread of this process.

    :param app: the app; the current one where it is None.
    """

    def dispatch(task: Recache) -> None:
        target: Any = app or current_app._get_current_object()  # type: ignore[attr-defined]
        threading.Thread(
            target=run, args=(target, task), name="webcache-recache", daemon=True
        ).start()

    return dispatch


def make_process_dispatcher(app: str) -> Dispatcher:
    """Return a dispatcher that renews in a new process; the backend has to be shared.

    :param app: the app or its factory as ``"package.module:name"``.
    """
    context = multiprocessing.get_context("spawn")

    def dispatch(task: Recache) -> None:
        context.Process(target=run_by_name, args=(app, task), daemon=True).start()

    return dispatch


def make_rq_dispatcher(queue: Any, app: str) -> Dispatcher:
    """Return a dispatcher that leaves the work to RQ; the backend has to be shared.

    :param queue: the ``rq.Queue``.
    :param app: the app or its factory as ``"package.module:name"``.
    """

    def dispatch(task: Recache) -> None:
        queue.enqueue(run_by_name, app, task.to_json())

    return dispatch


def make_celery_dispatcher(task: Any, app: str) -> Dispatcher:
    """Return a dispatcher that leaves the work to Celery; the backend has to be shared.

    :param task: the task that calls :func:`run_by_name` with its two strings, such as
        ``celery.task(recache.run_by_name)``.
    :param app: the app or its factory as ``"package.module:name"``.
    """

    def dispatch(request: Recache) -> None:
        task.delay(app, request.to_json())

    return dispatch
